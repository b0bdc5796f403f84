//! What the network counts. No label has a value that peers choose.

use std::{sync::Arc, time::Duration};

use lapis_protocol_spec::Method;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::peers::Offence;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bucket {
    bucket: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Protocol {
    protocol: &'static str,
    side: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    protocol: &'static str,
    side: &'static str,
    direction: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    protocol: &'static str,
    side: &'static str,
    outcome: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Which end of an exchange this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Handles to everything that is counted; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exchanges: Family<Ended, Counter>,
    in_flight: Family<Protocol, Gauge>,
    bytes: Family<Moved, Counter>,
    chunks: Family<Protocol, Counter>,
    first_chunk: Histograms<Protocol>,
    duration: Histograms<Protocol>,
    waits: Histograms<Bucket>,
    waiting: Family<Bucket, Gauge>,
    denials: Family<Kind, Counter>,
    offences: Family<Kind, Counter>,
    announcements: Family<Kind, Counter>,
    peers_ready: Gauge,
    peers_banned: Gauge,
    dials: Family<Kind, Counter>,
    failed_dials: Family<Kind, Counter>,
    candidates: Gauge,
    walks: Counter,
    rotations: Counter,
}

/// 0.1 ms to 100 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 11))
}

impl Inner {
    fn register_discovery(&self, registry: &mut Registry) {
        registry.register("dials", "Dials begun, by what they are for", self.dials.clone());
        registry.register("failed_dials", "Dials that led nowhere, by what they were for", self.failed_dials.clone());
        registry.register("candidates", "Peers in the address book", self.candidates.clone());
        registry.register("kad_walks", "Walks of Kademlia in search of peers", self.walks.clone());
        registry.register("rotations", "Peers of no use that were asked to make place", self.rotations.clone());
    }

    fn register_limits(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "limiter_wait",
            "Time that requests and chunks waited for a bucket",
            Unit::Seconds,
            self.waits.clone(),
        );
        registry.register("limiter_waiting", "Requests and chunks that wait for a bucket now", self.waiting.clone());
        registry.register("denials", "Streams and connections that were refused, by reason", self.denials.clone());
    }
}

impl Metrics {
    /// Registers everything under `lapis_p2p_`.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let inner = Inner {
            exchanges: Family::default(),
            in_flight: Family::default(),
            bytes: Family::default(),
            chunks: Family::default(),
            first_chunk: Family::new_with_constructor(seconds),
            duration: Family::new_with_constructor(seconds),
            waits: Family::new_with_constructor(seconds),
            waiting: Family::default(),
            denials: Family::default(),
            offences: Family::default(),
            announcements: Family::default(),
            peers_ready: Gauge::default(),
            peers_banned: Gauge::default(),
            dials: Family::default(),
            failed_dials: Family::default(),
            candidates: Gauge::default(),
            walks: Counter::default(),
            rotations: Counter::default(),
        };
        let registry = registry.sub_registry_with_prefix("lapis_p2p");
        registry.register("exchanges", "Exchanges that ended, by outcome", inner.exchanges.clone());
        registry.register("exchanges_in_flight", "Exchanges under way", inner.in_flight.clone());
        registry.register_with_unit("exchange", "Bytes of requests and responses", Unit::Bytes, inner.bytes.clone());
        registry.register("chunks", "Response chunks", inner.chunks.clone());
        registry.register_with_unit(
            "first_chunk",
            "Time to the first chunk of a response",
            Unit::Seconds,
            inner.first_chunk.clone(),
        );
        registry.register_with_unit("exchange_duration", "Whole exchanges", Unit::Seconds, inner.duration.clone());
        inner.register_limits(registry);
        registry.register("offences", "Offences of peers, by kind", inner.offences.clone());
        registry.register("announcements", "Announcements, by what became of them", inner.announcements.clone());
        registry.register("peers_ready", "Peers that exchanged statuses", inner.peers_ready.clone());
        registry.register("peers_banned", "Peers that are banned", inner.peers_banned.clone());
        inner.register_discovery(registry);
        Self(Arc::new(inner))
    }

    pub(crate) fn dial(&self, purpose: &'static str) {
        self.0.dials.get_or_create(&Kind { kind: purpose }).inc();
    }

    pub(crate) fn dial_failed(&self, purpose: &'static str) {
        self.0.failed_dials.get_or_create(&Kind { kind: purpose }).inc();
    }

    pub(crate) fn candidates(&self, count: usize) {
        self.0.candidates.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn walk(&self) {
        self.0.walks.inc();
    }

    pub(crate) fn rotation(&self) {
        self.0.rotations.inc();
    }

    pub(crate) fn waited(&self, bucket: &'static str, time: Duration) {
        self.0.waits.get_or_create(&Bucket { bucket }).observe(time.as_secs_f64());
    }

    pub(crate) fn waiting(&self, bucket: &'static str, count: usize) {
        self.0.waiting.get_or_create(&Bucket { bucket }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn denied(&self, kind: &'static str) {
        self.0.denials.get_or_create(&Kind { kind }).inc();
    }

    pub(crate) fn offence(&self, offence: Offence) {
        self.0.offences.get_or_create(&Kind { kind: offence.name() }).inc();
    }

    pub(crate) fn announcement(&self, fate: &'static str) {
        self.0.announcements.get_or_create(&Kind { kind: fate }).inc();
    }

    pub(crate) fn peers(&self, ready: usize, banned: usize) {
        self.0.peers_ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
        self.0.peers_banned.set(i64::try_from(banned).unwrap_or(i64::MAX));
    }

    /// Counts one exchange from here until the returned record is dropped.
    pub(crate) fn begin(&self, method: Method, side: Side) -> ExchangeRecord {
        let protocol = Protocol { protocol: method.name(), side: side.name() };
        self.0.in_flight.get_or_create(&protocol).inc();
        let bytes = |direction| {
            let Protocol { protocol, side } = protocol;
            self.0.bytes.get_or_create_owned(&Moved { protocol, side, direction })
        };
        ExchangeRecord {
            metrics: self.clone(),
            received: bytes("in"),
            sent: bytes("out"),
            protocol,
            start: std::time::Instant::now(),
            outcome: "dropped",
            chunks: 0,
        }
    }
}

/// One exchange under way.
#[derive(Debug)]
pub(crate) struct ExchangeRecord {
    metrics: Metrics,
    protocol: Protocol,
    start: std::time::Instant,
    outcome: &'static str,
    chunks: u64,
    received: Counter,
    sent: Counter,
}

impl ExchangeRecord {
    /// Bytes of part of a request or response that came.
    pub(crate) fn received(&self, count: usize) {
        self.received.inc_by(count as u64);
    }

    /// Bytes of a request or of a chunk that were written.
    pub(crate) fn sent(&self, count: usize) {
        self.sent.inc_by(count as u64);
    }

    pub(crate) fn chunk(&mut self) {
        if self.chunks == 0 {
            let elapsed = self.start.elapsed().as_secs_f64();
            self.metrics.0.first_chunk.get_or_create(&self.protocol).observe(elapsed);
        }
        self.chunks += 1;
    }

    pub(crate) fn outcome(&mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for ExchangeRecord {
    fn drop(&mut self) {
        let inner = &self.metrics.0;
        inner.in_flight.get_or_create(&self.protocol).dec();
        inner.chunks.get_or_create(&self.protocol).inc_by(self.chunks);
        inner.duration.get_or_create(&self.protocol).observe(self.start.elapsed().as_secs_f64());
        let Protocol { protocol, side } = self.protocol;
        inner.exchanges.get_or_create(&Ended { protocol, side, outcome: self.outcome }).inc();
    }
}
