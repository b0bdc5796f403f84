//! What a source says that it holds. Hints: they tell whom it makes sense to ask, and nothing more.

use lapis_protocol_spec::{Height, HeightRanges, Method, Status};

/// Kinds of data that a source may hold for a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Decided values.
    Values,
    /// Payloads.
    Payloads,
    /// Blobs.
    Blobs,
}

impl Kind {
    /// What it is asked for by. A peer that lacks one of them is not asked for any of it.
    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Self::Values => &[Method::DecidedValuesByRange],
            Self::Payloads => &[Method::PayloadsByRange],
            Self::Blobs => &[Method::BlobsByRange, Method::BlobsByRoot],
        }
    }

    /// The kinds of data that a height has.
    pub(super) const DATA: [Self; 2] = [Self::Payloads, Self::Blobs];
}

/// Claims of one source.
#[derive(Clone, Debug)]
pub(super) enum Claims {
    /// A peer's: a span per kind of data.
    Peer {
        /// As it last said, less what it did not serve.
        status: Status,
        /// A height that it announced: it may have the data though its status does not say so yet.
        announced: Height,
    },
    /// An archive's: whole heights. Nothing is said of what lies between them.
    Archive(HeightRanges),
}

impl Claims {
    /// Whether it claims to hold `kind` at `height`.
    pub(super) fn covers(&self, kind: Kind, height: Height) -> bool {
        match self {
            Self::Peer { status, announced } => {
                let last = match kind {
                    Kind::Values => status.decided_height,
                    Kind::Payloads | Kind::Blobs => status.available_height,
                };
                keeps(status, kind, height) && height <= last || (*announced != 0 && height == *announced)
            }
            Self::Archive(held) => held.contains(height),
        }
    }

    /// Whether it may hold parts of `height`, by what it has decided and not pruned.
    pub(super) fn may_have_parts(&self, kind: Kind, height: Height) -> bool {
        match self {
            Self::Peer { status, .. } => keeps(status, kind, height) && height <= status.decided_height,
            Self::Archive(_) => false,
        }
    }

    /// Whether it is a peer that has not decided `height`, as far as is known, and stands no more than `below` below it.
    pub(super) fn is_just_below(&self, height: Height, below: u64) -> bool {
        match self {
            Self::Peer { status, announced } => {
                let head = status.decided_height.max(*announced);
                status.decided_height < height && *announced != height && height <= head.saturating_add(below)
            }
            Self::Archive(_) => false,
        }
    }

    /// Highest height up to which it claims the decided values from `start` on, which it claims.
    pub(super) fn last_value(&self, start: Height) -> Height {
        match self {
            Self::Peer { status, announced } => status.decided_height.max(*announced),
            Self::Archive(held) => held.contiguous_from(start),
        }
    }

    /// It did not serve the value after `held`. A peer's span ends there then; an archive may have the next one.
    pub(super) fn shrink_values(&mut self, held: Height) {
        if let Self::Peer { status, announced } = self {
            status.decided_height = status.decided_height.min(held);
            *announced = (*announced).min(held);
        }
    }

    /// Whether `height` is claimed and was not by `before`, so that it is worth another try.
    pub(super) fn is_news(&self, before: &Self, height: Height) -> bool {
        match (self, before) {
            (Self::Peer { status, .. }, Self::Peer { status: before, .. }) => {
                height > before.available_height && height <= status.available_height
            }
            (Self::Archive(held), Self::Archive(before)) => held.contains(height) && !before.contains(height),
            (Self::Peer { .. }, Self::Archive(_)) | (Self::Archive(_), Self::Peer { .. }) => true,
        }
    }
}

/// Whether `height` is not below a peer's floor for `kind`.
fn keeps(status: &Status, kind: Kind, height: Height) -> bool {
    let first = match kind {
        Kind::Values => status.earliest_value_height,
        Kind::Payloads => status.earliest_payload_height,
        Kind::Blobs => status.earliest_blob_height,
    };
    // 0 stands for "nothing".
    first != 0 && first <= height
}
