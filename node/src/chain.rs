//! The chain that a node is on.

use std::sync::Arc;

use lapis_protocol_spec::{Bytes32, Genesis};

/// A checked genesis with its id, computed once and shared.
#[derive(Clone, Debug)]
pub struct Chain {
    genesis: Arc<Genesis>,
    id: Bytes32,
}

impl Chain {
    /// Computes the id of `genesis`.
    pub fn new(genesis: Genesis) -> Self {
        Self { id: genesis.id(), genesis: Arc::new(genesis) }
    }

    /// The definition.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Its hash tree root.
    pub fn id(&self) -> &Bytes32 {
        &self.id
    }
}
