//! An importer at work: it asks its plan for steps and does them.

use std::{
    collections::VecDeque,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::B256;
use lapis_protocol_spec::Height;
use lapis_storage::Watermarks;
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    ImportError, ImportState, Importer,
    blocks::{BlockHash, Blocks, Found, Outcome},
    evidence::Evidence,
    plan::Plan,
    step::{Answer, Marks, Obstacle, PlanSettings, Stand, Step},
};
use crate::{
    error_line::one_line,
    execution::{ExecutionEngine, Head, ImportBlock, PayloadStatus, Standing, Unavailability},
    feed::WatermarkFeed,
    metrics::Metrics,
};

/// Time between two lines about heights that are given again.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// An importer at work.
pub(super) struct Work {
    engine: Box<dyn ExecutionEngine>,
    blocks: Blocks,
    plan: Plan,
    feed: WatermarkFeed,
    metrics: Metrics,
    state: watch::Sender<ImportState>,
    evidence: Evidence,
    shutdown: CancellationToken,
    rng: StdRng,
    /// Heads of blocks that were taken and are not saved, at most one per height of a batch.
    heads: VecDeque<Head>,
    /// The block that was offered last, by height and hash.
    offered: Option<(Height, B256)>,
    /// When the state was logged last.
    logged: Instant,
    /// What the engine's last trouble was, in words.
    detail: String,
    /// Why import is halted.
    halted: Option<ImportState>,
}

impl Work {
    pub(super) fn new(importer: Importer, shutdown: CancellationToken) -> Self {
        let Importer { settings, chain, store, engine, feed, metrics, repairs, state } = importer;
        let habits = engine.habits();
        let plan = Plan::new(PlanSettings {
            batch: settings.batch,
            check_interval: habits.is_separate.then_some(settings.check_interval),
            longest_retry: settings.longest_retry,
        });
        let evidence = Evidence { dir: settings.evidence, engine: engine.name() };
        let blocks = Blocks { chain, store, repairs, check: habits.checks_blocks, ahead: None };
        Self {
            engine,
            blocks,
            plan,
            feed,
            metrics,
            state,
            evidence,
            shutdown,
            rng: StdRng::from_os_rng(),
            heads: VecDeque::new(),
            offered: None,
            logged: now(),
            detail: String::new(),
            halted: None,
        }
    }

    pub(super) async fn run(&mut self) -> Result<(), ImportError> {
        let mut watermarks = self.feed.subscribe();
        self.metrics.import.state(self.state.borrow().name());
        while !self.shutdown.is_cancelled() {
            let marks = *watermarks.borrow_and_update();
            let step = self.plan.next(now(), &heights(&marks));
            self.tell(&marks);
            match step {
                Step::Stand => self.stand(&marks).await?,
                Step::Has(height) => self.look_for(height).await?,
                Step::Offer(height) => self.offer(height, &marks).await?,
                Step::Forkchoice(height) => self.forkchoice(height, &marks).await?,
                Step::Save(height) => self.save(height).await?,
                Step::Wait(until) => {
                    let until = until.map(tokio::time::Instant::from_std);
                    tokio::select! {
                        () = self.shutdown.cancelled() => {}
                        () = wait_until(until) => {}
                        changed = watermarks.changed() => if changed.is_err() { return Ok(()) },
                    }
                }
                Step::Halt => self.shutdown.cancelled().await,
            }
        }
        Ok(())
    }

    /// Waits until nothing reads the store any more.
    pub(super) async fn drain(&mut self) {
        self.blocks.drain().await;
    }

    /// Asks the engine where it stands.
    async fn stand(&mut self, marks: &Watermarks) -> Result<(), ImportError> {
        let Some(standing) = unless(&self.shutdown, self.engine.standing()).await else { return Ok(()) };
        let stand = match standing {
            Ok(Standing::AtWatermark) => Stand::AtWatermark,
            Ok(Standing::Untold) => Stand::Untold,
            Ok(Standing::Head { block_hash, block_number }) => {
                let height = self.blocks.height_of(block_hash, block_number, marks).await?;
                height.map_or(Stand::Elsewhere, Stand::At)
            }
            Err(reason) => {
                self.failed(&reason);
                return Ok(());
            }
        };
        tracing::debug!(?stand, imported = marks.imported, "where the engine stands");
        self.plan.stands(stand, &heights(marks));
        Ok(())
    }

