//! The archives that a configuration names: opened, and what is shown of the one that is written to.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::future::join_all;
use lapis_protocol_spec::Bytes32;
use libp2p::PeerId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Inner, settings};
use crate::{
    archiver::{Archiver, ArchiverState},
    config::{ArchiveConfig, PrunePolicy},
    object_archive::{ArchiveSource, ObjectArchive, ObjectError, WriterTag},
    prune::ArchiveWatch,
    repair::RepairRequests,
    status::ArchiverStatus,
    sync::archive::Archive,
};

/// Where archives are written to and read from.
#[derive(Debug)]
pub(super) struct Archives {
    upload: Option<ObjectArchive>,
    sources: Vec<Arc<ArchiveSource>>,
}

impl Archives {
    pub(super) fn open(config: &ArchiveConfig, genesis_id: &Bytes32) -> Result<Self, ObjectError> {
        let s3 = settings::s3(config);
        let open = |location| ObjectArchive::open(location, &s3, config.timeout, genesis_id);
        let source = |location| Ok(Arc::new(ArchiveSource::new(open(location)?, *genesis_id)));
        Ok(Self {
            upload: config.upload_to.as_ref().map(open).transpose()?,
            sources: config.fetch_from.iter().map(source).collect::<Result<_, _>>()?,
        })
    }

    /// The look at the archive before pruning, if the policy asks for one.
    pub(super) fn watch(&self, policy: PrunePolicy, genesis_id: &Bytes32) -> Option<ArchiveWatch> {
        match policy {
            PrunePolicy::AfterImport => None,
            PrunePolicy::AfterArchive => self.upload.clone().map(|archive| ArchiveWatch::new(archive, *genesis_id)),
        }
    }

    /// What sync may ask.
    pub(super) fn sources(&self) -> impl Iterator<Item = Arc<dyn Archive>> {
        self.sources.iter().map(|source| Arc::clone(source) as Arc<dyn Archive>)
    }

    /// Keeps the sources up to date until `shutdown`.
    pub(super) async fn look(self, interval: Duration, shutdown: CancellationToken) -> Result<(), Infallible> {
        join_all(self.sources.iter().map(|source| source.run(interval, shutdown.clone()))).await;
        shutdown.cancelled().await;
        Ok(())
    }

    /// The archiver, if there is something to write to, and the view of it.
    pub(super) fn archiver(
        &self,
        inner: &Inner,
        peer: &PeerId,
        repairs: RepairRequests,
    ) -> Option<(Archiver, ArchiverView)> {
        let archive = self.upload.clone()?;
        let location = archive.location().to_string();
        let (state, view) = watch::channel(ArchiverState::default());
        let archiver = Archiver {
            config: settings::archiver(&inner.options.config.archive),
            chain: inner.options.chain.clone(),
            store: inner.store.clone(),
            feed: inner.feed.clone(),
            archive,
            writer: WriterTag::of(peer),
            metrics: inner.metrics.clone(),
            repairs,
            state,
        };
        Some((archiver, ArchiverView { location, state: view }))
    }
}

/// What is shown of an archiver.
#[derive(Debug)]
pub(super) struct ArchiverView {
    location: String,
    state: watch::Receiver<ArchiverState>,
}

impl ArchiverView {
    pub(super) fn status(&self) -> ArchiverStatus {
        let state = self.state.borrow().clone();
        let (failure, failures) = state.failure.unzip();
        ArchiverStatus {
            location: self.location.clone(),
            pending_heights: state.pending,
            writing: state.writing.map(std::ops::RangeInclusive::into_inner),
            failure,
            failures: failures.unwrap_or(0),
        }
    }
}
