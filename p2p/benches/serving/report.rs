//! What came out, as a table and as JSON.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use crate::{chunks::Chunks, lapis::RAISED, latency::Latency, memory::Memory, throughput::Throughput};

pub(crate) struct Report {
    pub(crate) memory: Vec<Memory>,
    pub(crate) throughput: Vec<Throughput>,
    pub(crate) latency: Vec<Latency>,
    pub(crate) chunks: Chunks,
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Of sorted times: the least that a share of `level` does not exceed.
pub(crate) fn quantile(sorted: &[Duration], level: f64) -> Duration {
    let most = sorted.len() - 1;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let rank = (sorted.len() as f64 * level).ceil() as usize;
    sorted[rank.saturating_sub(1).min(most)]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

impl Report {
    /// Throughput at a hundred peers over that at one, with as many streams each.
    fn total_at_100(&self, at_100: &Throughput) -> f64 {
        let alone = self.throughput.iter().find(|one| one.wire == at_100.wire && one.peers == 1 && one.streams == 1);
        at_100.lapis / alone.unwrap().lapis
    }

    pub(crate) fn to_json(&self) -> Value {
        let throughput = self.throughput.iter().map(|one| {
            json!({
                "transport": one.wire.name(), "peers": one.peers, "streams_per_peer": one.streams,
                "lapis_mib_per_s": one.lapis, "bare_mib_per_s": one.bare, "ratio": one.ratio,
                "lapis_cpu_us_per_sidecar": one.lapis_cpu, "bare_cpu_us_per_sidecar": one.bare_cpu,
                "total_over_one_peer": (one.peers > 1).then(|| self.total_at_100(one)),
            })
        });
        let first_chunk = self.latency.iter().map(|one| {
            json!({
                "transport": one.wire.name(),
                "lapis_p50_us": micros(one.lapis.p50), "lapis_p99_us": micros(one.lapis.p99),
                "bare_p50_us": micros(one.bare.p50), "bare_p99_us": micros(one.bare.p99),
                "limiter_per_request_us": micros(one.limiter.request), "limiter_per_chunk_us": micros(one.limiter.chunk),
            })
        });
        let memory = self.memory.iter().map(|one| {
            json!({
                "transport": one.wire.name(), "who": one.who, "peers": 100, "before_mib": mib(one.before),
                "connected_mib": mib(one.connected), "served_mib": mib(one.served),
            })
        });
        json!({
            "raised": RAISED,
            "throughput": throughput.collect::<Vec<_>>(),
            "first_chunk": first_chunk.collect::<Vec<_>>(),
            "memory": memory.collect::<Vec<_>>(),
            "framing": {
                "encode_us": micros(self.chunks.encode), "decode_us": micros(self.chunks.decode),
                "item_us": micros(self.chunks.item),
            },
        })
    }

    fn write_throughput(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| blobs_by_range | Lapis, MiB/s | bare stream, MiB/s | ratio | total over one peer | CPU, µs | bare, µs |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- | --- |")?;
        for one in &self.throughput {
            let (name, peers, streams) = (one.wire.name(), one.peers, one.streams);
            write!(f, "| {name}, {peers} peers, {streams} streams each ")?;
            write!(f, "| {:.0} | {:.0} | {:.2} |", one.lapis, one.bare, one.ratio)?;
            match peers {
                1 => write!(f, " |")?,
                _ => write!(f, " {:.2} |", self.total_at_100(one))?,
            }
            writeln!(f, " {:.0} | {:.0} |", one.lapis_cpu, one.bare_cpu)?;
        }
        writeln!(f)
    }

    fn write_first_chunk(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| one blob by root | p50, µs | p99, µs | bare p50, µs | bare p99, µs |")?;
        writeln!(f, "| --- | --- | --- | --- | --- |")?;
        for one in &self.latency {
            let [p50, p99, bare_p50, bare_p99] = [one.lapis.p50, one.lapis.p99, one.bare.p50, one.bare.p99].map(micros);
            writeln!(f, "| {} | {p50:.0} | {p99:.0} | {bare_p50:.0} | {bare_p99:.0} |", one.wire.name())?;
        }
        writeln!(f)
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| server with 100 peers, peak | before, MiB | connected, MiB more | served, MiB more |")?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for one in &self.memory {
            let [connected, served] = [one.connected, one.served].map(|peak| mib(peak - one.before));
            let (name, before) = (one.wire.name(), mib(one.before));
            writeln!(f, "| {}, {name} | {before:.0} | {connected:.0} | {served:.0} |", one.who)?;
        }
        writeln!(f)
    }

    fn write_chunks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| a chunk of one sidecar | µs |")?;
        writeln!(f, "| --- | --- |")?;
        for (what, time) in [
            ("framing, encode", self.chunks.encode),
            ("framing, decode", self.chunks.decode),
            ("SSZ to sidecar", self.chunks.item),
        ] {
            writeln!(f, "| {what} | {:.1} |", micros(time))?;
        }
        for one in &self.latency {
            let (name, limiter) = (one.wire.name(), &one.limiter);
            writeln!(f, "| limiter, a request ({name}) | {:.2} |", micros(limiter.request))?;
            writeln!(f, "| limiter, a sidecar's KiB ({name}) | {:.2} |", micros(limiter.chunk))?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Raised: {RAISED}. Server and clients share a process, but where memory is measured.\n")?;
        self.write_throughput(f)?;
        self.write_first_chunk(f)?;
        self.write_memory(f)?;
        self.write_chunks(f)
    }
}
