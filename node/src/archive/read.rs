//! Archives from anything that can be read.

use std::{
    fmt,
    io::{self, BufReader, Read},
};

use lapis_protocol_spec::{
    Height,
    archive::{ArchiveError, Compression, Decoder, Event, Header, HeaderDecoder, MAX_ZSTD_WINDOW_LOG},
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
    source: Source<R>,
    header: Header,
    decoder: Decoder,
    buffer: Vec<u8>,
}

enum Source<R: Read> {
    Plain(BufReader<R>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<R>>>),
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
        let source = match header.compression() {
            Compression::None => Source::Plain(source),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(ReadError::Io)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(ReadError::Io)?;
                Source::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { source, decoder: Decoder::new(&header), header, buffer })
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
        loop {
            if self.decoder.is_complete() {
                self.fill(1)?;
                self.decoder.accept(&self.buffer)?;
                return Ok(None);
            }
            self.fill(self.decoder.wants())?;
            if let Some(event) = self.decoder.accept(&self.buffer)? {
                return Ok(Some(event));
            }
        }
    }

    /// Fills the buffer with `count` bytes, or what there still is.
    fn fill(&mut self, count: usize) -> Result<(), ReadError> {
        self.buffer.shrink_to(KEPT_BUFFER);
        let (offset, height) = (self.decoder.offset(), self.decoder.record_height());
        match &mut self.source {
            Source::Plain(source) => read_up_to(source, count, &mut self.buffer).map_err(ReadError::Io),
            Source::Zstd(source) => match read_up_to(source, count, &mut self.buffer) {
                // A frame that is cut off: the decoder of the body says what is missing.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
                // zstd's own errors have no code of the operating system.
                Err(source) if source.raw_os_error().is_none() => {
                    Err(ReadError::Compression { offset, height, source })
                }
                Err(error) => Err(ReadError::Io(error)),
                Ok(()) => Ok(()),
            },
        }
    }
}

/// Reads `count` bytes into `buffer`, or fewer where `source` ends. The buffer grows with what is read.
fn read_up_to(source: &mut impl Read, count: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    source.take(count as u64).read_to_end(buffer).map(drop)
}
