//! A [`Report`] as people read it: a line for each figure, its unit, its ratio to what it is held against, and what that
//! means.

use std::fmt;

use super::report::{Baselines, CatchUp, Ceilings, Faults, Link, Report, Serving};

/// One line. What was not measured has no line.
struct Row {
    name: &'static str,
    figure: Option<String>,
    ratio: Option<f64>,
    meaning: &'static str,
}

/// Lines under a heading.
struct Section {
    title: &'static str,
    rows: Vec<Row>,
}

fn row(name: &'static str, figure: Option<String>, ratio: Option<f64>, meaning: &'static str) -> Row {
    Row { name, figure, ratio, meaning }
}

fn blobs(rate: Option<f64>) -> Option<String> {
    rate.map(|rate| format!("{rate:.0} blobs/s"))
}

fn mib(rate: Option<f64>) -> Option<String> {
    rate.map(|rate| format!("{rate:.0} MiB/s"))
}

fn ms(time: Option<f64>) -> Option<String> {
    time.map(|time| format!("{time:.2} ms"))
}

/// A share of more or less time.
fn percent(share: Option<f64>) -> Option<String> {
    share.map(|share| format!("{:+.0} %", share * 100.0))
}

impl Ceilings {
    fn section(&self) -> Section {
        let one_over_all = super::report::over(self.kzg_one_thread_blobs_per_s, self.kzg_ceiling_blobs_per_s);
        Section {
            title: "ceilings of this machine",
            rows: vec![
                row("KZG, one thread", blobs(self.kzg_one_thread_blobs_per_s), one_over_all, "of all threads"),
                row("KZG, all threads", blobs(self.kzg_ceiling_blobs_per_s), None, "what any node can verify at best"),
                row("KZG, a blob", ms(self.kzg_cpu_ms_per_blob), None, "processor time, all threads at it"),
                row("SHA-256", mib(self.sha256_mib_per_s), None, "one thread"),
                row("framing, encode", mib(self.framing_encode_mib_per_s), None, "one thread"),
                row("framing, decode", mib(self.framing_decode_mib_per_s), None, "one thread"),
                row("plain stream, TCP", mib(self.stream_tcp_mib_per_s), None, "libp2p alone, both ends here"),
                row("plain stream, QUIC", mib(self.stream_quic_mib_per_s), None, "libp2p alone, both ends here"),
                row("store, write", mib(self.store_write_mib_per_s), None, "64 blobs a durable transaction"),
                row("store, read", mib(self.store_read_mib_per_s), None, "checksums verified, file in cache"),
            ],
        }
    }
}

impl Serving {
    fn section(&self) -> Section {
        let meaning = "of plain streams in the same turn";
        Section {
            title: "serving blobs from a store to one peer",
            rows: vec![
                row("over TCP", mib(self.serve_tcp_mib_per_s), self.serve_over_stream, meaning),
                row("over QUIC", mib(self.serve_quic_mib_per_s), self.serve_over_stream_quic, meaning),
            ],
        }
    }
}

impl CatchUp {
    fn section(&self) -> Section {
        let wasted = self.wasted_bytes.map(|bytes| format!("{:.2} MiB", bytes / f64::from(1 << 20)));
        let peak = self.peak_rss_mib.map(|peak| format!("{peak:.0} MiB"));
        let busy = self.cpu_use.map(|_| "time".to_owned());
        let disk = self.disk_over_data.map(|_| "disk".to_owned());
        Section {
            title: "sync on loopback, client and server on the same processors",
            rows: vec![
                row("from four peers", blobs(self.sync_blobs_per_s), self.sync_over_kzg_ceiling, "of the KZG ceiling"),
                row(
                    "from one peer",
                    blobs(self.sync_one_peer_blobs_per_s),
                    self.sync_one_peer_over_kzg_ceiling,
                    "of the KZG ceiling",
                ),
                row(
                    "client, a blob",
                    ms(self.client_cpu_ms_per_blob),
                    self.client_cpu_over_kzg,
                    "processor time, of KZG alone",
                ),
                row("server, a blob", ms(self.server_cpu_ms_per_blob), None, "processor time"),
                row("processors", busy, self.cpu_use, "busy with client and server"),
                row("client, memory", peak, None, "at its peak"),
                row("wasted", wasted, self.wasted_share, "of what came, framing included"),
                row("client's store", disk, self.disk_over_data, "of the data in it"),
            ],
        }
    }
}

