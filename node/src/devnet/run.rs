//! `lapis devnet`: validators produce heights with real blobs, one node follows, one joins late and catches up.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use lapis_storage::StoreError;
use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    agreement::{self, Disagreement},
    ceiling::Ceiling,
    clients::{Builder, ClientsError, EngineEndpoint},
    consensus::{self, BlobCounts, ConsensusError, Progress, ValidatorPort},
    error::DevnetError,
    latency::{Latencies, Watch},
    network::{Member, Network},
    options::DevnetOptions,
    pace::{CatchUp, Patience},
    progress::{Display, Row},
    proposal::Tip,
    setup::{Root, Setup},
    summary::{NodeSummary, Summary},
};
use crate::{chain::Chain, genesis_file, node::Source, shutdown::TaskFailure, source};

/// How often the run looks at its nodes.
const LOOK: Duration = Duration::from_millis(20);
/// How often it looks when everything is done and the nodes just go on.
const LOOK_AT_REST: Duration = Duration::from_secs(1);

/// Runs a devnet and returns its summary; the nodes have stopped by then.
///
/// # Errors
/// [`DevnetError`]. A run that ends without an error may still not [hold](Summary::holds).
pub async fn run(options: DevnetOptions, stop: CancellationToken) -> Result<Summary, DevnetError> {
    options.check()?;
    let root = Root::new(options.dir.as_deref())?;
    let agreed = match &options.clients {
        Some(clients) => clients.agree().await?,
        None => None,
    };
    let setup = tokio::task::spawn_blocking({
        let options = options.clone();
        move || Setup::new(&options, agreed)
    })
    .await??;
    let mut devnet = Devnet::start(options, &root, setup, stop).await?;
    let outcome = devnet.watch().await;
    let outcome = match outcome {
        Ok(summary) => devnet.keep_running(summary).await,
        Err(error) => Err(error),
    };
    let stopped = devnet.stop().await;
    outcome.and_then(|summary| stopped.map(|()| summary))
}

/// A running devnet.
struct Devnet {
    options: DevnetOptions,
    network: Network,
    validators: Vec<Member>,
    follower: Member,
    late: Option<Member>,
    consensus: JoinHandle<Result<Tip, ConsensusError>>,
    progress: watch::Receiver<Progress>,
    latencies: Vec<Watch>,
    /// How long the follower takes, until it is asked.
    tip: Option<Watch>,
    ceiling: Option<Ceiling>,
    facts: Facts,
    display: Display,
    stop: CancellationToken,
}

/// Contents of `devnet.json`.
#[derive(Debug, Serialize)]
struct Facts {
    genesis: PathBuf,
    genesis_id: String,
    nodes: Vec<super::network::MemberFacts>,
    #[serde(skip)]
    file: PathBuf,
}

impl Facts {
    /// Writes the file anew, as a whole, and prints what is new.
    fn add(&mut self, member: &Member) -> Result<(), DevnetError> {
        let facts = member.facts();
        println!("{facts}");
        self.nodes.push(facts);
        let fault = |source| DevnetError::Dir { path: self.file.clone(), source };
        let json = serde_json::to_vec_pretty(self).map_err(|error| fault(error.into()))?;
        let unfinished = self.file.with_extension("json.tmp");
        fs::write(&unfinished, json).and_then(|()| fs::rename(&unfinished, &self.file)).map_err(fault)
    }
}

impl Devnet {
    async fn start(
        options: DevnetOptions,
        root: &Root,
        setup: Setup,
        stop: CancellationToken,
    ) -> Result<Self, DevnetError> {
        let chain = Chain::new(setup.proposer.spec().genesis().clone());
        let mut facts = facts(root.path(), &chain)?;
        println!("devnet in {}, genesis {}", root.path().display(), facts.genesis.display());
        let network = Network::new(root.path(), chain, Arc::clone(&setup.kzg), stop.clone());
        let (validators, ports) = start_validators(&network, &options, &setup, &mut facts).await?;
        let engine = options.engine(options.validators);
        let follower = start(&network, "follower", addresses(&validators), Source::Follow, engine).await?;
        facts.add(&follower)?;
        let (sender, progress) = watch::channel(Progress::default());
        let config = consensus::Config {
            last_height: Some(options.heights.get()),
            block_time: options.block_time,
            blobs: BlobCounts::Fixed(options.blobs),
            ..consensus::Config::default()
        };
        let start = Tip::genesis(setup.proposer.spec());
        let producer = setup.producer(builders(&options, &validators)?)?;
        let latencies = latencies(&options, &validators, &progress);
        let tip = Watch::start(follower.name.clone(), progress.clone(), follower.handle.feed.subscribe());
        let consensus = tokio::spawn(consensus::run(producer, ports, start, config, sender, stop.clone()));
        let (display, ceiling) = (Display::new(options.heights.get()), setup.ceiling);
        let late = None;
        Ok(Self {
            options,
            network,
            validators,
            follower,
            late,
            consensus,
            progress,
            latencies,
            tip: Some(tip),
            ceiling,
            facts,
            display,
            stop,
        })
    }