    async fn look_for(&mut self, height: Height) -> Result<(), ImportError> {
        let Some(hash) = self.hash(height).await? else { return Ok(()) };
        match unless(&self.shutdown, self.engine.has_block(hash)).await {
            Some(Ok(has)) => self.plan.has_told(height, has),
            Some(Err(reason)) => self.failed(&reason),
            None => {}
        }
        Ok(())
    }

    async fn offer(&mut self, height: Height, marks: &Watermarks) -> Result<(), ImportError> {
        let block = match self.blocks.get(height, marks).await? {
            Found::Block(block) => block,
            Found::Unreadable => {
                self.plan.unreadable(height, now(), &mut self.rng);
                return Ok(());
            }
            Found::Unsupported(unsupported) => {
                self.halt(height, unsupported.to_string(), None, None).await;
                return Ok(());
            }
        };
        self.blocks.prepare(height.saturating_add(1), marks);
        let started = now();
        let Some(status) = unless(&self.shutdown, self.engine.new_payload(&block)).await else { return Ok(()) };
        self.metrics.import.observe(&status, started.elapsed());
        if let PayloadStatus::Valid { head: Some(head) } = &status {
            self.heads.push_back(*head);
        }
        if height <= marks.imported && matches!(status, PayloadStatus::Valid { .. }) {
            self.metrics.import.fed();
        }
        self.offered = Some((height, block.expected().block_hash));
        let answer = self.judge(height, status).await;
        self.plan.offered(height, answer, now(), &mut self.rng);
        Ok(())
    }

    async fn forkchoice(&mut self, height: Height, marks: &Watermarks) -> Result<(), ImportError> {
        let Some(hash) = self.hash(height).await? else { return Ok(()) };
        let Some(status) = unless(&self.shutdown, self.engine.forkchoice_updated(hash)).await else { return Ok(()) };
        let answer = self.judge(height, status).await;
        self.plan.forkchoice_told(height, answer, now(), &heights(marks), &mut self.rng);
        Ok(())
    }

    /// The hash of a height's block; without it nothing can be asked, which is tried again later.
    async fn hash(&mut self, height: Height) -> Result<Option<B256>, ImportError> {
        if let Some((_, hash)) = self.offered.filter(|(offered, _)| *offered == height) {
            return Ok(Some(hash));
        }
        match self.blocks.hash(height).await? {
            BlockHash::Known(hash) => return Ok(Some(hash)),
            BlockHash::NotYet => self.plan.pause(now(), &mut self.rng),
            BlockHash::Unreadable => self.plan.unreadable(height, now(), &mut self.rng),
        }
        Ok(None)
    }

    async fn save(&mut self, height: Height) -> Result<(), ImportError> {
        while self.heads.front().is_some_and(|head| head.height < height) {
            self.heads.pop_front();
        }
        let head = self.heads.front().filter(|head| head.height == height).map(|head| Arc::from(head.to_bytes()));
        let saved = self.blocks.mark_imported(height, head).await?;
        self.feed.refresh();
        match saved {
            Outcome::Done => self.plan.saved(),
            Outcome::Later => self.plan.pause(now(), &mut self.rng),
        }
        Ok(())
    }

    /// What an engine's answer means for the plan; what it says in words is kept.
    async fn judge(&mut self, height: Height, status: PayloadStatus) -> Answer {
        match status {
            PayloadStatus::Valid { .. } => Answer::Valid,
            PayloadStatus::Syncing | PayloadStatus::Accepted => Answer::Lacking,
            PayloadStatus::Unavailable(reason) => {
                self.detail = reason.to_string();
                Answer::Trouble(reason.trouble())
            }
            PayloadStatus::Invalid(reason) => {
                let block = self.block_of(height).await;
                self.halt(height, one_line(&reason), block, reason.answer().map(str::to_owned)).await;
                Answer::Invalid
            }
            PayloadStatus::Uncertified(fault) => {
                let block = self.block_of(height).await;
                self.halt(height, one_line(&fault), block, None).await;
                Answer::Invalid
            }
        }
    }

