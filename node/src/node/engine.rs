//! The configured engine, and where it starts.

use lapis_storage::Store;

use super::{NodeOptions, StartError};
use crate::{
    chain::Chain,
    config::EngineKind,
    execution::{Embedded, ExecutionEngine, ForkSchedule, Head, ImportBlock, NoEngine, embedded::head_at},
};

/// The configured engine, at the head that the store kept for it.
pub(super) fn engine(options: &NodeOptions, store: &Store) -> Result<Box<dyn ExecutionEngine>, StartError> {
    Ok(match options.config.engine.kind {
        EngineKind::None => Box::new(NoEngine),
        EngineKind::Embedded => {
            let kept = store.engine_head()?.map(|bytes| Head::from_bytes(&bytes)).transpose()?;
            let imported = store.watermarks().imported;
            // A node that ran without an engine meanwhile has moved on from what this one kept.
            let head = match kept.filter(|head| head.height == imported) {
                Some(head) => head,
                None => first_head(&options.chain, store)?,
            };
            Box::new(Embedded::new(head))
        }
    })
}

/// Where the embedded engine starts that has kept nothing yet: at genesis, or at what another engine imported last.
fn first_head(chain: &Chain, store: &Store) -> Result<Head, StartError> {
    let genesis = chain.genesis();
    let imported = store.watermarks().imported;
    if imported == 0 {
        return Ok(Head::genesis(genesis.execution_block_hash.0.into(), genesis.genesis_time));
    }
    let found = store.get_for_import(imported)?.ok_or(StartError::NoImportedBlock(imported))?;
    let block = ImportBlock::new(&found.decided.value, &found.payload, ForkSchedule::from(genesis));
    Ok(head_at(&block.map_err(|_| StartError::NoImportedBlock(imported))?)?)
}
