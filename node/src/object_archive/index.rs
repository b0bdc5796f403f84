//! The index of an archive, fetched, decoded and held against the name that it lies under: once for all who ask.

use lapis_protocol_spec::{
    Bytes32,
    archive::{Index, IndexError, MAX_INDEX_BYTES},
};

use super::{ArchiveName, ObjectArchive, ObjectError, Operation};

/// Why there is no index to go by.
#[derive(Debug)]
pub(super) enum NoIndex {
    /// It cannot be read, or is not there.
    Object(ObjectError),
    /// It is longer than one may be.
    Long,
    /// It is none.
    Undecodable(IndexError),
    /// It is of another chain or of other heights.
    Other,
}

impl ObjectArchive {
    /// The index of the archive `name` of the chain `genesis_id`, and how many bytes it takes as it is stored.
    pub(super) async fn fetch_index(
        &self,
        name: &ArchiveName,
        genesis_id: &Bytes32,
    ) -> Result<(Index, usize), NoIndex> {
        let bytes = self.index(name, MAX_INDEX_BYTES as u64).await.map_err(NoIndex::Object)?;
        let bytes = bytes.ok_or(NoIndex::Long)?;
        let length = bytes.len();
        let failed = ObjectError::during(Operation::Read, self.shown(&self.path(name.index())));
        let decoded = tokio::task::spawn_blocking(move || Index::decode(&bytes)).await;
        let decoded = decoded.map_err(|error| NoIndex::Object(failed(error.into())))?;
        let index = decoded.map_err(NoIndex::Undecodable)?;
        let fits = index.genesis_id() == genesis_id && index.first() == name.first && index.last() == name.last;
        if fits { Ok((index, length)) } else { Err(NoIndex::Other) }
    }
}
