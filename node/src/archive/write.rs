//! From a store to an archive, height by height, item by item.

use std::{
    fmt,
    io::{self, Write},
    ops::{ControlFlow, Range, RangeInclusive},
};

use lapis_protocol_spec::{
    DecidedValue, Height, ValidatorSet,
    archive::{Compression, EncodeError, Encoder, Header, Index, IndexBuilder, IndexFault, SidecarPart},
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
    /// The archive does not fit into an index.
    #[error("the archive cannot have an index: {0}")]
    Index(#[from] IndexFault),
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
    Writer::new(header, sink).run(store, observe, &mut |_, _, _| Ok(()))
}

/// Writes an archive as [`write()`] does, and tells where in it what is.
///
/// Takes the memory of one item and of the index.
///
/// # Errors
/// [`WriteError`]; what was written so far is then no archive. [`WriteError::Index`] before anything is written if the
/// archive has more heights than an index.
pub fn write_indexed(
    store: &Store,
    header: &Header,
    sink: &mut dyn Write,
    observe: &mut dyn FnMut(&Written) -> ControlFlow<()>,
) -> Result<(Written, Index), WriteError> {
    let mut builder = IndexBuilder::new(header)?;
    let written = Writer::new(header, sink)
        .run(store, observe, &mut |sets, decided, parts| builder.record(sets, decided, parts))?;
    Ok((written, builder.finish()?))
}

/// Takes sets and value of each record, and the bytes of its parts as they are stored.
type TakeRecord<'a> = dyn FnMut(Vec<ValidatorSet>, DecidedValue, &[u64]) -> Result<(), IndexFault> + 'a;

struct Writer<'a> {
    header: &'a Header,
    encoder: Encoder,
    sink: Counted<'a>,
    /// What was encoded and is not written yet: one item.
    out: Vec<u8>,
    written: Written,
}

impl<'a> Writer<'a> {
    fn new(header: &'a Header, sink: &'a mut dyn Write) -> Self {
        let sink = Counted { sink, bytes: 0 };
        Self { header, encoder: Encoder::new(header), sink, out: Vec::new(), written: Written::default() }
    }

    fn run(
        mut self,
        store: &Store,
        observe: &mut dyn FnMut(&Written) -> ControlFlow<()>,
        take: &mut TakeRecord<'_>,
    ) -> Result<Written, WriteError> {
        let start = self.header.encode();
        self.sink.write_all(&start)?;
        self.written.bytes = start.len() as u64;
        for height in self.header.first()..=self.header.last() {
            let reader = store.reader()?;
            if !reader.has_height_whole(height)? {
                return Err(WriteError::NotWhole { height, gap: gap(store, height) });
            }
            self.height(&reader, height, take)?;
            self.written.heights += 1;
            if observe(&self.written).is_break() {
                return Err(WriteError::Interrupted);
            }
        }
        self.end()?;
        self.sink.flush()?;
        Ok(self.written)
    }

    /// Writes the record of `height`, part by part.
    fn height(&mut self, reader: &Reader, height: Height, take: &mut TakeRecord<'_>) -> Result<(), WriteError> {
        let decided = reader.decided_value(height)?.ok_or_else(|| missing(height))?;
        let sets = self.sets(reader, &decided)?;
        let mut parts = vec![self.part(|body| body.payload_part(reader, &sets, &decided))?];
        for part in SidecarPart::all(decided.value.blob_count()) {
            parts.push(self.part(|body| body.sidecar_part(reader, height, part.indices()))?);
        }
        Ok(take(sets, decided, &parts)?)
    }

    /// Writes one part of a record; the bytes that it takes as it is stored.
    fn part(&mut self, write: impl FnOnce(&mut Body<'_>) -> Result<(), WriteError>) -> Result<u64, WriteError> {
        let before = self.sink.bytes;
        let Self { encoder, sink, out, written, .. } = self;
        within_frame(self.header.compression(), sink, |sink| write(&mut Body { encoder, sink, out, written }))?;
        Ok(self.sink.bytes.saturating_sub(before))
    }

    /// The sets that become known with `decided`.
    fn sets(&self, reader: &Reader, decided: &DecidedValue) -> Result<Vec<ValidatorSet>, WriteError> {
        let value = &decided.value;
        let mut sets = Vec::new();
        if value.height == self.header.first() {
            sets.push(reader.validator_set(&value.validators_root)?.ok_or_else(|| missing(value.height))?);
        }
        if value.next_validators_root != value.validators_root {
            match reader.validator_set(&value.next_validators_root)? {
                Some(set) => sets.push(set),
                // The tip's successor may not have been fetched yet: nothing was signed by it.
                None if value.height == self.header.last() => {}
                None => return Err(missing(value.height)),
            }
        }
        Ok(sets)
    }

    fn end(&mut self) -> Result<(), WriteError> {
        let height = self.header.last();
        self.encoder.finish(&mut self.out).map_err(|source| WriteError::Encode { height, source })?;
        let Self { encoder, sink, out, written, .. } = self;
        within_frame(self.header.compression(), sink, |sink| Body { encoder, sink, out, written }.write_out())
    }
}

fn missing(height: Height) -> WriteError {
    WriteError::NotWhole { height, gap: Gap::Missing }
}

/// What goes into one compressed frame.
struct Body<'a> {
    encoder: &'a mut Encoder,
    sink: &'a mut dyn Write,
    out: &'a mut Vec<u8>,
    written: &'a mut Written,
}

impl Body<'_> {
    fn payload_part(
        &mut self,
        reader: &Reader,
        sets: &[ValidatorSet],
        decided: &DecidedValue,
    ) -> Result<(), WriteError> {
        let height = decided.value.height;
        let encode = |source| WriteError::Encode { height, source };
        let payload_bytes = reader.payload_size(height)?.ok_or_else(|| missing(height))?;
        let payload_bytes = usize::try_from(payload_bytes).map_err(|_| missing(height))?;
        self.encoder.height(sets, decided, payload_bytes, self.out).map_err(encode)?;
        self.write_out()?;
        let written = reader.with_payload(height, |pieces| self.encoder.payload(pieces, self.out))?;
        written.ok_or_else(|| missing(height))?.map_err(encode)?;
        self.write_out()
    }

    fn sidecar_part(&mut self, reader: &Reader, height: Height, indices: Range<u64>) -> Result<(), WriteError> {
        for index in indices {
            let written = reader.with_sidecar(height, index, |pieces| self.encoder.sidecar(pieces, self.out))?;
            written.ok_or_else(|| missing(height))?.map_err(|source| WriteError::Encode { height, source })?;
            self.write_out()?;
            self.written.blobs += 1;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), WriteError> {
        self.sink.write_all(self.out)?;
        self.written.bytes += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
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

/// Counts the bytes of an archive as they are stored.
struct Counted<'a> {
    sink: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.bytes = self.bytes.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
