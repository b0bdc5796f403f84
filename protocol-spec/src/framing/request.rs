//! Reading a request.

use bytes::Bytes;

use super::payload::PayloadDecoder;
use super::snappy::EmptyTail;
use super::{FramingError, LengthBounds, varint};

#[derive(Debug)]
enum State {
    Prefix(varint::Decoder),
    Payload,
    /// The payload is complete; if it is empty, its identifier may follow.
    Complete(EmptyTail),
    Failed(FramingError),
}

/// Decodes one request from the bytes of a stream, up to its end.
///
/// After an error every further call returns that error again.
#[derive(Debug)]
pub struct RequestDecoder {
    bounds: LengthBounds,
    state: State,
    payload: PayloadDecoder,
}

impl RequestDecoder {
    /// A decoder for a request whose payload has a length within `bounds`.
    #[must_use]
    pub fn new(bounds: LengthBounds) -> Self {
        Self { bounds, state: State::Prefix(varint::Decoder::new()), payload: PayloadDecoder::new() }
    }

    /// Takes all of `input`, the next bytes of the stream.
    ///
    /// # Errors
    /// Any [`FramingError`] but the truncations and [`FramingError::BytesAfterErrorChunk`].
    pub fn push(&mut self, input: &[u8]) -> Result<(), FramingError> {
        let mut rest = input;
        while !rest.is_empty() {
            rest = match self.step(rest) {
                Ok(rest) => rest,
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            };
        }
        Ok(())
    }

    /// Whether the payload is whole. What remains is that the requester closes its side without another byte.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete(_))
    }

    /// The payload, once the stream has ended.
    ///
    /// # Errors
    /// [`FramingError::EndedInPrefix`] (also where no byte came at all), [`FramingError::EndedInPayload`], and the
    /// error that [`RequestDecoder::push`] returned.
    pub fn finish(mut self) -> Result<Bytes, FramingError> {
        match &self.state {
            State::Prefix(_) => Err(FramingError::EndedInPrefix),
            State::Payload => Err(FramingError::EndedInPayload),
            State::Complete(tail) => tail.finish().map(|()| self.payload.take()),
            State::Failed(error) => Err(*error),
        }
    }

    /// Takes at least one byte of a non-empty input, or leaves a state that cannot take it.
    fn step<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FramingError> {
        match &mut self.state {
            State::Prefix(prefix) => {
                let (length, rest) = prefix.push_slice(input)?;
                if let Some(length) = length {
                    self.payload.begin(self.bounds.check(length)?);
                    self.state = self.after_payload_bytes();
                }
                Ok(rest)
            }
            State::Payload => {
                let rest = self.payload.push(input)?;
                self.state = self.after_payload_bytes();
                Ok(rest)
            }
            State::Complete(tail) => {
                let rest = tail.push(input)?;
                if rest.is_empty() { Ok(rest) } else { Err(FramingError::BytesAfterRequest) }
            }
            State::Failed(error) => Err(*error),
        }
    }

    fn after_payload_bytes(&self) -> State {
        if self.payload.is_complete() { State::Complete(self.payload.tail()) } else { State::Payload }
    }
}
