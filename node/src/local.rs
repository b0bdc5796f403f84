//! The node's end of a local consensus source: its commands, carried out on the store and told to the network.

use std::{convert::Infallible, time::SystemTime};

use lapis_p2p::Handle;
use lapis_protocol_spec::Height;
use lapis_storage::{Batch, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{
    decide::store_decided,
    feed::WatermarkFeed,
    metrics::Metrics,
    source::{Decision, Proposal, SourceCommand, SourceCommands, SourceError},
};

/// Blobs of a proposal that are stored in one transaction: others write in between.
const BLOBS_AT_A_TIME: usize = 64;

/// Carries out commands one after the other; each is acknowledged after its commit.
pub struct LocalSource {
    /// The commands.
    pub commands: SourceCommands,
    /// Where they go.
    pub store: Store,
    /// Watermarks of the store.
    pub feed: WatermarkFeed,
    /// Where decisions are announced.
    pub network: Handle,
    /// Counters.
    pub metrics: Metrics,
}

impl LocalSource {
    /// Runs until `shutdown`. A consensus engine that goes away leaves the node serving what it has.
    ///
    /// # Errors
    /// None: failures are the answers to the commands.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(command) = self.commands.recv() => self.carry_out(command).await,
                else => {
                    shutdown.cancelled().await;
                    return Ok(());
                }
            }
        }
    }

    async fn carry_out(&self, command: SourceCommand) {
        // Whoever asked may have stopped waiting; the command is carried out all the same.
        let _ = match command {
            SourceCommand::Propose { proposal, done } => done.send(self.propose(*proposal).await),
            SourceCommand::Decide { decision, done } => done.send(self.decide(*decision).await),
            SourceCommand::DropRound { height, round, done } => done.send(self.drop_round(height, round).await),
        };
    }

    async fn propose(&self, proposal: Proposal) -> Result<(), SourceError> {
        self.write(move |store| {
            store.insert_undecided(proposal.round, &proposal.value, SystemTime::now())?;
            let mut payloads = vec![proposal.payload];
            let mut blobs = proposal.blobs.into_iter().peekable();
            while !payloads.is_empty() || blobs.peek().is_some() {
                let payloads = std::mem::take(&mut payloads);
                store.insert(Batch { payloads, blobs: blobs.by_ref().take(BLOBS_AT_A_TIME).collect() })?;
            }
            Ok(())
        })
        .await
    }

    /// The set first: it stands by itself under its root, and without it the value's successor could not be verified.
    async fn decide(&self, Decision { decided, next_validators }: Decision) -> Result<(), SourceError> {
        if next_validators.as_ref().is_some_and(|set| set.check_root(&decided.value.next_validators_root).is_err()) {
            return Err(SourceError::OtherValidators);
        }
        let announced = decided.clone();
        let stored = self.write(move |store| {
            next_validators.map_or(Ok(()), |set| store.insert_validator_set(&set))?;
            store_decided(store, &[decided])
        });
        let outcome = stored.await?;
        self.metrics.store.decided(&[announced.value.blob_count()], &outcome);
        self.feed.refresh();
        if let Err(error) = self.network.announce(&announced).await {
            tracing::warn!(height = announced.height(), %error, "decided value not announced");
        }
        Ok(())
    }

    async fn drop_round(&self, height: Height, round: u64) -> Result<(), SourceError> {
        let dropped = self.write(move |store| store.drop_round(height, round)).await?;
        self.metrics.store.dropped(dropped.blobs);
        Ok(())
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || write(&store)).await {
            Ok(result) => result.map_err(|error| SourceError::Store(error.to_string())),
            Err(_) => Err(SourceError::Closed),
        }
    }
}
