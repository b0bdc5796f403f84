//! What a checkpoint stands for, asked of one peer and held against its id.

use std::sync::Arc;

use lapis_protocol_spec::{
    ChainLink, HeightRange, IdentifiedValue, Item, Matched, PayloadFault, Request as WireRequest, ValidatorSet,
    gates::MatchFault,
};
use libp2p::Multiaddr;

use super::{Block, Checkpoint, PEER_LIMIT, Request};
use crate::{
    execution::{ForkSchedule, Head, ImportBlock, ImportFault, UnsupportedFork, embedded::head_at},
    fetch::{FetchError, Session},
};

/// Why a peer is of no help. Never ends anything: the next one is asked.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointFault {
    /// It cannot be reached, does not have it, or breaks the protocol.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It has another value at that height: it, or the checkpoint, is of another chain.
    #[error("it has another value there, {found}")]
    OtherValue {
        /// The id of what it sent.
        found: lapis_protocol_spec::Bytes32,
    },
    /// The payload is not the value's.
    #[error("its payload is not the value's: {0}")]
    Match(#[from] MatchFault),
    /// The payload is not the value's.
    #[error("its payload is not the value's: {0}")]
    Payload(#[from] PayloadFault),
    /// The value is older than the forks that this program knows.
    #[error("the checkpoint cannot be imported: {0}")]
    Fork(#[from] UnsupportedFork),
    /// The block is none that the engine takes.
    #[error("the checkpoint cannot be imported: {0}")]
    Import(#[from] ImportFault),
    /// It took too long.
    #[error("it takes too long")]
    Slow,
}

/// What a store starts with.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) link: ChainLink,
    pub(super) signers: ValidatorSet,
    pub(super) head: Option<Head>,
}

/// Asks the peer at `address`.
pub(super) async fn origin(request: &Request<'_>, address: Multiaddr) -> Result<Origin, CheckpointFault> {
    let session = Session::open(address, request.genesis.id(), PEER_LIMIT).await?;
    let origin = ask(request, &session).await;
    session.close().await;
    origin
}

async fn ask(request: &Request<'_>, session: &Session) -> Result<Origin, CheckpointFault> {
    let value = value(request.checkpoint, session).await?;
    let link = ChainLink::after(value.value(), *value.id());
    let signers = session.validator_set(link.next_validators_root).await?;
    let head = match request.engine {
        Block::Needed => Some(head(request, &value, session).await?),
        Block::NotNeeded => None,
    };
    Ok(Origin { link, signers, head })
}

async fn value(checkpoint: Checkpoint, session: &Session) -> Result<IdentifiedValue, CheckpointFault> {
    let height = checkpoint.height.get();
    let wanted = WireRequest::DecidedValuesByRange(HeightRange::new(height, 1));
    let mut exchange = session.request(wanted).await.map_err(FetchError::from)?;
    match exchange.next().await.map_err(FetchError::from)? {
        Some(Item::DecidedValue(decided)) => {
            let value = IdentifiedValue::new(Arc::new(decided.value));
            let found = *value.id();
            // The id covers the height.
            if found == checkpoint.value_id { Ok(value) } else { Err(CheckpointFault::OtherValue { found }) }
        }
        Some(_) => Err(FetchError::OtherItem.into()),
        None => Err(FetchError::NotHeld { height }.into()),
    }
}

async fn head(request: &Request<'_>, value: &IdentifiedValue, session: &Session) -> Result<Head, CheckpointFault> {
    let height = value.value().height;
    let wanted = WireRequest::PayloadsByRange(HeightRange::new(height, 1));
    let mut exchange = session.request(wanted).await.map_err(FetchError::from)?;
    let envelope = match exchange.next().await.map_err(FetchError::from)? {
        Some(Item::Payload(envelope)) => envelope,
        Some(_) => return Err(FetchError::OtherItem.into()),
        None => return Err(FetchError::NotHeld { height }.into()),
    };
    let matched = Matched::payload(envelope, value)?;
    let (value, forks) = (Arc::clone(value.value()), ForkSchedule::from(request.genesis));
    // Hashing up to 32 MiB.
    let checked = tokio::task::spawn_blocking(move || {
        let payload = matched.verify()?;
        Ok(head_at(&ImportBlock::new(&value, &payload, forks)?)?)
    });
    checked.await.map_err(FetchError::from)?
}
