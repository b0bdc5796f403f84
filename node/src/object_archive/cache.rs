//! Indices that were used last.

use std::{collections::VecDeque, sync::Arc};

use lapis_protocol_spec::archive::Index;

use super::ArchiveName;

/// Most bytes of indices that are kept, as they are stored; the one that was used last is kept whatever its size.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A few indices, the last used first.
#[derive(Debug, Default)]
pub(super) struct IndexCache {
    entries: VecDeque<(ArchiveName, usize, Arc<Index>)>,
}

impl IndexCache {
    pub(super) fn get(&mut self, name: &ArchiveName) -> Option<Arc<Index>> {
        let position = self.entries.iter().position(|(of, _, _)| of == name)?;
        let entry = self.entries.remove(position)?;
        let index = Arc::clone(&entry.2);
        self.entries.push_front(entry);
        Some(index)
    }

    /// Keeps an index of `bytes` bytes.
    pub(super) fn insert(&mut self, name: ArchiveName, bytes: usize, index: Arc<Index>) {
        self.remove(&name);
        self.entries.push_front((name, bytes, index));
        while self.entries.len() > 1 && self.bytes() > MAX_BYTES {
            self.entries.pop_back();
        }
    }

    pub(super) fn remove(&mut self, name: &ArchiveName) {
        self.entries.retain(|(of, _, _)| of != name);
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|(_, bytes, _)| bytes).sum()
    }
}
