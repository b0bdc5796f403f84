//! What was measured. The names of the fields are the keys of the JSON; what was not measured is `null`.
//!
//! Rates of bytes are in MiB (2^20 bytes) per second, times of the processor in milliseconds.

use serde::Serialize;

/// Everything.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What it was measured with.
    #[serde(flatten)]
    pub setting: Setting,
    /// What the machine can do.
    #[serde(flatten)]
    pub ceilings: Ceilings,
    /// Serving.
    #[serde(flatten)]
    pub serving: Serving,
    /// Sync on loopback.
    #[serde(flatten)]
    pub sync: CatchUp,
    /// The baselines.
    #[serde(flatten)]
    pub baselines: Baselines,
    /// A link of 100 Mbit/s.
    #[serde(flatten)]
    pub link: Link,
    /// Faulty peers.
    #[serde(flatten)]
    pub faults: Faults,
}

/// What a bench was run with.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Setting {
    /// Version of the program.
    pub version: &'static str,
    /// Threads that the machine runs at a time.
    pub threads: usize,
    /// Heights of the chain.
    pub heights: u64,
    /// Blobs of each.
    pub blobs_per_height: u64,
}

/// What the machine can do with one part of the work.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Ceilings {
    /// KZG verification in batches of 64 on one thread.
    pub kzg_one_thread_blobs_per_s: Option<f64>,
    /// The same on all threads.
    pub kzg_ceiling_blobs_per_s: Option<f64>,
    /// Processor time of one blob, with all threads at it.
    pub kzg_cpu_ms_per_blob: Option<f64>,
    /// SHA-256, one thread.
    pub sha256_mib_per_s: Option<f64>,
    /// Sidecars into chunks, one thread.
    pub framing_encode_mib_per_s: Option<f64>,
    /// Chunks into sidecars' bytes, one thread.
    pub framing_decode_mib_per_s: Option<f64>,
    /// Plain libp2p over TCP, both ends on this machine.
    pub stream_tcp_mib_per_s: Option<f64>,
    /// The same over QUIC.
    pub stream_quic_mib_per_s: Option<f64>,
    /// Blobs into a store, 64 per durable transaction.
    pub store_write_mib_per_s: Option<f64>,
    /// Sidecars from a store that is in the system's cache.
    pub store_read_mib_per_s: Option<f64>,
}

/// `blobs_by_range` from a store, read by one peer over two streams.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Serving {
    /// Over TCP.
    pub serve_tcp_mib_per_s: Option<f64>,
    /// Over QUIC.
    pub serve_quic_mib_per_s: Option<f64>,
    /// Over TCP, by what plain streams carry in the same minute.
    pub serve_over_stream: Option<f64>,
    /// The same over QUIC.
    pub serve_over_stream_quic: Option<f64>,
}

/// Sync on loopback, client and server on the same processors.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CatchUp {
    /// From four peers.
    pub sync_blobs_per_s: Option<f64>,
    /// From one peer.
    pub sync_one_peer_blobs_per_s: Option<f64>,
    /// From four peers, by the KZG ceiling of all threads.
    pub sync_over_kzg_ceiling: Option<f64>,
    /// From one peer, by the same.
    pub sync_one_peer_over_kzg_ceiling: Option<f64>,
    /// Processor time of the client per blob.
    pub client_cpu_ms_per_blob: Option<f64>,
    /// Of the server.
    pub server_cpu_ms_per_blob: Option<f64>,
    /// Of the client, by that of KZG alone.
    pub client_cpu_over_kzg: Option<f64>,
    /// Processor time of both by what all processors have in that time: what is missing to 1 was spent waiting, or went
    /// to others.
    pub cpu_use: Option<f64>,
    /// Most memory of the client, MiB.
    pub peak_rss_mib: Option<f64>,
    /// Bytes that came and were not stored, framing included.
    pub wasted_bytes: Option<f64>,
    /// The same by what came.
    pub wasted_share: Option<f64>,
    /// Bytes that the client's store takes on the disk by what is in it.
    pub disk_over_data: Option<f64>,
}

/// Ways to catch up, beside each other.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Baselines {
    /// A whole height in one message, on loopback.
    pub whole_height_blobs_per_s: Option<f64>,
    /// One request every 200 ms, on loopback.
    pub fixed_pacing_blobs_per_s: Option<f64>,
    /// Lapis by whole heights, on loopback.
    pub over_whole_height_on_loopback: Option<f64>,
    /// Lapis by fixed pacing, on loopback.
    pub over_fixed_pacing_on_loopback: Option<f64>,
    /// Lapis, four peers at 50 ms.
    pub sync_50ms_blobs_per_s: Option<f64>,
    /// A whole height in one message, at 50 ms.
    pub whole_height_50ms_blobs_per_s: Option<f64>,
    /// One request every 200 ms, four peers at 50 ms.
    pub fixed_pacing_50ms_blobs_per_s: Option<f64>,
    /// Lapis by whole heights, at 50 ms.
    pub over_whole_height_baseline: Option<f64>,
    /// Lapis by fixed pacing, at 50 ms.
    pub over_fixed_pacing_baseline: Option<f64>,
}

/// 50 ms and 100 Mbit/s.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Link {
    /// Lapis, four peers.
    pub link_sync_blobs_per_s: Option<f64>,
    /// Bytes that were stored by what the link carries in that time.
    pub link_share: Option<f64>,
    /// A whole height in one message.
    pub link_whole_height_blobs_per_s: Option<f64>,
    /// Its share of the link.
    pub link_whole_height_share: Option<f64>,
    /// One request every 200 ms, four peers.
    pub link_fixed_pacing_blobs_per_s: Option<f64>,
    /// Its share of the link.
    pub link_fixed_pacing_share: Option<f64>,
}

/// Loss of time with one faulty peer of four, at 50 ms: 0.1 is a tenth more than with four good ones.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Faults {
    /// One sends 256 KiB a second.
    pub slow_peer_loss: Option<f64>,
    /// One falls silent after 1 MiB.
    pub dead_peer_loss: Option<f64>,
    /// One sends wrong proofs.
    pub lying_peer_loss: Option<f64>,
}

/// One by another, where there are both.
pub(super) fn over(one: Option<f64>, another: Option<f64>) -> Option<f64> {
    match (one, another) {
        (Some(one), Some(another)) if another > 0.0 => Some(one / another),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_json_has_every_key_whether_measured_or_not() {
        let mut report = Report::default();
        report.sync.sync_blobs_per_s = Some(812.5);
        let json = serde_json::to_value(&report).unwrap();
        for key in [
            "kzg_ceiling_blobs_per_s",
            "sync_blobs_per_s",
            "sync_over_kzg_ceiling",
            "client_cpu_over_kzg",
            "serve_over_stream",
            "peak_rss_mib",
            "disk_over_data",
            "over_whole_height_baseline",
            "over_fixed_pacing_baseline",
        ] {
            assert!(json.as_object().unwrap().contains_key(key), "{key}");
        }
        assert!((json.get("sync_blobs_per_s").unwrap().as_f64().unwrap() - 812.5).abs() < 1e-9);
        assert!(json.get("link_share").unwrap().is_null());
    }

    #[test]
    fn a_ratio_needs_both_and_no_zero() {
        assert_eq!(over(Some(6.0), Some(3.0)), Some(2.0));
        assert_eq!(over(Some(6.0), None), None);
        assert_eq!(over(None, Some(3.0)), None);
        assert_eq!(over(Some(6.0), Some(0.0)), None);
    }
}
