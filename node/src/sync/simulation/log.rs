//! What happened, as a number that is the same for the same run, and as lines for people.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use lapis_protocol_spec::Height;

use super::{peer::items, plan::Plan};
use crate::sync::scheduler::{Action, Fetch, RequestId};

/// The record of a run.
#[derive(Debug)]
pub(super) struct Log {
    hasher: DefaultHasher,
    /// Lines, if somebody will read them.
    lines: Option<Vec<String>>,
}

impl Log {
    pub(super) fn new(is_read: bool) -> Self {
        Self { hasher: DefaultHasher::new(), lines: is_read.then(Vec::new) }
    }

    /// Of everything so far.
    pub(super) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    fn line(&mut self, at: Duration, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>12.6} {}", at.as_secs_f64(), line()));
        }
    }

    /// The scheduler asks somebody.
    pub(super) fn asked(&mut self, at: Duration, action: &Action, place: usize, plan: &Plan) {
        (at, action.id, place, action.fetch.method(), items(&action.fetch)).hash(&mut self.hasher);
        self.line(at, || format!("#{:<5} ask {}: {}", action.id.0, name(place, plan), describe(&action.fetch)));
    }

    /// Something happened to an exchange.
    pub(super) fn event(&mut self, at: Duration, id: RequestId, what: &str, detail: impl FnOnce() -> String) {
        (at, id, what).hash(&mut self.hasher);
        self.line(at, || format!("#{:<5} {what} {}", id.0, detail()));
    }

    /// Something happened to a peer.
    pub(super) fn peer(&mut self, at: Duration, place: usize, what: &str, plan: &Plan) {
        (at, place, what).hash(&mut self.hasher);
        self.line(at, || format!("{} {what}", name(place, plan)));
    }

    /// A peer tells of `height`.
    pub(super) fn tells(&mut self, at: Duration, place: usize, how: &str, height: Height, plan: &Plan) {
        (at, place, height).hash(&mut self.hasher);
        self.line(at, || format!("{} {how} {height}", name(place, plan)));
    }

    /// All values up to `height` are in the store.
    pub(super) fn committed(&mut self, at: Duration, height: Height) {
        (at, height).hash(&mut self.hasher);
        self.line(at, || format!("values up to {height} are here"));
    }
}

fn name(place: usize, plan: &Plan) -> String {
    plan.peers.get(place).map_or_else(String::new, |peer| {
        let (millis, rate) = (peer.latency.as_millis(), peer.rate as f64 / 1e6);
        format!("peer {} ({:?}, {millis} ms, {rate:.1} MB/s)", peer.index, peer.conduct)
    })
}

/// Words for what is asked for.
fn describe(fetch: &Fetch) -> String {
    let span = |values: &[lapis_protocol_spec::matching::IdentifiedValue]| match (values.first(), values.last()) {
        (Some(first), Some(last)) => format!("{}..={}", first.value().height, last.value().height),
        _ => "nothing".to_owned(),
    };
    match fetch {
        Fetch::Values(heights) => format!("values {}..{}", heights.start, heights.end),
        Fetch::ValidatorSet { height, .. } => format!("the validator set of {height}"),
        Fetch::Payloads(values) => format!("payloads {}", span(values)),
        Fetch::PayloadsByRoot(values) => format!("payloads by root {}", span(values)),
        Fetch::WholeHeights(values) => {
            let blobs: usize = values.iter().map(|value| value.value().blob_count()).sum();
            format!("all {blobs} blobs of {}", span(values))
        }
        Fetch::Blobs(wanted) => {
            let parts = wanted.iter().map(|(value, indices)| format!("{}:{indices:?}", value.value().height));
            format!("blobs {}", parts.collect::<Vec<_>>().join(" "))
        }
    }
}
