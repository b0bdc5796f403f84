//! What the golden vectors hold. Everything derives from fixed seeds.

mod archives;
mod certificates;
mod containers;
mod indexes;
mod objects;
mod proofs;
mod requests;
mod responses;
mod wire;

use std::error::Error;

use serde_json::Value as Json;

/// Why the vectors cannot be made: an error of this program.
type Failure = Box<dyn Error>;

/// Name and content of every file.
///
/// # Errors
/// If the library refuses an object that it should take.
pub(crate) fn files() -> Result<Vec<(&'static str, Json)>, Failure> {
    Ok(vec![
        ("containers.json", containers::file()?),
        ("certificates.json", certificates::file()?),
        ("proofs.json", proofs::file()?),
        ("requests.json", requests::file()?),
        ("responses.json", responses::file()?),
        ("archives.json", archives::file()?),
        ("indexes.json", indexes::file()?),
    ])
}

/// Bytes as `0x`-prefixed hex.
fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", ::hex::encode(bytes))
}
