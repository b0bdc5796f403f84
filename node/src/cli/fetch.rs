//! `lapis fetch`: blobs from one peer into files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use lapis_protocol_spec::{BlobSidecar, Bytes32, Genesis, Kzg, Verified};
use libp2p::Multiaddr;
use serde::Serialize;

use super::{
    CliError, HeightSpan,
    dispatch::{print, table},
    launch::with_runtime,
    progress::{Detail, Progress},
};
use crate::{
    data_dir::DataDir,
    fetch::{Anchor, FetchError, Fetcher, Session},
    genesis_file,
};

/// Name of the list of what was fetched.
const LIST: &str = "blobs.json";

/// `lapis fetch`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["range", "hash"])))]
#[command(group(clap::ArgGroup::new("chain").required(true).args(["dir", "genesis"])))]
pub struct FetchArgs {
    /// The peer to ask, with or without /p2p/PEER_ID at the end
    #[arg(long, value_name = "ADDR", env = "LAPIS_FETCH_PEER")]
    pub peer: Multiaddr,
    /// Heights whose blobs to fetch, both ends included
    #[arg(long, value_name = "A..B", env = "LAPIS_FETCH_RANGE")]
    pub range: Option<HeightSpan>,
    /// Versioned hashes of blobs to fetch
    #[arg(long, value_name = "HASH", num_args = 1.., value_delimiter = ',', env = "LAPIS_FETCH_HASH",
        value_parser = parse_hash)]
    pub hash: Vec<Bytes32>,
    /// Directory to write to; it is made if it is not there
    #[arg(long, value_name = "DIR", env = "LAPIS_FETCH_OUT")]
    pub out: PathBuf,
    /// The chain's genesis
    #[arg(long, value_name = "FILE", env = "LAPIS_GENESIS")]
    pub genesis: Option<PathBuf>,
    /// Directory that `lapis init` made, for the chain's genesis; a node may run on it
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: Option<PathBuf>,
    /// Longest time to connect
    #[arg(long, value_name = "TIME", default_value = "15s", env = "LAPIS_FETCH_TIMEOUT",
        value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// The peer did not have everything.
#[derive(Debug, thiserror::Error)]
#[error("{peer} does not have {}", list(.missing))]
struct Incomplete {
    peer: libp2p::PeerId,
    missing: Vec<Bytes32>,
}

