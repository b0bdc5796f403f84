//! What a devnet is made of before its first node starts: a place, a chain, the trusted setup, the machine's ceiling.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use lapis_protocol_spec::{Kzg, Matched};

use super::{
    blobs::BlobFactory,
    ceiling::{self, Ceiling},
    clients::{Agreed, Builder, ClientProposer, Producer},
    error::DevnetError,
    options::DevnetOptions,
    proposal::{ProposeError, Proposer, Tip},
    spec::{ChainSpec, DevnetParams},
};

/// Least blob limit of a chain whose blocks are built here.
const MIN_BLOB_LIMIT: u64 = 64;
/// Blobs that the ceiling is measured with: a full batch.
const SAMPLE: u64 = 64;

/// Where the nodes live.
pub(super) enum Root {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Root {
    /// The directory `given`, which must be empty or new.
    ///
    /// # Errors
    /// [`DevnetError::Dir`], [`DevnetError::NotEmpty`].
    pub(super) fn new(given: Option<&Path>) -> Result<Self, DevnetError> {
        let Some(path) = given else {
            let made = tempfile::Builder::new().prefix("lapis-devnet-").tempdir();
            let fault = |source| DevnetError::Dir { path: std::env::temp_dir(), source };
            return Ok(Self::Temporary(made.map_err(fault)?));
        };
        let fault = |source| DevnetError::Dir { path: path.to_owned(), source };
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(DevnetError::NotEmpty(path.to_owned()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(path).map_err(fault)?,
            Err(error) => return Err(fault(error)),
        }
        Ok(Self::Given(path.to_owned()))
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// What takes a moment to prepare: the trusted setup, the chain, the ceiling.
pub(super) struct Setup {
    pub(super) kzg: Arc<Kzg>,
    pub(super) params: DevnetParams,
    pub(super) proposer: Proposer,
    pub(super) ceiling: Option<Ceiling>,
    agreed: Option<Agreed>,
}

impl Setup {
    /// Prepares a chain, on what execution clients have agreed on if there are any. Blocks for some seconds.
    ///
    /// # Errors
    /// [`DevnetError`].
    pub(super) fn new(options: &DevnetOptions, agreed: Option<Agreed>) -> Result<Self, DevnetError> {
        let kzg = Arc::new(Kzg::mainnet()?);
        let params = match &agreed {
            Some(agreed) => agreed.params(options.validators),
            None => params(options),
        };
        let params = DevnetParams { members_from: options.members_from(), ..params };
        let spec = Arc::new(ChainSpec::new(&params)?);
        let proposer = Proposer::new(spec, BlobFactory::new(params.seed), Arc::clone(&kzg));
        let ceiling = match options.blobs {
            0 => None,
            _ => measure(&kzg)?,
        };
        Ok(Self { kzg, params, proposer, ceiling, agreed })
    }

    /// What proposals come from: the clients, if there are any, each as far as its node has imported.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub(super) fn producer(&self, builders: Vec<Builder>) -> Result<Producer, ProposeError> {
        let proposer = self.proposer.clone();
        Ok(match &self.agreed {
            None => Producer::Builder(proposer),
            Some(agreed) => Producer::Clients(Arc::new(ClientProposer::new(proposer, agreed.genesis, builders)?)),
        })
    }
}

fn params(options: &DevnetOptions) -> DevnetParams {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DevnetParams {
        genesis_time: now,
        max_blobs_per_block: options.blobs.max(MIN_BLOB_LIMIT),
        ..DevnetParams::new(options.validators)
    }
}

fn measure(kzg: &Arc<Kzg>) -> Result<Option<Ceiling>, DevnetError> {
    let params = DevnetParams::new(1);
    let proposer = Proposer::new(Arc::new(ChainSpec::new(&params)?), BlobFactory::new(params.seed), Arc::clone(kzg));
    let built = proposer.build(&Tip::genesis(proposer.spec()), 0, SAMPLE)?;
    let value = &built.proposal.value;
    let sample: Result<Vec<_>, _> = (0_u64..)
        .zip(built.proposal.blobs)
        .map(|(index, blob)| Matched::blob(blob.into_inner(), value, index))
        .collect();
    Ok(ceiling::measure(kzg, &sample.map_err(ProposeError::from)?))
}
