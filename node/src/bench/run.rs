//! The whole bench: data once, then part after part, one thing at a time.

use std::{fs, io, path::PathBuf, sync::Arc, thread, time::Duration};

use lapis_protocol_spec::{Genesis, Kzg};
use tempfile::TempDir;

use super::{
    ceilings::{self, KzgCeiling, median},
    chain,
    error::BenchError,
    job::Way,
    options::{BenchOptions, Part},
    relay::{Manner, Network, Profile, ROUND_TRIP_50_MS},
    report::{Baselines, CatchUp, Ceilings, Faults, Link, Report, Serving, Setting, over},
    runs::{Client, LINK_BYTES_PER_SECOND, PEERS, Place, Run, Runner, through, through_good},
    serving::{self, Served},
};
use crate::genesis_file;

/// Bytes of a MiB.
const MIB: f64 = 1024.0 * 1024.0;
/// Bytes per second of a slow peer.
const SLOW: std::num::NonZeroU64 = match std::num::NonZeroU64::new(256 * 1024) {
    Some(rate) => rate,
    None => std::num::NonZeroU64::MIN,
};
/// Bytes after which a dead peer falls silent.
const DEAD_AFTER: u64 = 1024 * 1024;

/// Told what is being measured.
pub type Tell<'a> = &'a (dyn Fn(&str) + Sync);

/// Measures what `options` ask for. Cancel-safe: processes are killed and files removed when the call is dropped.
///
/// # Errors
/// [`BenchError`].
pub async fn run(options: BenchOptions, tell: Tell<'_>) -> Result<Report, BenchError> {
    options.check()?;
    let dir = temporary(&options)?;
    tell("making the chain, and measuring what the machine can do");
    let place = place(&options, &dir);
    let prepared = {
        let (options, place) = (options.clone(), place.clone());
        tokio::task::spawn_blocking(move || prepare(&options, &place)).await??
    };
    let runner = Runner::start(place).await?;
    let report = Report { setting: setting(&options), ceilings: prepared.ceilings, ..Report::default() };
    let mut bench = Bench { options: &options, tell, runner, kzg: prepared.kzg, report };
    bench.streams(&prepared.genesis).await?;
    bench.sync().await?;
    bench.baselines().await?;
    bench.link().await?;
    bench.faults().await?;
    bench.runner.stop().await?;
    Ok(bench.report)
}

fn temporary(options: &BenchOptions) -> Result<TempDir, BenchError> {
    let parent = options.dir.clone().unwrap_or_else(std::env::temp_dir);
    let made = tempfile::Builder::new().prefix("lapis-bench-").tempdir_in(&parent);
    made.map_err(|source| BenchError::Dir { path: parent, source })
}

fn place(options: &BenchOptions, dir: &TempDir) -> Place {
    Place {
        program: options.program.clone(),
        dir: dir.path().to_owned(),
        genesis: dir.path().join("genesis.json"),
        store: dir.path().join("store.redb"),
        heights: options.heights.get(),
    }
}

