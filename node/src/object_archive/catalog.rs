//! Which archives there are.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use lapis_protocol_spec::{
    Height, HeightRanges,
    archive::{MAX_INDEX_BYTES, MAX_INDEX_HEIGHTS},
};

use super::{ArchiveName, ObjectArchive, ObjectError, Operation};

/// Most archives that are remembered, the highest ones: 26 MB of names, 4 million heights in archives of 32.
const MAX_ARCHIVES: usize = 1 << 17;

/// Most objects that one look goes through, an archive and its index for each name and as much again: a service whose list
/// has no end does not keep what it lists from being known.
pub(super) const MAX_LISTED: usize = 4 * MAX_ARCHIVES;

/// The archives at one location.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    archives: BTreeSet<ArchiveName>,
    /// Those in which something was found to be wrong, or that are gone: asked last, until the catalog is made anew.
    avoided: BTreeSet<ArchiveName>,
}

impl Catalog {
    /// Adds an archive, if an archive can have so many heights.
    pub fn insert(&mut self, name: ArchiveName) {
        if name.last - name.first < MAX_INDEX_HEIGHTS {
            self.archives.insert(name);
        }
        if self.archives.len() > MAX_ARCHIVES {
            self.archives.pop_first();
        }
    }

    /// Something is wrong in this one, or it is gone: others that have the same heights are preferred to it.
    /// `true` if that is news.
    pub fn avoid(&mut self, name: ArchiveName) -> bool {
        self.archives.contains(&name) && self.avoided.insert(name)
    }

    /// Whether others are preferred to this one.
    pub fn avoids(&self, name: &ArchiveName) -> bool {
        self.avoided.contains(name)
    }

    /// An archive that has `height`, one in which nothing is known to be wrong if there is one.
    pub fn with(&self, height: Height) -> Option<ArchiveName> {
        // Names sort by their first height, and no archive has more heights than an index can.
        let lowest = ArchiveName::lowest_from(height.saturating_sub(MAX_INDEX_HEIGHTS - 1));
        let above = ArchiveName::lowest_from(height.saturating_add(1));
        let candidates = self.archives.range(lowest..above).rev().filter(|name| name.last >= height);
        candidates.min_by_key(|name| self.avoided.contains(name)).copied()
    }

    /// All heights that some archive has.
    pub fn coverage(&self) -> HeightRanges {
        self.archives.iter().map(|name| name.first..name.last + 1).collect()
    }

    /// The highest name.
    pub fn last(&self) -> Option<&ArchiveName> {
        self.archives.last()
    }

    /// Number of archives.
    pub fn len(&self) -> usize {
        self.archives.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.archives.is_empty()
    }
}

impl ObjectArchive {
    /// Adds to `catalog` what is there behind `after` in the order of names; `None` for everything. Of more than half a
    /// million objects some are left out.
    ///
    /// # Errors
    /// [`ObjectError`]; `catalog` has what was found before.
    pub async fn list(&self, catalog: &mut Catalog, after: Option<&ArchiveName>) -> Result<(), ObjectError> {
        let failed = |source| ObjectError { operation: Operation::List, object: self.shown(&self.base), source };
        let objects = match after {
            Some(name) => self.objects.list_with_offset(Some(&self.base), &self.path(name.index())),
            None => self.objects.list(Some(&self.base)),
        };
        let mut objects = objects.take(MAX_LISTED);
        while let Some(object) = objects.try_next().await.map_err(failed)? {
            let name = object.location.filename().and_then(ArchiveName::of_index);
            if let Some(name) = name.filter(|_| object.size <= MAX_INDEX_BYTES as u64) {
                catalog.insert(name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use libp2p::PeerId;
    use proptest::prelude::*;

    use super::*;
    use crate::object_archive::WriterTag;

    fn name(first: Height, last: Height) -> ArchiveName {
        ArchiveName { first, last, writer: WriterTag::of(&PeerId::random()) }
    }

    proptest! {
        #[test]
        fn every_covered_height_is_found_and_no_other(
            archives in proptest::collection::vec((1..300_u64, 0..90_u64), 0..20), height in 1..400_u64,
        ) {
            let mut catalog = Catalog::default();
            archives.iter().for_each(|(first, more)| catalog.insert(name(*first, first + more)));
            let found = catalog.with(height);
            prop_assert_eq!(found.is_some(), catalog.coverage().contains(height));
            if let Some(found) = found {
                prop_assert!(found.first <= height && height <= found.last);
            }
        }
    }

    #[test]
    fn an_archive_in_which_something_is_wrong_is_asked_last() {
        let (wrong, good) = (name(10, 20), name(5, 15));
        let mut catalog = Catalog::default();
        catalog.insert(wrong);
        catalog.insert(good);
        assert!(catalog.avoid(wrong) && catalog.avoids(&wrong) && !catalog.avoids(&good));
        assert_eq!(catalog.with(12), Some(good));
        assert_eq!(catalog.with(18), Some(wrong));
    }

    #[test]
    fn names_of_more_heights_than_an_index_has_are_left_out() {
        let mut catalog = Catalog::default();
        catalog.insert(name(1, MAX_INDEX_HEIGHTS + 1));
        assert!(catalog.is_empty());
        catalog.insert(name(1, MAX_INDEX_HEIGHTS));
        assert_eq!(catalog.coverage().last(), Some(MAX_INDEX_HEIGHTS));
    }
}
