//! The node's key: who it is on the network.
//!
//! The file holds the ed25519 key pair in libp2p's protobuf encoding, as hex, on one line, readable by its owner only.

use std::{
    fs::OpenOptions,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use libp2p::identity::{DecodingError, KeyType, Keypair};

/// Only the owner reads and writes.
const OWNER_ONLY: u32 = 0o600;

/// Twice what the hex form takes (136 bytes and a newline).
const MAX_KEY_FILE_BYTES: u64 = 274;

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read key file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write key file {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is not hex.
    #[error("key file {path} does not hold a key: it must be one line of hex, as `lapis init` writes it")]
    NotHex {
        /// The file.
        path: PathBuf,
    },
    /// The bytes are not a key pair.
    #[error("key file {path} does not hold a key in libp2p's encoding")]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DecodingError,
    },
    /// The key is of another kind.
    #[error("key file {path} holds a key of kind {kind}, it must be Ed25519")]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: KeyType,
    },
}

/// Makes a new key from the operating system's randomness.
pub fn generate() -> Keypair {
    Keypair::generate_ed25519()
}

/// Writes `key` to a new file at `path`, readable by its owner only, and makes it durable.
///
/// # Errors
/// [`KeyError::Write`], also if the file exists: a key is never overwritten.
pub fn write_new(path: &Path, key: &Keypair) -> Result<(), KeyError> {
    let failed = |source| KeyError::Write { path: path.to_owned(), source };
    let encoded = key.to_protobuf_encoding().map_err(|error| failed(io::Error::other(error)))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path).map_err(failed)?;
    writeln!(file, "{}", hex::encode(encoded)).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads the key at `path`. A file that others can read is used, with a warning: some platforms mount secrets so.
///
/// # Errors
/// [`KeyError`], each with the path.
pub fn read(path: &Path) -> Result<Keypair, KeyError> {
    let text = read_text(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    let bytes = hex::decode(text.trim()).map_err(|_| KeyError::NotHex { path: path.to_owned() })?;
    let key = Keypair::from_protobuf_encoding(&bytes)
        .map_err(|source| KeyError::NotAKey { path: path.to_owned(), source })?;
    match key.key_type() {
        KeyType::Ed25519 => Ok(key),
        kind => Err(KeyError::OtherKind { path: path.to_owned(), kind }),
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let file = std::fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & !OWNER_ONLY != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{mode:o}"), "others than the owner can read the key");
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut bytes)?;
    // What is not text is no hex either: the caller says so.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_key_survives_its_file_and_only_the_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let key = generate();
        write_new(&path, &key).unwrap();
        assert_eq!(read(&path).unwrap().public(), key.public());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, OWNER_ONLY);
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let key = generate();
        write_new(&path, &key).unwrap();
        assert!(matches!(write_new(&path, &generate()), Err(KeyError::Write { .. })));
        assert_eq!(read(&path).unwrap().public(), key.public());
    }

    #[test]
    fn damaged_key_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        assert!(matches!(read(&path), Err(KeyError::Read { .. })));
        std::fs::write(&path, "not hex").unwrap();
        assert!(matches!(read(&path), Err(KeyError::NotHex { .. })));
        std::fs::write(&path, [0xff; 64]).unwrap();
        assert!(matches!(read(&path), Err(KeyError::NotHex { .. })));
        std::fs::write(&path, "080112").unwrap();
        assert!(matches!(read(&path), Err(KeyError::NotAKey { .. })));
    }
}
