//! The table at the end of a devnet run.

use std::{fmt, time::Duration};

use super::{ceiling::Ceiling, latency::Latencies};

/// Bytes in a MiB.
const MIB: f64 = 1024.0 * 1024.0;

/// What a devnet run came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Heights decided.
    pub heights: u64,
    /// Blobs of all heights.
    pub blobs: u64,
    /// Bytes of payloads and blobs.
    pub bytes: u64,
    /// The late node.
    pub late: NodeSummary,
    /// The node that followed from the start.
    pub follower: NodeSummary,
    /// Heights that the late node was behind when it joined.
    pub caught_up_heights: u64,
    /// Blobs that it fetched until it had reached the head.
    pub caught_up_blobs: u64,
    /// How long that took, from its start.
    pub catch_up: Duration,
    /// What the machine can verify at best; `None` in a run without blobs.
    pub ceiling: Option<Ceiling>,
    /// Times from decision to import into a client, by the name of the validator that has one.
    pub latencies: Vec<(String, Latencies)>,
    /// Times from decision to import at the follower, who hears of decisions from its peers.
    pub tip: Latencies,
    /// Whether both stores hold the same, byte by byte.
    pub agree: bool,
}

/// One node at the end.
#[derive(Clone, Copy, Debug)]
pub struct NodeSummary {
    /// Blobs that it verified.
    pub verified: u64,
    /// Blobs that it found faulty.
    pub faulty: u64,
    /// Its imported height.
    pub imported: u64,
    /// Bytes that its store takes on the disk.
    pub disk_bytes: u64,
    /// Bytes of the values, payloads and blobs in it.
    pub data_bytes: u64,
}

impl NodeSummary {
    fn disk_over_data(&self) -> f64 {
        self.disk_bytes as f64 / self.data_bytes.max(1) as f64
    }
}

impl Summary {
    /// Blobs per second while the late node caught up.
    pub fn blobs_per_second(&self) -> f64 {
        self.caught_up_blobs as f64 / self.catch_up.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The same over the machine's ceiling.
    pub fn over_ceiling(&self) -> Option<f64> {
        self.ceiling.map(|ceiling| self.blobs_per_second() / ceiling.blobs_per_second)
    }

    /// Whether everything held.
    pub fn holds(&self) -> bool {
        let all = |node: &NodeSummary| node.imported >= self.heights && node.faulty == 0;
        self.agree && all(&self.late) && all(&self.follower)
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![
            ("heights decided", self.heights.to_string()),
            ("blobs", self.blobs.to_string()),
            ("data", format!("{:.1} MiB", self.bytes as f64 / MIB)),
            (
                "late node: catch-up",
                format!(
                    "{} heights, {} blobs in {:.2} s",
                    self.caught_up_heights,
                    self.caught_up_blobs,
                    self.catch_up.as_secs_f64()
                ),
            ),
            (
                "late node: rate",
                format!(
                    "{:.0} blobs/s, {:.1} MiB/s",
                    self.blobs_per_second(),
                    self.blobs_per_second() * 131_072.0 / MIB
                ),
            ),
        ];
        if let (Some(ceiling), Some(ratio)) = (self.ceiling, self.over_ceiling()) {
            let text = format!("{:.0} blobs/s on {} threads", ceiling.blobs_per_second, ceiling.threads);
            rows.push(("KZG ceiling", text));
            rows.push(("rate over ceiling", format!("{ratio:.2}")));
        }
        rows.push(("follower: decision to import", self.tip.to_string()));
        rows.extend(self.latencies.iter().map(|(_, latencies)| ("decision to VALID", latencies.to_string())));
        for (name, node) in [("late node", &self.late), ("follower", &self.follower)] {
            rows.push((name, node.to_string()));
        }
        rows.push(("stores agree", if self.agree { "yes, byte by byte" } else { "NO" }.to_owned()));
        rows
    }
}

impl fmt::Display for NodeSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verified, faulty, imported, .. } = self;
        let ratio = self.disk_over_data();
        write!(f, "verified {verified}, faulty {faulty}, imported {imported}, disk over data {ratio:.3}")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        rows.iter().try_for_each(|(name, text)| writeln!(f, "  {name:<width$}  {text}"))
    }
}