fn setting(options: &BenchOptions) -> Setting {
    Setting {
        version: env!("CARGO_PKG_VERSION"),
        threads: threads(),
        heights: options.heights.get(),
        blobs_per_height: options.blobs.get(),
    }
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What there is before any process.
struct Prepared {
    genesis: Genesis,
    kzg: KzgCeiling,
    ceilings: Ceilings,
}

/// Makes the data, and measures what needs no process.
fn prepare(options: &BenchOptions, place: &Place) -> Result<Prepared, BenchError> {
    let kzg = Arc::new(Kzg::mainnet()?);
    let made = chain::make(&place.store, (options.heights, options.blobs), &kzg)?;
    write_genesis(&place.genesis, &made.genesis)?;
    let mut ceilings = Ceilings::default();
    if options.wants(Part::Ceilings) {
        let bytes = ceilings::bytes(&made.sample, options.extent.window)?;
        ceilings.sha256_mib_per_s = Some(bytes.hash / MIB);
        ceilings.framing_encode_mib_per_s = Some(bytes.encode / MIB);
        ceilings.framing_decode_mib_per_s = Some(bytes.decode / MIB);
        ceilings.store_write_mib_per_s = Some(made.written_per_second / MIB);
        ceilings.store_read_mib_per_s = Some(ceilings::store_read(&place.store, &made.genesis)? / MIB);
    }
    let mut kzg = KzgCeiling::new(kzg, made.sample);
    ceilings.kzg_one_thread_blobs_per_s = kzg.one_thread();
    kzg.measure();
    take_kzg(&mut ceilings, &kzg);
    Ok(Prepared { genesis: made.genesis, kzg, ceilings })
}

fn take_kzg(ceilings: &mut Ceilings, kzg: &KzgCeiling) {
    ceilings.kzg_ceiling_blobs_per_s = kzg.blobs_per_second();
    ceilings.kzg_cpu_ms_per_blob = kzg.cpu_ms_per_blob();
}

fn write_genesis(path: &PathBuf, genesis: &Genesis) -> Result<(), BenchError> {
    let fault = |source| BenchError::Dir { path: path.clone(), source };
    let json = genesis_file::to_json(genesis).map_err(|error| fault(io::Error::other(error)))?;
    fs::write(path, json).map_err(fault)
}

/// A bench under way.
struct Bench<'a> {
    options: &'a BenchOptions,
    tell: Tell<'a>,
    runner: Runner,
    kzg: KzgCeiling,
    report: Report,
}

