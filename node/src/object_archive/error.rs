//! What can go wrong with an object store.

use std::fmt;

/// What was asked of the object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening it: nothing has been asked of it yet.
    Open,
    /// Listing objects.
    List,
    /// Reading an object, or a range of one.
    Read,
    /// Writing an object.
    Write,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::List => "list",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// An object store did not do what it was asked for. Never a peer's fault.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}: {source}")]
pub struct ObjectError {
    /// What was asked for.
    pub operation: Operation,
    /// The object, or the place.
    pub object: String,
    /// Why not.
    pub source: object_store::Error,
}

impl ObjectError {
    /// Adds context to an error of the library; to be given to `map_err`.
    pub(super) fn during(operation: Operation, object: impl fmt::Display) -> impl FnOnce(object_store::Error) -> Self {
        let object = object.to_string();
        move |source| Self { operation, object, source }
    }

    /// Whether the object is not there, rather than that it cannot be told.
    pub fn is_missing(&self) -> bool {
        matches!(self.source, object_store::Error::NotFound { .. })
    }
}