impl Baselines {
    fn section(&self) -> Section {
        let (whole, fixed) = ("Lapis over a height per message", "Lapis over a request per 200 ms");
        Section {
            title: "beside the baselines",
            rows: vec![
                row(
                    "loopback: whole heights",
                    blobs(self.whole_height_blobs_per_s),
                    self.over_whole_height_on_loopback,
                    whole,
                ),
                row(
                    "loopback: fixed pacing",
                    blobs(self.fixed_pacing_blobs_per_s),
                    self.over_fixed_pacing_on_loopback,
                    fixed,
                ),
                row("50 ms: Lapis", blobs(self.sync_50ms_blobs_per_s), None, "from four peers"),
                row(
                    "50 ms: whole heights",
                    blobs(self.whole_height_50ms_blobs_per_s),
                    self.over_whole_height_baseline,
                    whole,
                ),
                row(
                    "50 ms: fixed pacing",
                    blobs(self.fixed_pacing_50ms_blobs_per_s),
                    self.over_fixed_pacing_baseline,
                    fixed,
                ),
            ],
        }
    }
}

impl Link {
    fn section(&self) -> Section {
        let meaning = "of what the link carries";
        Section {
            title: "over a link of 100 Mbit/s at 50 ms",
            rows: vec![
                row("Lapis, four peers", blobs(self.link_sync_blobs_per_s), self.link_share, meaning),
                row("whole heights", blobs(self.link_whole_height_blobs_per_s), self.link_whole_height_share, meaning),
                row("fixed pacing", blobs(self.link_fixed_pacing_blobs_per_s), self.link_fixed_pacing_share, meaning),
            ],
        }
    }
}

impl Faults {
    fn section(&self) -> Section {
        let meaning = "time, against four good peers";
        Section {
            title: "one faulty peer of four at 50 ms",
            rows: vec![
                row("slow, 256 KiB/s", percent(self.slow_peer_loss), None, meaning),
                row("dead after 1 MiB", percent(self.dead_peer_loss), None, meaning),
                row("lying, wrong proofs", percent(self.lying_peer_loss), None, meaning),
            ],
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let setting = &self.setting;
        writeln!(
            f,
            "lapis {}, {} threads, {} heights of {} blobs",
            setting.version, setting.threads, setting.heights, setting.blobs_per_height
        )?;
        writeln!(f, "{:<26}{:>14}  {:>7}  what it is, what the ratio is of", "", "figure", "ratio")?;
        for section in [
            self.ceilings.section(),
            self.serving.section(),
            self.sync.section(),
            self.baselines.section(),
            self.link.section(),
            self.faults.section(),
        ] {
            section.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = || self.rows.iter().filter_map(|row| row.figure.as_ref().map(|figure| (row, figure)));
        if measured().next().is_none() {
            return Ok(());
        }
        writeln!(f, "\n{}", self.title)?;
        for (Row { name, ratio, meaning, .. }, figure) in measured() {
            let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            writeln!(f, "  {name:<24}{figure:>14}  {ratio:>7}  {meaning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_figure_unit_ratio_and_meaning() {
        let mut report = Report::default();
        report.sync.sync_blobs_per_s = Some(812.4);
        report.sync.sync_over_kzg_ceiling = Some(0.45);
        report.faults.dead_peer_loss = Some(0.126);
        let text = report.to_string();
        let line = |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default();
        for part in ["812 blobs/s", "0.450", "of the KZG ceiling"] {
            assert!(line("from four peers").contains(part), "{text}");
        }
        assert!(line("dead after 1 MiB").contains("+13 %"), "{text}");
    }

    #[test]
    fn what_was_not_measured_has_no_line_and_no_heading() {
        let report = Report::default();
        assert_eq!(report.to_string().lines().count(), 2);
    }
}
