//! What an honest peer answers, from a chain in memory.

use lapis_protocol_spec::{Height, HeightRange, Item, MAX_REQUEST_HEIGHTS, MAX_REQUEST_SIDECARS, Request};

use super::status;
use crate::{TestChain, peer::fault::Fault};

/// Result code and text of an error chunk.
pub(super) type Refusal = (u8, &'static str);

/// The items that answer `request` by a peer that knows `chain` up to `visible`, and holds undecided data up to `held`. Clones of items share their bytes.
pub(super) fn answer(
    chain: &TestChain,
    (visible, held): (Height, Height),
    fault: Option<Fault>,
    request: &Request,
) -> Result<Vec<Item>, Refusal> {
    Ok(match request {
        Request::Status(_) => vec![Item::Status(status(chain, visible, fault))],
        Request::Ping(_) => vec![Item::Pong(1)],
        Request::Goodbye(_) => Vec::new(),
        Request::DecidedValuesByRange(range) => heights(*range, visible)?.map(|height| value(chain, height)).collect(),
        Request::PayloadsByRange(range) => heights(*range, visible)?.map(|height| payload(chain, height)).collect(),
        Request::BlobsByRange(range) => sidecars(chain, heights(*range, visible)?),
        Request::ValidatorSetByRoot(root) => {
            // The last value that it knows names the set that signs the next one.
            let is_known = (1..=visible + 1).any(|height| chain.spec().validators_root(height) == *root);
            let set = chain.validator_set(root).filter(|_| is_known);
            set.cloned().map(Item::ValidatorSet).into_iter().collect()
        }
        Request::PayloadsByRoot(ids) => {
            let known = (1..=held).filter(|height| ids.contains(chain.block(*height).value.id()));
            known.map(|height| payload(chain, height)).collect()
        }
        Request::BlobsByRoot(hashes) => {
            let known = hashes.iter().filter_map(|hash| chain.sidecar_by_hash(hash));
            known.filter(|sidecar| sidecar.height <= held).cloned().map(Item::Blob).collect()
        }
    })
}

fn heights(range: HeightRange, visible: Height) -> Result<std::ops::RangeInclusive<Height>, Refusal> {
    let asked = range.heights().map_err(|_| (1, "no such range"))?;
    let last = asked.end.min(asked.start.saturating_add(MAX_REQUEST_HEIGHTS)) - 1;
    Ok(asked.start..=last.min(visible))
}

fn value(chain: &TestChain, height: Height) -> Item {
    Item::DecidedValue(Box::new((*chain.block(height).decided).clone()))
}

fn payload(chain: &TestChain, height: Height) -> Item {
    Item::Payload((*chain.block(height).payload).clone())
}

/// Whole heights, at least one, as many as an answer may have.
fn sidecars(chain: &TestChain, heights: impl Iterator<Item = Height>) -> Vec<Item> {
    let mut items = Vec::new();
    for height in heights {
        let blobs = &chain.block(height).blobs;
        if !items.is_empty() && items.len() + blobs.len() > MAX_REQUEST_SIDECARS {
            break;
        }
        items.extend(blobs.iter().map(|blob| Item::Blob((**blob).clone())));
    }
    items
}
