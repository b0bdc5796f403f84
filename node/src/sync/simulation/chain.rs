//! Values of simulated chains, made once for all simulations of a thread: their ids are hashes.

use std::{collections::HashMap, sync::Arc};

use lapis_protocol_spec::{Bytes48, Height, Value, matching::IdentifiedValue};

use super::plan::Block;

/// Values by what they say. Holds as many as there are sorts of heights in the plans that it is used for.
#[derive(Debug, Default)]
pub struct Values(HashMap<(Height, u64, u64), IdentifiedValue>);

/// Values that are kept; a plan has some hundred.
const MAX_VALUES: usize = 50_000;

impl Values {
    /// The value of `height`, with commitments that occur nowhere else.
    pub(super) fn value(&mut self, height: Height, block: Block) -> Option<IdentifiedValue> {
        let key = (height, block.blobs, block.payload_bytes);
        if let Some(known) = self.0.get(&key) {
            return Some(known.clone());
        }
        let value = IdentifiedValue::new(Arc::new(Value {
            height,
            payload_size: block.payload_bytes,
            blob_kzg_commitments: commitments(height, block.blobs).try_into().ok()?,
            ..Value::default()
        }));
        if self.0.len() >= MAX_VALUES {
            self.0.clear();
        }
        self.0.insert(key, value.clone());
        Some(value)
    }
}

fn commitments(height: Height, blobs: u64) -> Vec<Bytes48> {
    let commitment = |index: u64| {
        let mut bytes = [0; 48];
        let name = height.to_le_bytes().into_iter().chain(index.to_le_bytes());
        bytes.iter_mut().zip(name).for_each(|(byte, part)| *byte = part);
        Bytes48::from(bytes)
    };
    (0..blobs).map(commitment).collect()
}