fn list(hashes: &[Bytes32]) -> String {
    hashes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A line of the list.
#[derive(Debug, Serialize)]
struct Entry {
    /// Its place in the chain, where that is certified: of a blob that was asked for by its hash it is anyone's word.
    #[serde(flatten)]
    place: Option<Place>,
    versioned_hash: String,
    kzg_commitment: String,
    kzg_proof: String,
    file: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Place {
    height: u64,
    index: u64,
}

impl Place {
    fn of(sidecar: &BlobSidecar) -> Self {
        Self { height: sidecar.height, index: sidecar.index }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it must be 32 bytes of hex, a versioned hash")]
struct NotAHash;

fn parse_hash(text: &str) -> Result<Bytes32, NotAHash> {
    Bytes32::from_hex(text).ok_or(NotAHash)
}

pub(super) fn run(args: &FetchArgs) -> Result<(), CliError> {
    let genesis = genesis(args)?;
    let files = Files::new(&args.out).map_err(CliError::bad_input)?;
    let kzg = Arc::new(Kzg::mainnet().map_err(CliError::failed)?);
    with_runtime(|stop| async move {
        let session = Session::open(args.peer.clone(), genesis.id(), args.timeout).await.map_err(CliError::failed)?;
        let fetched = tokio::select! {
            () = stop.cancelled() => Err(CliError::failed(FetchError::Interrupted)),
            fetched = fetch(args, &session, &genesis, kzg, files) => fetched,
        };
        session.close().await;
        fetched
    })
}

/// The genesis from the directory or from the file, whichever is given.
fn genesis(args: &FetchArgs) -> Result<Genesis, CliError> {
    match (&args.dir, &args.genesis) {
        (Some(dir), _) => Ok(DataDir::open(dir)?.genesis()?),
        (None, Some(file)) => Ok(genesis_file::load(file)?),
        // clap asks for one of them.
        (None, None) => Err(CliError::bad_input(io::Error::other("--genesis or --dir is missing"))),
    }
}

async fn fetch(
    args: &FetchArgs,
    session: &Session,
    genesis: &Genesis,
    kzg: Arc<Kzg>,
    mut files: Files,
) -> Result<(), CliError> {
    let mut fetcher = Fetcher::new(session, genesis, kzg);
    let started = Instant::now();
    let (anchor, missing) = match args.range {
        Some(span) => {
            let mut progress = Progress::new("fetch", span.last - span.first + 1, started);
            let mut take = |sidecar: Verified<BlobSidecar>| {
                files.write(&sidecar, Some(Place::of(&sidecar)))?;
                progress.show(sidecar.height.saturating_sub(span.first), files.detail(), Instant::now());
                Ok(())
            };
            let fetched = fetcher.heights(span.heights(), &mut take).await;
            progress.finish();
            (Some(fetched.map_err(CliError::failed)?), Vec::new())
        }
        None => {
            let fetched = fetcher.hashes(&args.hash, &mut |sidecar| files.write(&sidecar, None)).await;
            (None, fetched.map_err(CliError::failed)?)
        }
    };
    files.finish().map_err(CliError::failed)?;
    print(&summary(session, anchor, &files, started.elapsed()))?;
    if missing.is_empty() { Ok(()) } else { Err(CliError::failed(Incomplete { peer: session.peer(), missing })) }
}

fn summary(session: &Session, anchor: Option<Anchor>, files: &Files, took: Duration) -> String {
    let verified = match anchor {
        None => "proofs, against the hashes asked for".to_owned(),
        Some(Anchor::Genesis) => "proofs, certificates, and values from the genesis on".to_owned(),
        Some(Anchor::Set(root)) => {
            format!("proofs and certificates; that the chain's validators are {root} is the peer's word")
        }
    };
    table(&[
        ("peer", session.peer().to_string()),
        ("blobs", files.entries.len().to_string()),
        ("bytes", bytesize::ByteSize(files.bytes).to_string()),
        ("time", humantime::format_duration(Duration::from_millis(millis(took))).to_string()),
        ("verified", verified),
        ("written to", files.dir.display().to_string()),
    ])
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Where blobs are written: a file for each, named by its hash, and a list of them.
#[derive(Debug)]
struct Files {
    dir: PathBuf,
    entries: Vec<Entry>,
    bytes: u64,
}

impl Files {
    fn new(dir: &Path) -> Result<Self, FetchError> {
        fs::create_dir_all(dir).map_err(|source| FetchError::Write { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), entries: Vec::new(), bytes: 0 })
    }

    fn write(&mut self, sidecar: &BlobSidecar, place: Option<Place>) -> Result<(), FetchError> {
        let hash = sidecar.versioned_hash().to_string();
        let file = format!("{hash}.blob");
        self.put(&file, sidecar.blob.as_ref())?;
        self.bytes += sidecar.blob.as_ref().len() as u64;
        self.entries.push(Entry {
            place,
            versioned_hash: hash,
            kzg_commitment: sidecar.kzg_commitment.to_string(),
            kzg_proof: sidecar.kzg_proof.to_string(),
            file,
        });
        Ok(())
    }

    fn finish(&self) -> Result<(), FetchError> {
        let list = serde_json::to_vec_pretty(&self.entries).map_err(io::Error::from);
        let list = list.map_err(|source| FetchError::Write { path: self.dir.join(LIST), source })?;
        self.put(LIST, &list)
    }

    /// A file with this name has all of its content, or is not there.
    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), FetchError> {
        let path = self.dir.join(name);
        let written =
            tempfile::Builder::new().make_in(&self.dir, |path| fs::File::create_new(path)).and_then(|mut file| {
                io::Write::write_all(&mut file, bytes)?;
                file.persist(&path).map(drop).map_err(|error| error.error)
            });
        written.map_err(|source| FetchError::Write { path: self.dir.join(name), source })
    }

    fn detail(&self) -> Detail {
        Detail::Moved { blobs: self.entries.len() as u64, bytes: self.bytes }
    }
}
