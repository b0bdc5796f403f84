//! Reading a response, chunk by chunk.

use bytes::Bytes;

use super::payload::PayloadDecoder;
use super::snappy::EmptyTail;
use super::{ErrorCode, FramingError, LengthBounds, MAX_ERROR_MESSAGE, varint};

const MESSAGE_BOUNDS: LengthBounds = LengthBounds::between(0, MAX_ERROR_MESSAGE);

/// One chunk of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseChunk {
    /// The SSZ bytes of an item, of a length within the bounds of its type.
    Success(Bytes),
    /// The responder's error; the response ends with it.
    Error {
        /// What sort of error it is.
        code: ErrorCode,
        /// At most [`MAX_ERROR_MESSAGE`] bytes for people to read; any bytes, not necessarily UTF-8.
        message: Bytes,
    },
}

/// What a call of [`ResponseDecoder::push`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Progress {
    /// Bytes of the input that were taken. All of them, unless a chunk is complete.
    pub consumed: usize,
    /// The chunk that the last taken byte completed.
    pub chunk: Option<ResponseChunk>,
}

/// What the chunk at hand is, by its result byte; `None` for success.
type Outcome = Option<ErrorCode>;

#[derive(Clone, Copy, Debug)]
enum State {
    /// Between two chunks.
    Result,
    Prefix {
        outcome: Outcome,
        prefix: varint::Decoder,
    },
    Payload {
        outcome: Outcome,
    },
    /// A chunk is complete; if it was empty, its identifier may follow.
    Complete {
        outcome: Outcome,
        tail: EmptyTail,
    },
    Failed(FramingError),
}

/// Decodes the chunks of one response.
///
/// The decoder takes no byte behind a complete chunk before it is called again, so a caller that handles each chunk
/// before it feeds the rest, and reads from its stream only when the rest is empty, passes its own pace on to the
/// responder. Between two chunks it holds no payload. How many chunks are enough is for the caller to know.
///
/// After an error every further call returns that error again.
#[derive(Debug)]
pub struct ResponseDecoder {
    bounds: LengthBounds,
    state: State,
    payload: PayloadDecoder,
}

impl ResponseDecoder {
    /// A decoder for chunks whose items have a length within `bounds`. Error messages have bounds of their own.
    #[must_use]
    pub fn new(bounds: LengthBounds) -> Self {
        Self { bounds, state: State::Result, payload: PayloadDecoder::new() }
    }

    /// Takes bytes of `input`, the next of the stream, up to the end of the current chunk.
    ///
    /// # Errors
    /// Any [`FramingError`] but the truncations and [`FramingError::BytesAfterRequest`].
    pub fn push(&mut self, input: &[u8]) -> Result<Progress, FramingError> {
        self.advance(input).inspect_err(|error| self.state = State::Failed(*error))
    }

    /// Judges the end of the stream: a response ends before a chunk, never within one. A stream that was reset has not
    /// ended, whatever came before.
    ///
    /// # Errors
    /// [`FramingError::EndedInPrefix`], [`FramingError::EndedInPayload`], and the error that
    /// [`ResponseDecoder::push`] returned.
    pub const fn finish(&self) -> Result<(), FramingError> {
        match &self.state {
            State::Result => Ok(()),
            State::Prefix { .. } => Err(FramingError::EndedInPrefix),
            State::Payload { .. } => Err(FramingError::EndedInPayload),
            State::Complete { tail, .. } => tail.finish(),
            State::Failed(error) => Err(*error),
        }
    }

    fn advance(&mut self, input: &[u8]) -> Result<Progress, FramingError> {
        let mut rest = input;
        while !rest.is_empty() {
            rest = self.step(rest)?;
            if let Some(chunk) = self.complete_chunk() {
                return Ok(Progress { consumed: input.len() - rest.len(), chunk: Some(chunk) });
            }
        }
        Ok(Progress { consumed: input.len(), chunk: None })
    }

    /// Takes at least one byte of a non-empty input, or leaves a state that cannot take it.
    fn step<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        match &mut self.state {
            State::Result => {
                let Some((result, rest)) = input.split_first() else { return Ok(input) };
                self.state = State::Prefix { outcome: ErrorCode::from_byte(*result), prefix: varint::Decoder::new() };
                Ok(rest)
            }
            State::Prefix { outcome, prefix } => {
                let outcome = *outcome;
                let (length, rest) = prefix.push_slice(input)?;
                if let Some(length) = length {
                    self.payload.begin(self.bounds_of(outcome).check(length)?);
                    self.state = State::Payload { outcome };
                }
                Ok(rest)
            }
            State::Payload { .. } => self.payload.push(input),
            State::Complete { outcome, tail } => {
                let rest = tail.push(input)?;
                if !rest.is_empty() {
                    if outcome.is_some() {
                        return Err(FramingError::BytesAfterErrorChunk);
                    }
                    self.state = State::Result;
                }
                Ok(rest)
            }
            State::Failed(error) => Err(*error),
        }
    }

    const fn bounds_of(&self, outcome: Outcome) -> LengthBounds {
        if outcome.is_some() { MESSAGE_BOUNDS } else { self.bounds }
    }

    /// Hands out the chunk if the step before has completed it.
    fn complete_chunk(&mut self) -> Option<ResponseChunk> {
        let State::Payload { outcome } = self.state else { return None };
        if !self.payload.is_complete() {
            return None;
        }
        self.state = State::Complete { outcome, tail: self.payload.tail() };
        let bytes = self.payload.take();
        Some(match outcome {
            None => ResponseChunk::Success(bytes),
            Some(code) => ResponseChunk::Error { code, message: bytes },
        })
    }
}
