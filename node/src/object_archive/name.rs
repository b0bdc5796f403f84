//! Names of archives in an object store.

use std::{fmt, str::FromStr};

use lapis_protocol_spec::Height;
use libp2p::PeerId;
use sha2::{Digest, Sha256};

/// Extension of archives.
const ARCHIVE: &str = "lapis";
/// Extension of their indices.
const INDEX: &str = "index";

/// Who wrote an archive: keeps the names of writers that share a place apart, and tells nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterTag([u8; 4]);

impl WriterTag {
    /// The tag of a node.
    pub fn of(peer: &PeerId) -> Self {
        let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(peer.to_bytes()).into();
        Self([a, b, c, d])
    }
}

impl fmt::Display for WriterTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Name of one archive, from which those of its two objects follow. Sorts by height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveName {
    /// Lowest height.
    pub first: Height,
    /// Highest height, not below the lowest.
    pub last: Height,
    /// Who wrote it.
    pub writer: WriterTag,
}

impl ArchiveName {
    /// File name of the archive.
    pub fn archive(&self) -> String {
        format!("{self}.{ARCHIVE}")
    }

    /// File name of its index.
    pub fn index(&self) -> String {
        format!("{self}.{INDEX}")
    }

    /// What sorts before all archives that begin at `first` or above, and after all others.
    pub(super) fn lowest_from(first: Height) -> Self {
        Self { first, last: 0, writer: WriterTag([0; 4]) }
    }

    /// The archive whose index has this file name; `None` for every other file.
    pub fn of_index(file: &str) -> Option<Self> {
        file.strip_suffix(INDEX)?.strip_suffix('.')?.parse().ok()
    }
}

impl fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{:020}-{}", self.first, self.last, self.writer)
    }
}

/// A text that is not the name of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an archive")]
pub struct NameError;

impl FromStr for ArchiveName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut fields = text.split('-');
        let mut height = || fields.next().and_then(|field| field.parse().ok()).ok_or(NameError);
        let (first, last) = (height()?, height()?);
        let mut tag = [0; 4];
        hex::decode_to_slice(fields.next().unwrap_or_default(), &mut tag).map_err(|_| NameError)?;
        let name = Self { first, last, writer: WriterTag(tag) };
        // One archive, one name: what is not written as it would be here is somebody else's file.
        let legal = 0 < first && first <= last && last < Height::MAX && name.to_string() == text;
        if legal { Ok(name) } else { Err(NameError) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written(first in 1..u64::MAX / 2, length in 0..1_000_u64, tag in any::<[u8; 4]>()) {
            let name = ArchiveName { first, last: first + length, writer: WriterTag(tag) };
            prop_assert_eq!(ArchiveName::of_index(&name.index()), Some(name));
            prop_assert_eq!(ArchiveName::of_index(&name.archive()), None);
        }

        #[test]
        fn any_text_is_taken_as_it_would_be_written_or_not_at_all(text in "[0-9a-f.-]{0,60}") {
            if let Ok(name) = text.parse::<ArchiveName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn names_sort_as_heights_do() {
        let name = |first| ArchiveName { first, last: first + 1, writer: WriterTag([0; 4]) };
        assert!(name(9).archive() < name(10).archive());
        assert!(name(999).archive() < name(1_000).archive());
    }

    #[test]
    fn names_without_heights_are_refused() {
        let name = |first, last| ArchiveName { first, last, writer: WriterTag([0; 4]) }.to_string();
        for text in [name(0, 3), name(4, 3), name(1, u64::MAX), String::new(), "1-2-00000000".to_owned()] {
            assert!(text.parse::<ArchiveName>().is_err(), "{text}");
        }
    }
}
