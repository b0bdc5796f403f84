//! What the bench's processes say to each other: one line of JSON each, over pipes.
//!
//! A process reads a [`Job`] from standard input and answers on standard output. It ends when its standard input does, so
//! that none is left over.

use std::{path::PathBuf, time::Duration};

use lapis_protocol_spec::Height;
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use super::error::ProcessFault;

/// What a process is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Job {
    /// Answers with [`Serving`], and then each [`UsageQuestion`] with a [`Usage`].
    Serve(ServeJob),
    /// Loads the trusted setup, and then answers each [`SyncJob`] with an [`Outcome`].
    CatchUp,
}

/// Peers to be, all on one store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServeJob {
    pub(super) store: PathBuf,
    pub(super) genesis: PathBuf,
    /// Peers that keep the rules.
    pub(super) honest: usize,
    /// Peers whose proofs are wrong.
    pub(super) liars: usize,
}

/// A sync from an empty store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SyncJob {
    /// An empty directory.
    pub(super) dir: PathBuf,
    pub(super) genesis: PathBuf,
    pub(super) way: Way,
    /// Whom to connect with; a plain server for [`Way::WholeHeight`].
    pub(super) peers: Vec<Multiaddr>,
    pub(super) target: Height,
    pub(super) time_box: Duration,
}

/// How a sync goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Way {
    /// As a node does by default.
    Lapis,
    /// A node with `sync.pacing = "fixed"`.
    FixedPacing,
    /// [`whole_height`](super::whole_height).
    WholeHeight,
}

/// Where peers listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serving {
    /// Each with its addresses, TCP and then QUIC; honest ones first.
    pub(super) peers: Vec<Vec<Multiaddr>>,
    /// Plain libp2p, TCP and then QUIC.
    pub(super) plain: Vec<Multiaddr>,
}

/// Asks what a process has used so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct UsageQuestion;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
}

/// What a sync came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// From the first dial to the last height, or the end of the time box.
    pub(super) time: Duration,
    /// Processor time of all threads meanwhile.
    pub(super) cpu: Duration,
    /// Blobs stored.
    pub(super) blobs: u64,
    /// Whether the target was reached.
    pub(super) complete: bool,
    /// Most memory of the process, `None` where the system does not tell.
    pub(super) peak_resident: Option<u64>,
    /// Bytes that came in exchanges.
    pub(super) received: u64,
    /// Bytes of values, payloads and sidecars in the store.
    pub(super) data: u64,
    /// The same when what had come by then was verified and stored as well.
    pub(super) kept: u64,
    /// Bytes that the store takes on the disk.
    pub(super) disk: u64,
}

impl Outcome {
    pub(super) fn blobs_per_second(&self) -> f64 {
        self.blobs as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Milliseconds of processor time per blob.
    pub(super) fn cpu_ms_per_blob(&self) -> Option<f64> {
        (self.blobs > 0).then(|| self.cpu.as_secs_f64() * 1000.0 / self.blobs as f64)
    }

    /// Bytes that came and were not stored, framing included.
    pub(super) fn wasted(&self) -> u64 {
        self.received.saturating_sub(self.kept)
    }
}

/// A message as a line.
pub(super) fn line(message: &impl Serialize) -> Result<String, ProcessFault> {
    let mut line = serde_json::to_string(message)?;
    line.push('\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn jobs_and_answers_survive_the_pipe() {
        let job = SyncJob {
            dir: "/tmp/a b".into(),
            genesis: "/tmp/genesis.json".into(),
            way: Way::FixedPacing,
            peers: vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap()],
            target: 7,
            time_box: Duration::from_millis(1500),
        };
        let text = line(&job).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<SyncJob>(&text).unwrap(), job);
        assert_eq!(serde_json::from_str::<Job>(&line(&Job::CatchUp).unwrap()).unwrap(), Job::CatchUp);
    }

    #[test]
    fn rates_and_waste_follow_from_what_was_counted() {
        let outcome = Outcome {
            time: Duration::from_secs(2),
            cpu: Duration::from_secs(3),
            blobs: 1000,
            complete: true,
            peak_resident: None,
            received: 110,
            data: 90,
            kept: 100,
            disk: 101,
        };
        assert!((outcome.blobs_per_second() - 500.0).abs() < 1e-9);
        assert!((outcome.cpu_ms_per_blob().unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(outcome.wasted(), 10);
        assert_eq!(Outcome { kept: 120, ..outcome }.wasted(), 0);
        assert_eq!(Outcome { blobs: 0, ..outcome }.cpu_ms_per_blob(), None);
    }
}
