//! Any bytes, as a peer may send them: nothing panics, what is held stays within bounds, and it comes to an end.

use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::transport::yamux::frame::{Flags, Header, Kind};

/// Gives out bytes in pieces, then nothing for ever; takes so many bytes at a time.
#[derive(Debug)]
struct Script {
    input: Vec<u8>,
    piece: usize,
    takes: usize,
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = self.input.len().min(self.piece).min(buf.len());
        if count == 0 {
            return Poll::Pending;
        }
        for (place, byte) in buf.iter_mut().zip(self.input.drain(..count)) {
            *place = byte;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.takes == 0 { Poll::Pending } else { Poll::Ready(Ok(self.takes.min(buf.len()))) }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A frame that is nearly right: few streams, lengths around what is allowed, bodies that may be too short.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![6 => Just(Kind::Data), 3 => Just(Kind::WindowUpdate), 1 => Just(Kind::Ping)];
    let length = prop_oneof![4 => 0_u32..64, 2 => 0_u32..70_000, 1 => any::<u32>()];
    (kind, 0_u16..16, 0_u32..24, length, any::<bool>()).prop_map(|(kind, flags, stream, length, whole)| {
        let header = Header { kind, flags: Flags(flags), stream, length };
        let body = if kind == Kind::Data && length < 100_000 { length as usize } else { 0 };
        let mut bytes = header.encode().to_vec();
        bytes.resize(bytes.len() + if whole { body } else { body / 2 }, 0x5a);
        bytes
    })
}

/// What the handles of streams do meanwhile.
fn use_streams(streams: &mut Vec<Substream>, choice: u8, cx: &mut Context<'_>) {
    let Some(index) = (choice as usize / 8).checked_rem(streams.len()) else { return };
    match choice % 8 {
        0..=2 => drop(Pin::new(&mut streams[index]).poll_read(cx, &mut [0; 1000])),
        3..=4 => drop(Pin::new(&mut streams[index]).poll_write(cx, &vec![1; 50_000])),
        5 => drop(Pin::new(&mut streams[index]).poll_close(cx)),
        6 => drop(streams.swap_remove(index)),
        _ => {}
    }
}

fn run(role: Role, input: Vec<u8>, piece: usize, takes: usize, choices: &[u8]) -> usize {
    const LIMIT: u32 = 8;
    let mut cx = Context::from_waker(Waker::noop());
    let all = Arc::new(Budget::new(MIB));
    let frames = input.len();
    let config = Config::new(LIMIT, MIB, all.clone(), Duration::ZERO);
    let mut side = Box::pin(config.muxer(Script { input, piece, takes }, role));
    let mut streams = Vec::new();
    let mut ended = false;
    // Each byte is a step at most, and each poll takes some steps.
    for turn in 0..frames + 100 {
        match side.as_mut().poll_inbound(&mut cx) {
            Poll::Ready(Ok(stream)) => streams.push(stream),
            Poll::Ready(Err(_)) => {
                ended = true;
                break;
            }
            Poll::Pending => {}
        }
        if turn < 4
            && let Poll::Ready(Ok(stream)) = side.as_mut().poll_outbound(&mut cx)
        {
            streams.push(stream);
        }
        use_streams(&mut streams, choices.get(turn % choices.len().max(1)).copied().unwrap_or(7), &mut cx);
        let (count, held) = side.held();
        assert!(count <= LIMIT as usize, "{count} streams");
        assert!(held <= 2 * (LIMIT * (256 + 165) * 1024 + MIB) as usize, "{held} bytes");
    }
    drop(streams);
    drop(side);
    assert_eq!(all.left(), MIB, "what was taken of the budget was given back");
    usize::from(ended)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(input in proptest::collection::vec(any::<u8>(), 0..500), piece in 1_usize..64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        run(Role::Server, input, piece, 100, &[]);
    }

    #[test]
    fn frames_that_are_nearly_right(
        frames in proptest::collection::vec(frame(), 1..60),
        piece in prop_oneof![1_usize..64, 1000_usize..100_000],
        takes in prop_oneof![1 => Just(0_usize), 4 => 1_usize..100_000],
        choices in proptest::collection::vec(any::<u8>(), 1..60),
        client: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let role = if client { Role::Client } else { Role::Server };
        run(role, frames.concat(), piece, takes, &choices);
    }
}
