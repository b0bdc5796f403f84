//! What frames of the other side do.

use super::{Phase, Streams};
use crate::transport::yamux::{
    frame::{Farewell, Flags, Header, Kind, Violation},
    received::Received,
    stream::{Opener, Stream},
    window::{INITIAL, LARGEST, ReceiveWindow},
};

/// Streams that wait until they are taken; more are reset.
const UNTAKEN: usize = 256;

/// The body of a data frame: what is to be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport::yamux) struct Body {
    /// Bytes that have not come.
    pub(in crate::transport::yamux) left: u32,
    /// The stream that it is for, or `None` if nobody wants it.
    pub(in crate::transport::yamux) stream: Option<u32>,
    /// Whether the stream ends behind it.
    ends: bool,
}

impl Body {
    const NONE: Self = Self { left: 0, stream: None, ends: false };

    const fn skipped(left: u32) -> Self {
        Self { left, stream: None, ends: false }
    }
}

impl Streams {
    /// A header has come. Returns the body that follows.
    ///
    /// # Errors
    /// What is against the protocol.
    pub(in crate::transport::yamux) fn on_header(&mut self, header: Header) -> Result<Body, Violation> {
        match header.kind {
            Kind::Data | Kind::WindowUpdate => self.on_stream_frame(header),
            Kind::Ping => {
                if header.flags.has(Flags::SYN) {
                    self.schedule.pong(header.length);
                }
                Ok(Body::NONE)
            }
            Kind::GoAway => {
                self.phase = if header.length == Farewell::Normal.code() { Phase::Leaving } else { Phase::Left };
                Ok(Body::NONE)
            }
        }
    }

    fn on_stream_frame(&mut self, header: Header) -> Result<Body, Violation> {
        let Header { kind, flags, stream: id, length } = header;
        if id == 0 {
            return Err(Violation::NoStream);
        }
        if flags.has(Flags::SYN) && !self.accept(id)? {
            return skip(header, INITIAL);
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return if self.was_opened(id) { skip(header, LARGEST) } else { Err(Violation::NotOpened(id)) };
        };
        if flags.has(Flags::RST) {
            let wakers = stream.reset_by_other();
            self.woken.extend(wakers.into_iter().flatten());
            self.forget_untaken(id);
            self.remove_if_over(id);
            return skip(header, LARGEST);
        }
        let ends = flags.has(Flags::FIN);
        match kind {
            Kind::Data => {
                let wanted = stream.receive(length)?;
                Ok(Body { left: length, stream: (wanted || ends).then_some(id), ends })
            }
            Kind::WindowUpdate | Kind::Ping | Kind::GoAway => {
                self.woken.extend(stream.add_credit(length)?);
                Ok(Body { left: 0, stream: ends.then_some(id), ends })
            }
        }
    }

    /// The other side opens a stream. Returns whether there is room.
    fn accept(&mut self, id: u32) -> Result<bool, Violation> {
        if !self.role.is_other(id) {
            return Err(Violation::WrongSide(id));
        }
        if self.streams.contains_key(&id) {
            return Err(Violation::OpenedTwice(id));
        }
        if self.streams.len() >= self.limit || self.untaken.len() >= UNTAKEN {
            return if self.schedule.refuse(id) { Ok(false) } else { Err(Violation::Refusals) };
        }
        self.streams.insert(id, Stream::new(id, Opener::Other, ReceiveWindow::fixed()));
        self.untaken.push_back(id);
        Ok(true)
    }

    /// Whether `id` may be of a stream that is over. Those of the other side are not counted: some implementations open
    /// streams out of order.
    fn was_opened(&self, id: u32) -> bool {
        self.role.is_other(id) || self.next.is_none_or(|next| id < next)
    }

    /// A stream that was broken off before anybody took it is nobody's.
    fn forget_untaken(&mut self, id: u32) {
        let before = self.untaken.len();
        self.untaken.retain(|untaken| *untaken != id);
        if self.untaken.len() < before {
            self.release(id);
        }
    }

    /// Bytes of the body of `stream` have come: `put` puts them where they belong.
    pub(in crate::transport::yamux) fn on_bytes(&mut self, stream: u32, put: impl FnOnce(&mut Received)) {
        if let Some(stream) = self.streams.get_mut(&stream)
            && let Some(received) = stream.received()
        {
            put(received);
            self.woken.extend(stream.reader());
        }
    }

    /// All of `body` has come.
    pub(in crate::transport::yamux) fn on_body_end(&mut self, body: Body) {
        let stream = body.stream.filter(|_| body.ends).and_then(|id| self.streams.get_mut(&id));
        if let Some(stream) = stream {
            self.woken.extend(stream.ended());
        }
    }
}

/// Nobody wants what follows. More than the largest window that there may have been is against the protocol all the same.
fn skip(header: Header, window: u32) -> Result<Body, Violation> {
    let Header { kind, stream, length: bytes, .. } = header;
    match kind {
        Kind::Data if bytes > window => Err(Violation::BeyondWindow { stream, bytes }),
        Kind::Data => Ok(Body::skipped(bytes)),
        Kind::WindowUpdate | Kind::Ping | Kind::GoAway => Ok(Body::NONE),
    }
}