impl Bench<'_> {
    async fn streams(&mut self, genesis: &Genesis) -> Result<(), BenchError> {
        let wants = |part| self.options.wants(part);
        let extent = &self.options.extent;
        let [lapis, plain] = self.runner.for_reading().ok_or(BenchError::Nothing("reading"))?;
        let ([lapis_tcp, lapis_quic], [plain_tcp, plain_quic]) = (lapis, plain);
        if wants(Part::Ceilings) && !wants(Part::Serving) {
            (self.tell)("plain streams");
            self.report.ceilings.stream_tcp_mib_per_s = Some(serving::plain(&plain_tcp, extent).await? / MIB);
            self.report.ceilings.stream_quic_mib_per_s = Some(serving::plain(&plain_quic, extent).await? / MIB);
        }
        if wants(Part::Serving) {
            (self.tell)("serving beside plain streams");
            let (heights, blobs) = (self.options.heights.get(), self.options.blobs.get());
            let served = Served { genesis_id: genesis.id(), heights, blobs };
            let tcp = serving::both(&lapis_tcp, &plain_tcp, served, extent).await?;
            let quic = serving::both(&lapis_quic, &plain_quic, served, extent).await?;
            self.report.ceilings.stream_tcp_mib_per_s = Some(tcp.plain / MIB);
            self.report.ceilings.stream_quic_mib_per_s = Some(quic.plain / MIB);
            self.report.serving = Serving {
                serve_tcp_mib_per_s: Some(tcp.lapis / MIB),
                serve_quic_mib_per_s: Some(quic.lapis / MIB),
                serve_over_stream: Some(tcp.ratio),
                serve_over_stream_quic: Some(quic.ratio),
            };
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), BenchError> {
        if !self.options.wants(Part::Sync) && !self.options.wants(Part::Baselines) {
            return Ok(());
        }
        (self.tell)("sync on loopback");
        let (mut one, mut four) = (Vec::new(), Vec::new());
        for _ in 0..self.options.extent.syncs.max(1) {
            one.push(self.sync_from(1).await?);
            four.push(self.sync_from(PEERS).await?);
        }
        let (one, four) = (median_run(&one)?, median_run(&four)?);
        take_kzg(&mut self.report.ceilings, &self.kzg);
        self.report.sync = sync_figures(&self.report.ceilings, one, four);
        Ok(())
    }

    /// A sync of a new process from so many peers, and what the machine can do right after it.
    async fn sync_from(&mut self, peers: usize) -> Result<Run, BenchError> {
        let (peers, time_box) = (self.runner.honest(peers), self.options.extent.time_box);
        let run = self.runner.sync(Client::Fresh, Way::Lapis, peers, time_box).await?;
        let mut kzg = self.kzg.clone();
        self.kzg = tokio::task::spawn_blocking(move || {
            kzg.measure();
            kzg
        })
        .await?;
        Ok(run)
    }

    async fn baselines(&mut self) -> Result<(), BenchError> {
        if !self.options.wants(Part::Baselines) {
            return Ok(());
        }
        (self.tell)("the baselines on loopback");
        let lapis = self.report.sync.sync_blobs_per_s;
        let whole = self.rate(Way::WholeHeight, None).await?;
        let fixed = self.rate(Way::FixedPacing, None).await?;
        (self.tell)("Lapis and the baselines at 50 ms");
        let lapis_50 = self.rate(Way::Lapis, Some(ROUND_TRIP_50_MS)).await?;
        let whole_50 = self.rate(Way::WholeHeight, Some(ROUND_TRIP_50_MS)).await?;
        let fixed_50 = self.rate(Way::FixedPacing, Some(ROUND_TRIP_50_MS)).await?;
        self.report.baselines = Baselines {
            whole_height_blobs_per_s: whole,
            fixed_pacing_blobs_per_s: fixed,
            over_whole_height_on_loopback: over(lapis, whole),
            over_fixed_pacing_on_loopback: over(lapis, fixed),
            sync_50ms_blobs_per_s: lapis_50,
            whole_height_50ms_blobs_per_s: whole_50,
            fixed_pacing_50ms_blobs_per_s: fixed_50,
            over_whole_height_baseline: over(lapis_50, whole_50),
            over_fixed_pacing_baseline: over(lapis_50, fixed_50),
        };
        Ok(())
    }

    async fn rate(&mut self, way: Way, profile: Option<Profile>) -> Result<Option<f64>, BenchError> {
        let run = self.over(way, profile, self.options.extent.time_box).await?;
        Ok(Some(run.client.blobs_per_second()))
    }

    /// A sync in this way, over loopback or over relays with this profile.
    async fn over(&mut self, way: Way, profile: Option<Profile>, time_box: Duration) -> Result<Run, BenchError> {
        let servers = self.runner.servers(way);
        let network = profile.map(Network::new);
        let peers = match &network {
            Some(network) => through_good(network, servers)?,
            None => servers,
        };
        self.runner.sync(Client::Any, way, peers, time_box).await
    }

    async fn link(&mut self) -> Result<(), BenchError> {
        if !self.options.wants(Part::Link) {
            return Ok(());
        }
        (self.tell)("Lapis and the baselines at 50 ms and 100 Mbit/s");
        let profile = Some(Profile { bytes_per_second: Some(LINK_BYTES_PER_SECOND), ..ROUND_TRIP_50_MS });
        let extent = self.options.extent;
        let lapis = self.over(Way::Lapis, profile, extent.link_box).await?;
        let whole = self.over(Way::WholeHeight, profile, extent.time_box).await?;
        let fixed = self.over(Way::FixedPacing, profile, extent.time_box).await?;
        self.report.link = Link {
            link_sync_blobs_per_s: Some(lapis.client.blobs_per_second()),
            link_share: Some(link_share(&lapis)),
            link_whole_height_blobs_per_s: Some(whole.client.blobs_per_second()),
            link_whole_height_share: Some(link_share(&whole)),
            link_fixed_pacing_blobs_per_s: Some(fixed.client.blobs_per_second()),
            link_fixed_pacing_share: Some(link_share(&fixed)),
        };
        Ok(())
    }

    /// Syncs with each sort of fourth peer, in turns and every other time in reverse, so that what else happens to the
    /// machine meanwhile meets all of them.
    async fn faults(&mut self) -> Result<(), BenchError> {
        if !self.options.wants(Part::Faults) {
            return Ok(());
        }
        let mut runs: Vec<(Fourth, f64)> = Vec::new();
        for round in 0..self.options.extent.fault_rounds {
            let mut sorts = Fourth::ALL;
            if round % 2 == 1 {
                sorts.reverse();
            }
            for sort in sorts {
                (self.tell)(sort.words());
                runs.push((sort, self.with_fourth(sort).await?));
            }
        }
        let rate = |sort| median(runs.iter().filter(|(run, _)| *run == sort).map(|(_, rate)| *rate));
        let loss = |sort| over(rate(Fourth::Good), rate(sort)).map(|ratio| ratio - 1.0);
        self.report.faults = Faults {
            slow_peer_loss: loss(Fourth::Slow),
            dead_peer_loss: loss(Fourth::Dead),
            lying_peer_loss: loss(Fourth::Lying),
        };
        Ok(())
    }

    /// Blobs per second from three good peers and another one, at 50 ms.
    async fn with_fourth(&mut self, sort: Fourth) -> Result<f64, BenchError> {
        let network = Network::new(ROUND_TRIP_50_MS);
        let mut servers = self.runner.honest(PEERS);
        if sort == Fourth::Lying {
            servers.truncate(PEERS - 1);
            servers.extend(self.runner.liar());
        }
        let manners = [Manner::Good; PEERS - 1].into_iter().chain([sort.manner()]);
        let peers = through(&network, servers.into_iter().zip(manners))?;
        let run = self.runner.sync(Client::Any, Way::Lapis, peers, self.options.extent.fault_box).await?;
        Ok(run.client.blobs_per_second())
    }
}

