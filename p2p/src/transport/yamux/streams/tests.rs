#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use super::*;
use crate::transport::yamux::{
    frame::{Flags, HEADER, Header, Kind},
    stream::{FRAME_BODY, QUEUED, QUEUED_FRAMES},
    window::Budget,
};

fn streams(role: Role) -> Streams {
    let budget = Arc::new(Budget::new(1024 * 1024));
    Streams::new(role, 64, Budgets { connection: budget.clone(), all: budget })
}

fn open(streams: &mut Streams) -> u32 {
    match streams.open(Waker::noop()) {
        Poll::Ready(Ok(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn write(streams: &mut Streams, id: u32, bytes: usize) -> Poll<usize> {
    streams.write(id, &vec![0; bytes], Waker::noop()).map(Result::unwrap)
}

/// The headers of all frames that are to be sent.
fn sent(streams: &mut Streams) -> Vec<Header> {
    std::iter::from_fn(|| streams.next_frame())
        .map(|frame| {
            let header = Header::decode(*frame.first_chunk().unwrap()).unwrap();
            let body = if header.kind == Kind::Data { header.length as usize } else { 0 };
            assert_eq!(frame.len(), HEADER + body);
            header
        })
        .collect()
}

fn receive(streams: &mut Streams, header: Header) {
    let body = streams.on_header(header).unwrap();
    streams.on_body_end(body);
}

#[test]
fn streams_have_their_turns_one_frame_each() {
    let mut streams = streams(Role::Client);
    let (long, short) = (open(&mut streams), open(&mut streams));
    assert_eq!(write(&mut streams, long, 10 * QUEUED), Poll::Ready(QUEUED));
    assert_eq!(write(&mut streams, long, 1), Poll::Pending);
    assert_eq!(write(&mut streams, short, 10), Poll::Ready(10));
    streams.close(short).unwrap();
    let order: Vec<u32> = sent(&mut streams).iter().map(|header| header.stream).collect();
    assert_eq!(order, [long, short, long, short, long, long]);
}

#[test]
fn short_writes_share_a_frame() {
    let mut streams = streams(Role::Client);
    let id = open(&mut streams);
    for _ in 0..FRAME_BODY + 10 {
        assert_eq!(write(&mut streams, id, 1), Poll::Ready(1));
    }
    let lengths: Vec<usize> = sent(&mut streams).iter().map(|header| header.length as usize).collect();
    assert_eq!(lengths, [FRAME_BODY, 10]);
}

#[test]
fn what_was_flushed_shares_no_frame_with_what_comes_later() {
    let mut streams = streams(Role::Client);
    let id = open(&mut streams);
    for part in [10, 20, FRAME_BODY + 1, 7] {
        assert_eq!(write(&mut streams, id, part), Poll::Ready(part));
        streams.flush(id);
        streams.flush(id);
    }
    assert_eq!(write(&mut streams, id, 2), Poll::Ready(2));
    assert_eq!(write(&mut streams, id, 3), Poll::Ready(3));
    let lengths: Vec<usize> = sent(&mut streams).iter().map(|header| header.length as usize).collect();
    assert_eq!(lengths, [10, 20, FRAME_BODY, 1, 7, 5]);
}

#[test]
fn however_short_they_are_few_frames_wait() {
    let mut streams = streams(Role::Client);
    let id = open(&mut streams);
    for _ in 0..QUEUED_FRAMES {
        assert_eq!(write(&mut streams, id, 1), Poll::Ready(1));
        streams.flush(id);
    }
    assert_eq!(write(&mut streams, id, 1), Poll::Pending);
    assert_eq!(sent(&mut streams).len(), QUEUED_FRAMES);
    assert_eq!(write(&mut streams, id, 1), Poll::Ready(1));
}

#[test]
fn what_is_short_and_cannot_wait_overtakes_data() {
    let mut streams = streams(Role::Server);
    receive(&mut streams, Header::data(1, Flags::SYN, 0));
    assert_eq!(streams.take(), Some(1));
    assert_eq!(write(&mut streams, 1, 10), Poll::Ready(10));
    receive(&mut streams, Header { kind: Kind::Ping, flags: Flags::SYN, stream: 0, length: 8 });
    assert_eq!(sent(&mut streams), [Header::pong(8), Header::data(1, Flags::ACK, 10)]);
}

#[test]
fn a_stream_dropped_before_its_end_is_reset() {
    let mut client = streams(Role::Client);
    let (begun, unknown) = (open(&mut client), open(&mut client));
    assert_eq!(write(&mut client, begun, 10), Poll::Ready(10));
    assert_eq!(sent(&mut client), [Header::data(begun, Flags::SYN, 10)]);
    // A request that was not ended is none: what waits of it is not sent.
    assert_eq!(write(&mut client, begun, 10), Poll::Ready(10));
    assert_eq!(write(&mut client, unknown, 10), Poll::Ready(10));
    client.release(begun);
    client.release(unknown);
    assert_eq!(sent(&mut client), [Header::reset(begun)]);
    assert_eq!(client.len(), 0);

    // What waits of an answer goes before the reset, whether the other side has ended the request or not.
    for flags in [Flags::SYN, Flags::SYN.with(Flags::FIN)] {
        let mut server = streams(Role::Server);
        receive(&mut server, Header::data(1, flags, 0));
        assert_eq!(write(&mut server, 1, 10), Poll::Ready(10));
        server.release(1);
        assert_eq!(sent(&mut server), [Header::data(1, Flags::ACK, 10), Header::reset(1)]);
        assert_eq!(server.len(), 0);
    }
}

#[test]
fn behind_this_sides_end_only_own_streams_are_reset() {
    let mut client = streams(Role::Client);
    let id = open(&mut client);
    assert_eq!(write(&mut client, id, 10), Poll::Ready(10));
    client.close(id).unwrap();
    client.release(id);
    let end = Header::data(id, Flags::FIN, 0);
    assert_eq!(sent(&mut client), [Header::data(id, Flags::SYN, 10), end, Header::reset(id)]);
    assert_eq!(client.len(), 0);

    let mut server = streams(Role::Server);
    receive(&mut server, Header::data(1, Flags::SYN, 0));
    server.close(1).unwrap();
    server.release(1);
    assert_eq!(sent(&mut server), [Header::data(1, Flags::ACK.with(Flags::FIN), 0)]);
    assert_eq!(server.len(), 0);
}

#[test]
fn a_stream_that_both_sides_have_ended_is_not_reset() {
    let mut client = streams(Role::Client);
    let id = open(&mut client);
    client.close(id).unwrap();
    assert_eq!(sent(&mut client), [Header::data(id, Flags::SYN.with(Flags::FIN), 0)]);
    receive(&mut client, Header::data(id, Flags::ACK.with(Flags::FIN), 0));
    assert!(matches!(client.read(id, 0, Waker::noop()), Poll::Ready(Ok(None))));
    client.release(id);
    assert_eq!(sent(&mut client), []);
    assert_eq!(client.len(), 0);
}

/// Who serves it would else hold a place for nobody.
#[test]
fn a_request_that_is_reset_behind_its_end_is_withdrawn() {
    let mut server = streams(Role::Server);
    receive(&mut server, Header::data(1, Flags::SYN.with(Flags::FIN), 0));
    receive(&mut server, Header::data(3, Flags::SYN.with(Flags::FIN), 0));
    assert_eq!((server.take(), server.take()), (Some(1), Some(3)));
    receive(&mut server, Header::reset(1));
    assert!(matches!(server.read(1, 0, Waker::noop()), Poll::Ready(Err(_))));
    // A connection that is lost says nothing about a request that has come whole.
    server.abort(None);
    assert!(matches!(server.read(3, 0, Waker::noop()), Poll::Ready(Ok(None))));
}

#[test]
fn the_end_of_an_answer_is_one_whatever_comes_behind_it() {
    let mut client = streams(Role::Client);
    let (ended, reset) = (open(&mut client), open(&mut client));
    receive(&mut client, Header::data(ended, Flags::FIN, 0));
    receive(&mut client, Header::reset(ended));
    receive(&mut client, Header::reset(reset));
    receive(&mut client, Header::data(reset, Flags::FIN, 0));
    assert!(matches!(client.read(ended, 0, Waker::noop()), Poll::Ready(Ok(None))));
    assert!(matches!(client.read(reset, 0, Waker::noop()), Poll::Ready(Err(_))));
    for id in [ended, reset] {
        let error = client.write(id, &[], Waker::noop()).map(Result::unwrap_err);
        assert!(matches!(error, Poll::Ready(error) if error.kind() == io::ErrorKind::ConnectionReset));
    }
}

#[test]
fn who_is_not_taken_before_it_is_reset_is_nobodys() {
    let mut server = streams(Role::Server);
    receive(&mut server, Header::data(1, Flags::SYN, 0));
    receive(&mut server, Header::reset(1));
    assert_eq!((server.len(), server.take()), (0, None));
}

#[test]
fn answers_to_pings_are_few() {
    let mut server = streams(Role::Server);
    for number in 0..10_000 {
        receive(&mut server, Header { kind: Kind::Ping, flags: Flags::SYN, stream: 0, length: number });
    }
    assert_eq!(sent(&mut server), [9996, 9997, 9998, 9999].map(Header::pong));
}

#[test]
fn the_farewell_comes_behind_everything_else() {
    let mut client = streams(Role::Client);
    let id = open(&mut client);
    assert_eq!(write(&mut client, id, 10), Poll::Ready(10));
    client.leave();
    assert!(matches!(client.write(id, &[1], Waker::noop()), Poll::Ready(Err(_))));
    assert!(matches!(client.read(id, 0, Waker::noop()), Poll::Ready(Err(_))));
    assert_eq!(sent(&mut client), [Header::data(id, Flags::SYN, 10), Header::go_away(Farewell::Normal)]);
    client.release(id);
    assert_eq!(client.len(), 0);
}

#[test]
fn numbers_are_used_once() {
    let mut client = streams(Role::Client);
    client.next = Some(u32::MAX);
    assert_eq!(open(&mut client), u32::MAX);
    assert_eq!(client.open(Waker::noop()), Poll::Ready(Err(Exhausted)));
    // All numbers were used, so all may have been opened.
    client.release(u32::MAX);
    receive(&mut client, Header::data(u32::MAX, Flags::NONE, 0));
}
