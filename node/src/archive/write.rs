//! From a store to an archive, height by height, item by item.

use std::{
    fmt,
    io::{self, Write},
    ops::{ControlFlow, RangeInclusive},
};

use lapis_protocol_spec::{
    DecidedValue, Height, ValidatorSet,
    archive::{Compression, EncodeError, Encoder, Header},
};
use lapis_storage::{Reader, Store, StoreError};

/// zstd's own default: higher levels gain little on payloads and nothing on blobs that are compressed already.
const ZSTD_LEVEL: i32 = 3;

/// Why a height cannot be put into an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Above the tip.
    NotDecided {
        /// Height of the tip.
        tip: Height,
    },
    /// Below the first value that the store holds.
    BeforeStart {
        /// Height of that value.
        earliest: Height,
    },
    /// Below the floor of payloads or blobs.
    Pruned {
        /// Lowest height that still has both.
        floor: Height,
    },
    /// Decided and wanted, and not complete yet.
    Missing,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDecided { tip } => write!(f, "it is not decided here, the tip is {tip}"),
            Self::BeforeStart { earliest } => write!(f, "the store begins at {earliest}"),
            Self::Pruned { floor } => write!(f, "it is pruned, whole heights begin at {floor}"),
            Self::Missing => f.write_str("its payload or some of its blobs are missing"),
        }
    }
}

/// What has been written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Heights.
    pub heights: u64,
    /// Blobs.
    pub blobs: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

/// Why an archive could not be written to its end.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A height is not whole in the store, or no longer.
    #[error("height {height} cannot be exported: {gap}")]
    NotWhole {
        /// The height.
        height: Height,
        /// What is wrong with it.
        gap: Gap,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive cannot be written.
    #[error("cannot write the archive")]
    Io(#[from] io::Error),
    /// The observer asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// What the store holds does not fit into an archive.
    #[error("height {height} cannot be encoded")]
    Encode {
        /// The height.
        height: Height,
        /// Why not.
        source: EncodeError,
    },
}

/// The first of `heights` that cannot be put into an archive. Reads a few rows for each.
///
/// # Errors
/// [`StoreError`] if it cannot be told.
pub fn first_gap(store: &Store, heights: RangeInclusive<Height>) -> Result<Option<(Height, Gap)>, StoreError> {
    let reader = store.reader()?;
    for height in heights {
        if !reader.has_height_whole(height)? {
            return Ok(Some((height, gap(store, height))));
        }
    }
    Ok(None)
}

fn gap(store: &Store, height: Height) -> Gap {
    let marks = store.watermarks();
    let floor = marks.earliest_payload.max(store.blob_floor());
    if height > marks.decided {
        Gap::NotDecided { tip: marks.decided }
    } else if height < marks.earliest_value {
        Gap::BeforeStart { earliest: marks.earliest_value }
    } else if height < floor {
        Gap::Pruned { floor }
    } else {
        Gap::Missing
    }
}

/// Writes the archive that `header` describes. After each height `observe` is told how far it has come, and may stop
/// it.
///
/// Takes the memory of one item. Nothing holds a snapshot of the store for longer than a height. Rows are checked by
/// their checksums, not proven again: who reads the archive does that.
///
/// # Errors
/// [`WriteError`]; what was written so far is then no archive.
pub fn write(
    store: &Store,
    header: &Header,
    sink: &mut dyn Write,
    observe: &mut dyn FnMut(&Written) -> ControlFlow<()>,
) -> Result<Written, WriteError> {
    let start = header.encode();
    sink.write_all(&start)?;
    let mut writer = Writer { header, encoder: Encoder::new(header), out: Vec::new(), written: Written::default() };
    writer.written.bytes = start.len() as u64;
    for height in header.first()..=header.last() {
        let reader = store.reader()?;
        if !reader.has_height_whole(height)? {
            return Err(WriteError::NotWhole { height, gap: gap(store, height) });
        }
        within_frame(header.compression(), sink, |sink| writer.height(&reader, height, sink))?;
        writer.written.heights += 1;
        if observe(&writer.written).is_break() {
            return Err(WriteError::Interrupted);
        }
    }
    within_frame(header.compression(), sink, |sink| writer.end(sink))?;
    sink.flush()?;
    Ok(writer.written)
}

/// Gives `body` a sink of one compressed frame.
fn within_frame(
    compression: Compression,
    sink: &mut dyn Write,
    body: impl FnOnce(&mut dyn Write) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    match compression {
        Compression::None => body(sink),
        Compression::Zstd => {
            let mut frame = zstd::stream::write::Encoder::new(sink, ZSTD_LEVEL)?;
            body(&mut frame)?;
            frame.finish()?;
            Ok(())
        }
    }
}

struct Writer<'a> {
    header: &'a Header,
    encoder: Encoder,
    /// What was encoded and is not written yet: one item.
    out: Vec<u8>,
    written: Written,
}

impl Writer<'_> {
    fn height(&mut self, reader: &Reader, height: Height, sink: &mut dyn Write) -> Result<(), WriteError> {
        let missing = || WriteError::NotWhole { height, gap: Gap::Missing };
        let encode = |source| WriteError::Encode { height, source };
        let decided = reader.decided_value(height)?.ok_or_else(missing)?;
        let sets = self.sets(reader, &decided)?;
        let payload_bytes = reader.payload_size(height)?.ok_or_else(missing)?;
        let payload_bytes = usize::try_from(payload_bytes).map_err(|_| missing())?;
        self.encoder.height(&sets, &decided, payload_bytes, &mut self.out).map_err(encode)?;
        self.write_out(sink)?;
        let written = reader.with_payload(height, |pieces| self.encoder.payload(pieces, &mut self.out))?;
        written.ok_or_else(missing)?.map_err(encode)?;
        self.write_out(sink)?;
        for index in 0..decided.value.blob_count() as u64 {
            let written = reader.with_sidecar(height, index, |pieces| self.encoder.sidecar(pieces, &mut self.out))?;
            written.ok_or_else(missing)?.map_err(encode)?;
            self.write_out(sink)?;
            self.written.blobs += 1;
        }
        Ok(())
    }

    /// The sets that become known with `decided`.
    fn sets(&self, reader: &Reader, decided: &DecidedValue) -> Result<Vec<ValidatorSet>, WriteError> {
        let value = &decided.value;
        let missing = || WriteError::NotWhole { height: value.height, gap: Gap::Missing };
        let mut sets = Vec::new();
        if value.height == self.header.first() {
            sets.push(reader.validator_set(&value.validators_root)?.ok_or_else(missing)?);
        }
        if value.next_validators_root != value.validators_root {
            match reader.validator_set(&value.next_validators_root)? {
                Some(set) => sets.push(set),
                // The tip's successor may not have been fetched yet: nothing was signed by it.
                None if value.height == self.header.last() => {}
                None => return Err(missing()),
            }
        }
        Ok(sets)
    }

    fn end(&mut self, sink: &mut dyn Write) -> Result<(), WriteError> {
        let height = self.header.last();
        self.encoder.finish(&mut self.out).map_err(|source| WriteError::Encode { height, source })?;
        self.write_out(sink)
    }

    fn write_out(&mut self, sink: &mut dyn Write) -> Result<(), WriteError> {
        sink.write_all(&self.out)?;
        self.written.bytes += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
}