    /// Watches until all nodes have everything, or something is wrong.
    async fn watch(&mut self) -> Result<Summary, DevnetError> {
        let heights = self.options.heights.get();
        let mut patience = Patience::new(self.options.block_time);
        let mut catch_up = CatchUp::default();
        loop {
            self.check_alive().await?;
            let decided = self.progress.borrow().decided_height;
            if self.late.is_none() && decided >= self.options.late_from() {
                let late = self.start_late().await?;
                self.facts.add(&late)?;
                catch_up.begin(decided);
                self.late = Some(late);
            }
            if let Some(late) = &self.late {
                catch_up.look(late, decided);
            }
            self.display.show(&self.rows(), Instant::now());
            let all_there = self.late.is_some() && self.watched().all(|member| member.imported() >= heights);
            if decided >= heights && all_there {
                self.display.finish(&self.rows());
                return self.summary(catch_up).await;
            }
            let slowest = self.watched().min_by_key(|member| member.imported());
            patience.look(slowest.unwrap_or(&self.follower), decided, heights)?;
            tokio::select! {
                () = self.stop.cancelled() => return Err(DevnetError::Interrupted),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The nodes that have to come to the end: those that follow, and those whose clients are the slower ones.
    fn watched(&self) -> impl Iterator<Item = &Member> {
        let with_clients =
            self.validators.iter().enumerate().filter(|(index, _)| self.options.engine(*index).is_some());
        with_clients.map(|(_, member)| member).chain(&self.late).chain([&self.follower])
    }

    async fn start_late(&self) -> Result<Member, DevnetError> {
        let engine = self.options.engine(self.options.validators.saturating_add(1));
        start(&self.network, "late", addresses(&self.validators), Source::Follow, engine).await
    }

    async fn check_alive(&mut self) -> Result<(), DevnetError> {
        if self.consensus.is_finished() && self.progress.borrow().decided_height < self.options.heights.get() {
            (&mut self.consensus).await??;
            return Err(DevnetError::Interrupted);
        }
        let members = self.validators.iter_mut().chain([&mut self.follower]).chain(&mut self.late);
        for member in members {
            if let Some(ended) = member.ended().await {
                let reason = ended.map_or_else(|failure| describe(&failure), |()| "it stopped by itself".to_owned());
                return Err(DevnetError::Down { name: member.name.clone(), reason });
            }
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Row> {
        let progress = *self.progress.borrow();
        let decided = Row {
            name: "decided".to_owned(),
            height: progress.decided_height,
            detail: format!("{} blobs", progress.blobs),
        };
        let nodes = [Some(&self.follower), self.late.as_ref()].into_iter().flatten().map(|member| {
            let status = member.handle.status.borrow();
            let stall = status.stall.as_ref().map_or_else(String::new, |stall| format!(", {stall}"));
            let detail = format!("{} blobs verified{stall}", member.handle.metrics.pipeline.verified_blobs());
            Row { name: member.name.clone(), height: member.imported(), detail }
        });
        [decided].into_iter().chain(nodes).collect()
    }

    async fn summary(&mut self, catch_up: CatchUp) -> Result<Summary, DevnetError> {
        let Some(late) = &self.late else { return Err(DevnetError::Interrupted) };
        let (a, b) = (late.handle.store.clone(), self.follower.handle.store.clone());
        let heights = self.options.heights.get();
        let agreement = tokio::task::spawn_blocking(move || agreement::compare(&a, &b, heights)).await?;
        let agree = match agreement {
            Ok(()) => true,
            Err(Disagreement::Store(error)) => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the stores do not agree");
                false
            }
        };
        let progress = *self.progress.borrow();
        let latencies = join_all(self.latencies.drain(..).map(Watch::finish)).await;
        let tip = match self.tip.take() {
            Some(watch) => watch.finish().await.1,
            None => Latencies::default(),
        };
        Ok(Summary {
            heights,
            blobs: progress.blobs,
            bytes: progress.bytes,
            late: node_summary(late)?,
            follower: node_summary(&self.follower)?,
            caught_up_heights: catch_up.behind,
            caught_up_blobs: catch_up.blobs,
            catch_up: catch_up.took,
            ceiling: self.ceiling,
            latencies,
            tip,
            agree,
        })
    }

    /// Shows the summary now and goes on until a signal, if that was asked for.
    async fn keep_running(&mut self, summary: Summary) -> Result<Summary, DevnetError> {
        if self.options.keep_running {
            println!("\n{summary}");
            println!("nodes keep running; stop with Ctrl-C");
            let stop = self.stop.clone();
            while stop.run_until_cancelled(tokio::time::sleep(LOOK_AT_REST)).await.is_some() {
                self.check_alive().await?;
            }
        }
        Ok(summary)
    }

    async fn stop(self) -> Result<(), DevnetError> {
        self.consensus.abort();
        let members = self.late.into_iter().chain([self.follower]).chain(self.validators);
        let mut first = Ok(());
        for (name, stopped) in
            join_all(members.map(|member| async { (member.name.clone(), member.stop().await) })).await
        {
            if let Err(failure) = stopped
                && first.is_ok()
            {
                first = Err(DevnetError::Down { name, reason: describe(&failure) });
            }
        }
        first
    }
}

/// A failure with its causes.
fn describe(failure: &TaskFailure) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn start(
    network: &Network,
    name: &str,
    peers: Vec<libp2p::Multiaddr>,
    source: Source,
    engine: Option<&EngineEndpoint>,
) -> Result<Member, DevnetError> {
    let started = network.start(name, peers, source, engine).await;
    started.map_err(|source| DevnetError::Member { name: name.to_owned(), source: Box::new(source) })
}

/// The clients that build, with how far their nodes are: those of the validators.
fn builders(options: &DevnetOptions, validators: &[Member]) -> Result<Vec<Builder>, ClientsError> {
    let with_clients = validators.iter().enumerate().filter_map(|(index, one)| Some((options.engine(index)?, one)));
    with_clients
        .map(|(engine, member)| Ok(Builder { client: engine.api()?, watermarks: member.handle.feed.subscribe() }))
        .collect()
}

/// Measures the validators that import into clients.
fn latencies(options: &DevnetOptions, validators: &[Member], progress: &watch::Receiver<Progress>) -> Vec<Watch> {
    let with_clients = validators.iter().enumerate().filter(|(index, _)| options.engine(*index).is_some());
    with_clients
        .map(|(_, member)| Watch::start(member.name.clone(), progress.clone(), member.handle.feed.subscribe()))
        .collect()
}

/// The validators' nodes, each of which dials those before it, and consensus' way to them.
async fn start_validators(
    network: &Network,
    options: &DevnetOptions,
    setup: &Setup,
    facts: &mut Facts,
) -> Result<(Vec<Member>, Vec<ValidatorPort>), DevnetError> {
    let mut validators: Vec<Member> = Vec::with_capacity(options.validators);
    let mut ports = Vec::with_capacity(options.validators);
    for (index, key) in setup.params.keys().into_iter().enumerate() {
        let (source, commands) = source::channel();
        let name = format!("validator-{index}");
        let (peers, engine) = (addresses(&validators), options.engine(index));
        let member = start(network, &name, peers, Source::Local(commands), engine).await?;
        facts.add(&member)?;
        validators.push(member);
        ports.push(ValidatorPort { key, source });
    }
    Ok((validators, ports))
}

/// One address of each.
fn addresses(members: &[Member]) -> Vec<libp2p::Multiaddr> {
    members.iter().filter_map(|member| member.handle.addresses().into_iter().next()).collect()
}

fn facts(root: &Path, chain: &Chain) -> Result<Facts, DevnetError> {
    let genesis = root.join("genesis.json");
    let fault = |source| DevnetError::Dir { path: genesis.clone(), source };
    let json = genesis_file::to_json(chain.genesis()).map_err(|error| fault(io::Error::other(error)))?;
    fs::write(&genesis, json).map_err(fault)?;
    let file = root.join("devnet.json");
    Ok(Facts { genesis, genesis_id: chain.id().to_string(), nodes: Vec::new(), file })
}

fn node_summary(member: &Member) -> Result<NodeSummary, StoreError> {
    let stats = member.handle.store.stats()?;
    let tallies = stats.tallies;
    let data_bytes = tallies.values_decided.bytes + tallies.blobs.held().bytes + tallies.payloads.held().bytes;
    let pipeline = &member.handle.metrics.pipeline;
    Ok(NodeSummary {
        verified: pipeline.verified_blobs(),
        faulty: pipeline.faulty_blobs(),
        imported: stats.watermarks.imported,
        disk_bytes: stats.allocated_bytes,
        data_bytes,
    })
}
