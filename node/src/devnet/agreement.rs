//! Do two stores hold the same chain with the same data? Read and compared, byte by byte.

use lapis_protocol_spec::{Bytes32, Height};
use lapis_storage::{Reader, Store, StoreError};
use sha2::{Digest, Sha256};

/// Where two stores differ.
#[derive(Debug, thiserror::Error)]
pub enum Disagreement {
    /// A store cannot be read.
    #[error("a store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// Something is missing in one of them.
    #[error("height {height}: {what} is missing in one store")]
    Missing {
        /// The height.
        height: Height,
        /// What is missing.
        what: &'static str,
    },
    /// Both have it, and it is not the same.
    #[error("height {height}: {what} differs")]
    Differs {
        /// The height.
        height: Height,
        /// What differs.
        what: &'static str,
    },
}

/// Compares values, certificates' values, payloads and blobs of the heights `1..=last`.
///
/// # Errors
/// The first [`Disagreement`] found.
pub fn compare(a: &Store, b: &Store, last: Height) -> Result<(), Disagreement> {
    let (a, b) = (a.reader()?, b.reader()?);
    for height in 1..=last {
        let blobs = compare_one(height, "the decided value", value(&a, height)?, value(&b, height)?)?.1;
        compare_one(height, "the payload", payload(&a, height)?, payload(&b, height)?)?;
        for index in 0..blobs {
            compare_one(height, "a blob", blob(&a, height, index)?, blob(&b, height, index)?)?;
        }
    }
    Ok(())
}

fn compare_one<T: PartialEq>(
    height: Height,
    what: &'static str,
    a: Option<T>,
    b: Option<T>,
) -> Result<T, Disagreement> {
    match (a, b) {
        (Some(a), Some(b)) if a == b => Ok(a),
        (Some(_), Some(_)) => Err(Disagreement::Differs { height, what }),
        (None, _) | (_, None) => Err(Disagreement::Missing { height, what }),
    }
}

fn value(reader: &Reader, height: Height) -> Result<Option<(Bytes32, u64)>, StoreError> {
    Ok(reader.identified_value(height)?.map(|value| (*value.id(), value.value().blob_count() as u64)))
}

fn payload(reader: &Reader, height: Height) -> Result<Option<[u8; 32]>, StoreError> {
    reader.with_payload(height, digest)
}

fn blob(reader: &Reader, height: Height, index: u64) -> Result<Option<[u8; 32]>, StoreError> {
    reader.with_sidecar(height, index, digest)
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}
