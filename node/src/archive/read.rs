//! Archives from anything that can be read.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read},
};

use lapis_protocol_spec::{
    Height,
    archive::{
        ArchiveError, ArchiveFault, Compression, Decoder, Event, FrameKind, Header, HeaderDecoder, MAX_ZSTD_WINDOW_LOG,
    },
};

/// Memory that the buffer keeps from one item to the next: more than a blob, less than the largest payload.
const KEPT_BUFFER: usize = 1024 * 1024;

/// Why an archive cannot be read further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The archive is damaged, or none.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is compressed is damaged, or asks for more memory than it may.
    #[error("at byte {offset}{}: cannot decompress: {source}", place(*.height))]
    Compression {
        /// Bytes of the uncompressed body that were read before.
        offset: u64,
        /// Height of the record it is in, `None` between records.
        height: Option<Height>,
        /// What zstd says.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the archive: {0}")]
    Io(#[source] io::Error),
}

fn place(height: Option<Height>) -> String {
    height.map(|height| format!(", height {height}")).unwrap_or_default()
}

/// Reads an archive: its header when it is opened, then event by event.
///
/// Memory: the item that is being read, twice while it is decoded, and a zstd window of at most 8 MiB. A buffer grows
/// with what arrives, not by what a length says.
pub struct ArchiveReader<R: Read> {
    header: Header,
    body: BodyReader<BufReader<R>>,
}

impl<R: Read> fmt::Debug for ArchiveReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveReader").field("header", &self.header).finish_non_exhaustive()
    }
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(source: R) -> Result<Self, ReadError> {
        let mut source = BufReader::new(source);
        let mut buffer = Vec::new();
        let mut head = HeaderDecoder::new();
        let header = loop {
            read_up_to(&mut source, head.wants(), &mut buffer).map_err(ReadError::Io)?;
            if let Some(header) = head.accept(&buffer)? {
                break header;
            }
        };
        let source = Source::new(source, header.compression(), Frames::Any)?;
        Ok(Self { body: BodyReader::new(source, Decoder::new(&header)), header })
    }

    /// What the archive says that it holds.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next event; `None` behind the end, which has been found to be the end of the file too.
    ///
    /// # Errors
    /// [`ReadError`]; the archive cannot be read any further then.
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        self.body.next_event()
    }
}

/// Reads what a [`Decoder`] takes, out of what it is compressed into.
pub(super) struct BodyReader<R: BufRead> {
    source: Source<R>,
    decoder: Decoder,
    buffer: Vec<u8>,
    /// Most bytes of one item.
    max_item: usize,
}

impl<R: BufRead> BodyReader<R> {
    pub(super) fn new(source: Source<R>, decoder: Decoder) -> Self {
        Self { source, decoder, buffer: Vec::new(), max_item: usize::MAX }
    }

    /// The same, for no payload of more than `max_bytes`.
    pub(super) fn with_payload_limit(self, max_bytes: usize) -> Self {
        // What else there may be is smaller than its own bound.
        let others = [FrameKind::ValidatorSet, FrameKind::DecidedValue].map(|kind| kind.bounds().max());
        Self { max_item: others.into_iter().fold(max_bytes, usize::max), ..self }
    }

    /// The next event; `None` behind the end, which has been found to be the end of the source too.
    pub(super) fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if self.decoder.is_complete() {
                self.end()?;
                return Ok(None);
            }
            self.fill(self.wanted()?)?;
            if let Some(event) = self.decoder.accept(&self.buffer)? {
                return Ok(Some(event));
            }
        }
    }

    /// Bytes of what is due, if it may be so long.
    fn wanted(&self) -> Result<usize, ReadError> {
        let wanted = self.decoder.wants();
        if wanted <= self.max_item {
            return Ok(wanted);
        }
        let length = u32::try_from(wanted).unwrap_or(u32::MAX);
        let fault = ArchiveFault::Length { kind: FrameKind::Payload, length };
        Err(ArchiveError { offset: self.decoder.offset(), height: self.decoder.record_height(), fault }.into())
    }

    /// Nothing follows what is complete, and what it was compressed into is complete, too.
    fn end(&mut self) -> Result<(), ReadError> {
        let filled = self.fill(1)?;
        self.decoder.accept(&self.buffer)?;
        let fault = match filled {
            Filled::CutOff => ArchiveFault::Truncated,
            Filled::AsFarAsItGoes if self.source.has_more().map_err(ReadError::Io)? => ArchiveFault::AfterEnd,
            Filled::AsFarAsItGoes => return Ok(()),
        };
        Err(ArchiveError { offset: self.decoder.offset(), height: None, fault }.into())
    }

    /// Fills the buffer with `count` bytes, or what there still is.
    fn fill(&mut self, count: usize) -> Result<Filled, ReadError> {
        self.buffer.shrink_to(KEPT_BUFFER);
        let (offset, height) = (self.decoder.offset(), self.decoder.record_height());
        let filled = match &mut self.source {
            Source::Plain(source) => return plain(read_up_to(source, count, &mut self.buffer)),
            Source::Zstd(source) => read_up_to(source, count, &mut self.buffer),
        };
        match filled {
            // A frame that is cut off: the decoder of the body says what is missing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Filled::CutOff),
            // zstd's own errors have no code of the operating system.
            Err(source) if source.raw_os_error().is_none() => Err(ReadError::Compression { offset, height, source }),
            filled => plain(filled),
        }
    }
}

fn plain(filled: io::Result<()>) -> Result<Filled, ReadError> {
    filled.map(|()| Filled::AsFarAsItGoes).map_err(ReadError::Io)
}

/// How a buffer was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    /// With what was wanted, or up to the end of the source.
    AsFarAsItGoes,
    /// The source ends within a compressed frame.
    CutOff,
}

/// How many zstd frames there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// As many as the writer liked.
    Any,
    /// One, and nothing behind it.
    One,
}

/// Where a body comes from.
pub(super) enum Source<R: BufRead> {
    Plain(R),
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
}

impl<R: BufRead> Source<R> {
    /// # Errors
    /// [`ReadError::Io`] if there is no memory for it.
    pub(super) fn new(source: R, compression: Compression, frames: Frames) -> Result<Self, ReadError> {
        if compression == Compression::None {
            return Ok(Self::Plain(source));
        }
        let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(ReadError::Io)?;
        decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(ReadError::Io)?;
        let decoder = match frames {
            Frames::Any => decoder,
            Frames::One => decoder.single_frame(),
        };
        Ok(Self::Zstd(Box::new(decoder)))
    }

    /// Whether something is left behind what was read, decompressed or not.
    fn has_more(&mut self) -> io::Result<bool> {
        let source = match self {
            Self::Plain(source) => source,
            Self::Zstd(decoder) => decoder.get_mut(),
        };
        source.fill_buf().map(|left| !left.is_empty())
    }
}

/// Reads `count` bytes into `buffer`, or fewer where `source` ends. The buffer grows with what is read.
fn read_up_to(source: &mut impl Read, count: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    source.take(count as u64).read_to_end(buffer).map(drop)
}
