//! Fields one after the other, taken from a slice.

use super::{ArchiveFault, IndexFault};

/// The slice ends within a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CutOff;

impl From<CutOff> for ArchiveFault {
    fn from(_: CutOff) -> Self {
        Self::Truncated
    }
}

impl From<CutOff> for IndexFault {
    fn from(_: CutOff) -> Self {
        Self::Truncated
    }
}

/// What is left of a slice.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], CutOff> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(CutOff)?;
        self.0 = rest;
        Ok(*field)
    }

    /// The next `length` bytes.
    pub(super) fn slice(&mut self, length: usize) -> Result<&'a [u8], CutOff> {
        let (slice, rest) = self.0.split_at_checked(length).ok_or(CutOff)?;
        self.0 = rest;
        Ok(slice)
    }
}
