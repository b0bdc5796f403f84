//! What lies below is read, what is written stays in memory: a database on it can be examined by means that write, and
//! nothing on the disk changes.

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

const BLOCK: usize = 4096;
/// Most blocks that are kept. Examining writes headers and the allocator's state, which are some megabytes for a terabyte.
const MOST_BLOCKS: usize = 64 * 1024;

/// The writing layer over `below`.
#[derive(Debug)]
pub(crate) struct Overlay {
    below: Box<dyn StorageBackend>,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    /// How much of what lies below still shows.
    below_len: u64,
    /// Blocks by their number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// # Errors
    /// Those of `below`.
    pub(crate) fn new(below: Box<dyn StorageBackend>) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Self { below, written: Mutex::new(Written { len, below_len: len, blocks: BTreeMap::new() }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What lies below, zeros where nothing does.
    fn read_below(&self, below_len: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(below_len.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (found, beyond) = out.split_at_mut(there);
        beyond.fill(0);
        if found.is_empty() { Ok(()) } else { self.below.read(offset, found) }
    }
}

/// The blocks that bytes at `offset` lie in: the number of each, where in the block, and which of the bytes.
fn blocks(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        // A remainder is below the block's size.
        let within = usize::try_from(at % BLOCK as u64).unwrap_or_default();
        let count = (BLOCK - within).min(len - done);
        let block = (at / BLOCK as u64, within..within + count, done..done + count);
        done += count;
        (count > 0).then_some(block)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset.saturating_add(out.len() as u64) > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(written.below_len, offset, out)?;
        for (number, within, of) in blocks(offset, out.len()) {
            let block = written.blocks.get(&number).and_then(|block| block.get(within));
            if let (Some(block), Some(out)) = (block, out.get_mut(of)) {
                out.copy_from_slice(block);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        written.len = len;
        if len < written.below_len {
            written.below_len = len;
        }
        let end = len / BLOCK as u64;
        written.blocks.retain(|number, _| *number <= end);
        if let (Some(last), Ok(kept)) = (written.blocks.get_mut(&end), usize::try_from(len % BLOCK as u64)) {
            last.iter_mut().skip(kept).for_each(|byte| *byte = 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        let below_len = written.below_len;
        for (number, within, of) in blocks(offset, data.len()) {
            if !written.blocks.contains_key(&number) {
                if written.blocks.len() >= MOST_BLOCKS {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                let mut block = vec![0; BLOCK];
                self.read_below(below_len, number * BLOCK as u64, &mut block)?;
                written.blocks.insert(number, block);
            }
            let block = written.blocks.get_mut(&number).and_then(|block| block.get_mut(within));
            if let (Some(block), Some(data)) = (block, data.get(of)) {
                block.copy_from_slice(data);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        Resize(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let data = proptest::collection::vec(any::<u8>(), 0..9_000);
        prop_oneof![
            3 => (0_u64..20_000, data).prop_map(|(offset, data)| Step::Write(offset, data)),
            1 => (0_u64..30_000).prop_map(Step::Resize),
        ]
    }

    proptest! {
        #[test]
        fn it_is_like_a_copy_and_leaves_what_lies_below(steps in proptest::collection::vec(step(), 0..12)) {
            let original: Vec<u8> = (0..=250).cycle().take(17_000).collect();
            let below = InMemoryBackend::new();
            below.set_len(17_000).unwrap();
            below.write(0, &original).unwrap();
            let below = std::sync::Arc::new(below);
            let overlay = Overlay::new(Box::new(Shared(below.clone()))).unwrap();
            let mut copy = original.clone();
            for step in steps {
                match step {
                    Step::Write(offset, data) => {
                        let at = usize::try_from(offset).unwrap();
                        if let Some(target) = copy.get_mut(at..at + data.len()) {
                            target.copy_from_slice(&data);
                            overlay.write(offset, &data).unwrap();
                        }
                    }
                    Step::Resize(len) => {
                        copy.resize(usize::try_from(len).unwrap(), 0);
                        overlay.set_len(len).unwrap();
                    }
                }
                prop_assert_eq!(overlay.len().unwrap(), copy.len() as u64);
                let mut found = vec![0; copy.len()];
                overlay.read(0, &mut found).unwrap();
                prop_assert!(found == copy);
            }
            let mut found = vec![0; 17_000];
            below.read(0, &mut found).unwrap();
            prop_assert!(found == original);
        }
    }

    #[derive(Debug)]
    struct Shared(std::sync::Arc<InMemoryBackend>);

    impl StorageBackend for Shared {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }

        fn sync_data(&self) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }

        fn write(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}
