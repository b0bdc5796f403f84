//! Starting from a decided value that the operator trusts, instead of from genesis.
//!
//! The id of a value is the root of all that is in it, so whoever knows the id needs to trust nobody for the rest: the
//! value is asked of any peer and held against the id, then the set that signs the next height against the root in the
//! value, then, for an engine that keeps its own head, the payload against its digest. What comes after is verified as
//! always. Owns no state: it is done before the node begins to sync, and a store that holds anything is left as it is.

mod fetch;

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use lapis_protocol_spec::{Bytes32, Genesis, Height};
use lapis_storage::{Store, StoreError};
use libp2p::Multiaddr;
use rand::{SeedableRng, rngs::StdRng};

pub use fetch::CheckpointFault;
use fetch::Origin;

use crate::back_off::BackOff;

/// Longest that one peer may take over all of it.
const PEER_LIMIT: Duration = Duration::from_secs(30);
/// First wait after all peers were asked in vain; doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait until they are asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A decided value that is trusted, by its height and id: `HEIGHT:VALUE_ID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The height; the first one to be synced is the next.
    pub height: NonZeroU64,
    /// Id of the value decided there.
    pub value_id: Bytes32,
}

/// A text that is not a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a height, a colon and a value id of 32 bytes in hex")]
pub struct NotACheckpoint;

impl FromStr for Checkpoint {
    type Err = NotACheckpoint;

    fn from_str(text: &str) -> Result<Self, NotACheckpoint> {
        let (height, value_id) = text.split_once(':').ok_or(NotACheckpoint)?;
        let height = height.parse().map_err(|_| NotACheckpoint)?;
        Ok(Self { height, value_id: Bytes32::from_hex(value_id).ok_or(NotACheckpoint)? })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.height, self.value_id)
    }
}

/// Why a node does not start from its checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store holds another chain than the one the operator trusts.
    #[error(
        "sync.checkpoint is {checkpoint}, but the store holds the value {found} at that height: one is not the chain's"
    )]
    Contradicted {
        /// What is trusted.
        checkpoint: Checkpoint,
        /// What the store has there.
        found: Bytes32,
    },
    /// The store cannot be read or written.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

/// What a store has to do with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It holds nothing: it is to start there.
    Empty,
    /// It goes on from what it holds.
    GoesOn,
}

/// How the value is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) genesis: &'a Genesis,
    /// Whom to ask, one after the other.
    pub(crate) peers: Vec<Multiaddr>,
    /// Whether the engine needs to know the block at the checkpoint.
    pub(crate) engine: Block,
}

/// Whether the execution block at the checkpoint is fetched too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// The engine begins with it.
    Needed,
    /// The engine keeps its own head, or none.
    NotNeeded,
}

/// Lets an empty `store` start from the checkpoint. Asks the peers until one has what is needed; only the store's own
/// failures end that. Cancel-safe: the store changes in one transaction at the end.
///
/// # Errors
/// [`CheckpointError`]; nothing was written.
pub(crate) async fn apply(request: Request<'_>, store: &Store) -> Result<(), CheckpointError> {
    let checkpoint = request.checkpoint;
    if standing(checkpoint, store)? == Standing::GoesOn {
        return Ok(());
    }
    tracing::info!(%checkpoint, "an empty store: it starts from the trusted checkpoint");
    let origin = until_found(&request).await;
    let (height, Origin { link, signers, head }) = (checkpoint.height, origin);
    let head = head.map(|head| head.to_bytes());
    store.start_from(&link, &signers, head.as_deref())?;
    tracing::info!(%height, "the checkpoint is verified; sync goes on from there");
    Ok(())
}

fn standing(checkpoint: Checkpoint, store: &Store) -> Result<Standing, CheckpointError> {
    let marks = store.watermarks();
    if marks.decided == 0 {
        return Ok(Standing::Empty);
    }
    let height: Height = checkpoint.height.get();
    if height > marks.decided {
        tracing::warn!(%checkpoint, decided = marks.decided, "the store is not empty and goes on from where it is");
        return Ok(Standing::GoesOn);
    }
    let held = store.reader()?.identified_value(height)?.map(|value| *value.id());
    // Of what lies before the first value held nothing is known but, maybe, the value that it attaches to.
    let found = held.or_else(|| store.tip().ok().filter(|tip| tip.height == height).map(|tip| tip.value_id));
    match found {
        Some(found) if found != checkpoint.value_id => Err(CheckpointError::Contradicted { checkpoint, found }),
        Some(_) | None => Ok(Standing::GoesOn),
    }
}

async fn until_found(request: &Request<'_>) -> Origin {
    let (mut back_off, mut rng) = (BackOff::new(FIRST_WAIT, LONGEST_WAIT), StdRng::from_os_rng());
    loop {
        for peer in &request.peers {
            let asked = tokio::time::timeout(PEER_LIMIT, fetch::origin(request, peer.clone())).await;
            match asked.unwrap_or(Err(CheckpointFault::Slow)) {
                Ok(origin) => return origin,
                Err(fault) => tracing::warn!(%peer, %fault, "the checkpoint cannot be had from this peer"),
            }
        }
        tokio::time::sleep(back_off.failed(&mut rng)).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_a_height_and_an_id() {
        let id = "0x".to_owned() + &"ab".repeat(32);
        let checkpoint: Checkpoint = format!("12:{id}").parse().unwrap();
        assert_eq!((checkpoint.height.get(), checkpoint.value_id), (12, [0xab; 32].into()));
        assert_eq!(checkpoint.to_string(), format!("12:{id}"));
        let short = "12:".to_owned() + &"ab".repeat(31);
        for text in
            ["", "12", "12:", ":", "-1:00", &short, &format!("0:{id}"), &format!("x:{id}"), &format!("12:{id}:")]
        {
            assert_eq!(text.parse::<Checkpoint>(), Err(NotACheckpoint), "{text}");
        }
    }
}