/// What the fourth of four peers is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fourth {
    Good,
    Slow,
    Dead,
    Lying,
}

impl Fourth {
    const ALL: [Self; 4] = [Self::Good, Self::Slow, Self::Dead, Self::Lying];

    fn words(self) -> &'static str {
        match self {
            Self::Good => "four good peers at 50 ms",
            Self::Slow => "three and a slow one",
            Self::Dead => "three and a dead one",
            Self::Lying => "three and a liar",
        }
    }

    /// What happens to the bytes that it sends.
    fn manner(self) -> Manner {
        match self {
            Self::Good | Self::Lying => Manner::Good,
            Self::Slow => Manner::Slow(SLOW),
            Self::Dead => Manner::DeadAfter(DEAD_AFTER),
        }
    }
}

fn sync_figures(ceilings: &Ceilings, one: &Run, four: &Run) -> CatchUp {
    let (ceiling, client) = (ceilings.kzg_ceiling_blobs_per_s, &four.client);
    let (from_one, from_four) = (Some(one.client.blobs_per_second()), Some(client.blobs_per_second()));
    let client_cpu = client.cpu_ms_per_blob();
    CatchUp {
        sync_blobs_per_s: from_four,
        sync_one_peer_blobs_per_s: from_one,
        sync_over_kzg_ceiling: over(from_four, ceiling),
        sync_one_peer_over_kzg_ceiling: over(from_one, ceiling),
        client_cpu_ms_per_blob: client_cpu,
        server_cpu_ms_per_blob: per_blob(four.server_cpu, client.blobs),
        client_cpu_over_kzg: over(client_cpu, ceilings.kzg_cpu_ms_per_blob),
        cpu_use: Some((client.cpu + four.server_cpu).as_secs_f64() / (client.time.as_secs_f64() * threads() as f64)),
        peak_rss_mib: client.peak_resident.map(|bytes| bytes as f64 / MIB),
        wasted_bytes: Some(client.wasted() as f64),
        wasted_share: over(Some(client.wasted() as f64), Some(client.received as f64)),
        disk_over_data: over(Some(client.disk as f64), Some(client.data as f64)),
    }
}

/// The run with the median rate.
fn median_run(runs: &[Run]) -> Result<&Run, BenchError> {
    let mut runs: Vec<&Run> = runs.iter().collect();
    runs.sort_unstable_by(|a, b| a.client.blobs_per_second().total_cmp(&b.client.blobs_per_second()));
    runs.get(runs.len() / 2).copied().ok_or(BenchError::Nothing("a sync"))
}

fn per_blob(time: Duration, blobs: u64) -> Option<f64> {
    (blobs > 0).then(|| time.as_secs_f64() * 1000.0 / blobs as f64)
}

fn link_share(run: &Run) -> f64 {
    let carried = LINK_BYTES_PER_SECOND.get() as f64 * run.client.time.as_secs_f64();
    run.client.data as f64 / carried.max(f64::MIN_POSITIVE)
}
