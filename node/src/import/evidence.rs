//! Evidence about a decided block that an engine refused: one file with all that is needed to look into it elsewhere.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::execution::ImportBlock;

/// Where evidence is kept. The file of a block has its height and hash in its name, so that refusals of the same block
/// after a restart take one file.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) dir: PathBuf,
    pub(super) engine: &'static str,
}

/// The content of a file. Bytes are hex with `0x`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    height: u64,
    engine: &'static str,
    reason: String,
    /// What the engine answered, word by word, where it was asked.
    answer: Option<String>,
    block_hash: String,
    parent_block_hash: String,
    parent_beacon_block_root: String,
    timestamp: u64,
    fork: String,
    payload_digest: String,
    requests_hash: String,
    versioned_hashes: Vec<String>,
    execution_requests: Vec<String>,
    /// SSZ `ExecutionPayloadV3`.
    payload_ssz: String,
}

impl Evidence {
    /// Writes the file of `block`, and says where it is. `None` if it cannot be written; the log says why.
    pub(super) async fn keep(&self, block: ImportBlock, reason: String, answer: Option<String>) -> Option<PathBuf> {
        let Self { dir, engine } = self.clone();
        let height = block.expected().height;
        let written = tokio::task::spawn_blocking(move || write(&dir, &record(&block, engine, reason, answer))).await;
        match written {
            Ok(Ok(path)) => Some(path),
            Ok(Err(error)) => {
                tracing::error!(height, dir = %self.dir.display(), %error, "evidence cannot be written");
                None
            }
            Err(error) => {
                tracing::error!(height, %error, "evidence was not written");
                None
            }
        }
    }
}

fn record(block: &ImportBlock, engine: &'static str, reason: String, answer: Option<String>) -> Record {
    let expected = block.expected();
    let bytes = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    Record {
        height: expected.height,
        engine,
        reason,
        answer,
        block_hash: expected.block_hash.to_string(),
        parent_block_hash: expected.parent_block_hash.to_string(),
        parent_beacon_block_root: expected.parent_beacon_block_root.to_string(),
        timestamp: expected.timestamp,
        fork: format!("{:?}", expected.fork),
        payload_digest: expected.payload_digest.to_string(),
        requests_hash: expected.requests_hash.to_string(),
        versioned_hashes: expected.versioned_hashes.iter().map(ToString::to_string).collect(),
        execution_requests: block.execution_requests().iter().map(|request| bytes(request)).collect(),
        payload_ssz: bytes(block.payload()),
    }
}

/// Under another name first: a file with the right name is whole.
fn write(dir: &Path, record: &Record) -> io::Result<PathBuf> {
    fs::create_dir_all(dir)?;
    let path = dir.join(format!("refused-{}-{}.json", record.height, record.block_hash));
    let unfinished = path.with_extension("unfinished");
    let mut file = BufWriter::new(File::create(&unfinished)?);
    serde_json::to_writer_pretty(&mut file, record)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&unfinished, &path)?;
    Ok(path)
}
