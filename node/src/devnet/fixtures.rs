//! What the tests of this module share.

use std::sync::{Arc, LazyLock};

use lapis_protocol_spec::Kzg;

use super::{chain_maker::ChainMaker, spec::DevnetParams};

static KZG: LazyLock<Arc<Kzg>> = LazyLock::new(|| Arc::new(Kzg::mainnet().unwrap()));

/// The setup, loaded once for all tests of the process.
pub(super) fn kzg() -> Arc<Kzg> {
    Arc::clone(&KZG)
}

/// A chain of `validators` validators at its genesis.
pub(super) fn chain(validators: usize) -> ChainMaker {
    ChainMaker::new(&DevnetParams::new(validators), kzg()).unwrap()
}
