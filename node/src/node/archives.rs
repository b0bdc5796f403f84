//! The archives that a configuration names: opened, and what is shown of the one that is written to.

use lapis_protocol_spec::Bytes32;
use libp2p::PeerId;
use tokio::sync::watch;

use super::{Inner, settings};
use crate::{
    archiver::{Archiver, ArchiverState},
    config::ArchiveConfig,
    object_archive::{ObjectArchive, ObjectError, WriterTag},
    status::ArchiverStatus,
};

/// Where archives are written to.
#[derive(Debug)]
pub(super) struct Archives {
    upload: Option<ObjectArchive>,
}

impl Archives {
    pub(super) fn open(config: &ArchiveConfig, genesis_id: &Bytes32) -> Result<Self, ObjectError> {
        let open = |location| settings::object_archive(config, location, genesis_id);
        Ok(Self { upload: config.upload_to.as_ref().map(open).transpose()? })
    }

    /// The archiver, if there is something to write to, and the view of it.
    pub(super) fn archiver(&self, inner: &Inner, peer: &PeerId) -> Option<(Archiver, ArchiverView)> {
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