    /// The block that an answer is about, once more from the store.
    async fn block_of(&mut self, height: Height) -> Option<ImportBlock> {
        let marks = self.feed.current();
        match self.blocks.get(height, &marks).await {
            Ok(Found::Block(block)) => Some(block),
            Ok(Found::Unreadable | Found::Unsupported(_)) | Err(_) => None,
        }
    }

    fn failed(&mut self, reason: &Unavailability) {
        self.detail = reason.to_string();
        self.plan.failed(reason.trouble(), now(), &mut self.rng);
    }

    async fn halt(&mut self, height: Height, reason: String, block: Option<ImportBlock>, answer: Option<String>) {
        let evidence = match block {
            Some(block) => self.evidence.keep(block, reason.clone(), answer).await,
            None => None,
        };
        // What comes after the first reason follows from it.
        self.halted.get_or_insert(ImportState::Halted { height, reason, evidence });
        self.plan.halt();
    }

    /// Publishes the state, and logs it if it is another one than before, or if it has been heights that are given again
    /// for a while.
    fn tell(&mut self, marks: &Watermarks) {
        let state = self.current(marks);
        let (before, was_held_up) = {
            let before = self.state.borrow();
            (before.name(), before.is_held_up())
        };
        let now = now();
        let progress = matches!(state, ImportState::Feeding { .. }) && now >= self.logged + PROGRESS_INTERVAL;
        if before != state.name() || progress {
            log(&state, self.engine.name(), was_held_up);
            self.logged = now;
        }
        if before != state.name() {
            self.metrics.import.state(state.name());
        }
        self.state.send_if_modified(|old| {
            let changed = *old != state;
            *old = state;
            changed
        });
    }

    fn current(&self, marks: &Watermarks) -> ImportState {
        let next = self.plan.has().saturating_add(1);
        if let Some(halted) = &self.halted {
            return halted.clone();
        }
        match self.plan.obstacle() {
            Some(Obstacle::Syncing(height)) => ImportState::Syncing(height),
            Some(Obstacle::Unreadable(height)) => ImportState::Unreadable(height),
            Some(Obstacle::Trouble(trouble)) => {
                let height = marks.imported.saturating_add(1);
                ImportState::Unavailable { height, trouble, detail: self.detail.clone() }
            }
            Some(Obstacle::LacksHistory { earliest }) => ImportState::LacksHistory { earliest },
            Some(Obstacle::WrongChain) => {
                let genesis_hash = self.blocks.chain.genesis().execution_block_hash.to_string();
                ImportState::WrongChain { genesis_hash }
            }
            None if self.plan.is_connecting() => ImportState::Connecting,
            None if next <= marks.imported => ImportState::Feeding { next, last: marks.imported },
            None if next <= marks.available => ImportState::Importing(next),
            None if marks.imported < marks.available => ImportState::Importing(marks.available),
            None => ImportState::Idle,
        }
    }
}

fn heights(marks: &Watermarks) -> Marks {
    // Before anything is available nothing below the watermark is held either.
    let earliest = if marks.earliest_payload == 0 { marks.imported.saturating_add(1) } else { marks.earliest_payload };
    Marks { imported: marks.imported, available: marks.available, earliest_payload: earliest }
}

/// Time as the runtime sees it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// `call`, unless `shutdown` comes first.
async fn unless<T>(shutdown: &CancellationToken, call: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = shutdown.cancelled() => None,
        value = call => Some(value),
    }
}

async fn wait_until(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// One line for each change. That an engine works is told if it did not before.
fn log(state: &ImportState, engine: &'static str, was_held_up: bool) {
    let name = state.name();
    match state {
        ImportState::Idle | ImportState::Importing(_) if was_held_up => {
            tracing::info!(engine, state = name, "the engine goes on: {state}");
        }
        ImportState::Connecting | ImportState::Idle | ImportState::Importing(_) => {
            tracing::debug!(engine, state = name, "{state}");
        }
        ImportState::Feeding { .. } => tracing::info!(engine, state = name, "{state}"),
        ImportState::Syncing(_) | ImportState::Unreadable(_) | ImportState::Unavailable { .. } => {
            tracing::warn!(engine, state = name, "{state}");
        }
        ImportState::LacksHistory { .. } | ImportState::WrongChain { .. } | ImportState::Halted { .. } => {
            tracing::error!(engine, state = name, "{state}");
        }
    }
}
