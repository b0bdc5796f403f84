//! Every rule, against a peer that breaks it.

use super::{raw::Raw, *};
use crate::transport::yamux::frame::{Farewell, Flags, Header, Kind, Violation};

const WINDOW: u32 = 256 * 1024;
const LARGEST: u32 = 4 * MIB;

fn frame(kind: Kind, flags: Flags, stream: u32, length: u32) -> Header {
    Header { kind, flags, stream, length }
}

fn ping(number: u32) -> Header {
    frame(Kind::Ping, Flags::SYN, 0, number)
}

/// What `frames` cost: the connection, for this reason, and the other side is told that it is its fault.
async fn costs_the_connection(frames: &[[u8; 12]], expected: Violation) {
    let mut raw = Raw::client(config());
    for frame in frames {
        raw.write_bytes(frame).await;
    }
    while raw.header().await != Header::go_away(Farewell::ProtocolError) {}
    let error = within(&mut raw.driver).await.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(error.to_string(), expected.to_string());
}

#[tokio::test]
async fn what_is_against_the_protocol_costs_the_connection() {
    let syn = Header::data(1, Flags::SYN, 0).encode();
    let end = Header::data(1, Flags::FIN, 0).encode();
    let update = |stream, bytes| Header::window_update(stream, Flags::NONE, bytes).encode();
    let mut version = syn;
    version[0] = 1;
    let mut kind = syn;
    kind[1] = 4;
    let beyond = |stream, bytes| Violation::BeyondWindow { stream, bytes };
    for (frames, violation) in [
        (vec![version], Violation::Version(1)),
        (vec![kind], Violation::Kind(4)),
        (vec![Header::data(0, Flags::SYN, 0).encode()], Violation::NoStream),
        (vec![update(0, 1)], Violation::NoStream),
        (vec![Header::data(2, Flags::SYN, 0).encode()], Violation::WrongSide(2)),
        (vec![syn, syn], Violation::OpenedTwice(1)),
        (vec![syn, end, syn], Violation::OpenedTwice(1)),
        (vec![update(2, 1)], Violation::NotOpened(2)),
        (vec![Header::data(4, Flags::NONE, 0).encode()], Violation::NotOpened(4)),
        (vec![syn, end, Header::data(1, Flags::NONE, 1).encode()], Violation::BehindEnd(1)),
        (vec![syn, update(1, u32::MAX)], Violation::WindowOverflow(1)),
        (vec![syn, update(1, u32::MAX - WINDOW), update(1, 1)], Violation::WindowOverflow(1)),
        (vec![Header::data(1, Flags::SYN, WINDOW + 1).encode()], beyond(1, WINDOW + 1)),
        (vec![syn, Header::data(1, Flags::NONE, u32::MAX).encode()], beyond(1, u32::MAX)),
        // No stream can have had such a window, whether it is known or not.
        (vec![Header::data(7, Flags::NONE, LARGEST + 1).encode()], beyond(7, LARGEST + 1)),
        (vec![syn, Header::reset(1).encode(), Header::data(1, Flags::NONE, u32::MAX).encode()], beyond(1, u32::MAX)),
    ] {
        costs_the_connection(&frames, violation).await;
    }
}

#[tokio::test]
async fn bytes_beyond_the_window_cost_the_connection_whatever_was_read() {
    let mut raw = Raw::client(config());
    raw.data(1, Flags::SYN, &vec![1; WINDOW as usize]).await;
    let mut stream = raw.stream().await;
    // Less than half is told to nobody.
    within(stream.read_exact(&mut vec![0; 1000])).await.unwrap();
    raw.write(Header::data(1, Flags::NONE, 1), &[1]).await;
    assert_eq!(within(&mut raw.driver).await.unwrap().kind(), io::ErrorKind::InvalidData);
    // What came before can be read. It is no end.
    let mut rest = Vec::new();
    let error = within(stream.read_to_end(&mut rest)).await.unwrap_err();
    assert_eq!((rest.len(), error.kind()), (WINDOW as usize - 1000, io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_lie_about_a_length_allocates_nothing() {
    let mut raw = Raw::client(config());
    raw.data(1, Flags::SYN, &[]).await;
    raw.write(Header::data(1, Flags::FIN, WINDOW), &[5]).await;
    let mut stream = raw.stream().await;
    let mut buffer = [0; 2];
    // What has come of a frame can be read before the rest has, and a frame that breaks off is no end.
    assert_eq!(within(stream.read(&mut buffer)).await.unwrap(), 1);
    drop(raw);
    assert_eq!(within(stream.read(&mut buffer)).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn frames_of_streams_that_are_over_are_skipped() {
    let mut raw = Raw::client(config());
    raw.data(1, Flags::SYN.with(Flags::FIN), b"first").await;
    let mut stream = raw.stream().await;
    within(stream.close()).await.unwrap();
    drop(stream);
    assert_eq!(raw.header().await, Header::data(1, Flags::ACK.with(Flags::FIN), 0));
    for stream in [1, 3] {
        raw.data(stream, Flags::NONE, &vec![9; 100_000]).await;
        raw.write(Header::window_update(stream, Flags::FIN, u32::MAX), &[]).await;
        raw.write(Header::reset(stream), &[]).await;
    }
    raw.answered().await;
    raw.data(5, Flags::SYN, b"goes on").await;
    let mut next = raw.stream().await;
    let mut buffer = [0; 7];
    within(next.read_exact(&mut buffer)).await.unwrap();
    assert_eq!(&buffer, b"goes on");
}

/// The other side may have sent what it had credit for when it learns that nobody wants it.
#[tokio::test]
async fn credit_that_was_given_holds_behind_a_reset() {
    let (mut raw, mut opened) = Raw::server(config(), 1).await;
    raw.data(1, Flags::NONE, &vec![1; 128 * 1024]).await;
    let mut stream = opened.pop().unwrap();
    within(stream.read_exact(&mut vec![0; 128 * 1024])).await.unwrap();
    let reading = tokio::spawn(async move { (stream.read(&mut [0]).await, stream) });
    let update = raw.header().await;
    assert_eq!(update.kind, Kind::WindowUpdate);
    reading.abort();
    let _ = reading.await;
    assert_eq!(raw.header().await, Header::reset(1));
    raw.data(1, Flags::NONE, &vec![1; (128 * 1024 + update.length) as usize]).await;
    raw.answered().await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_reset_and_the_others_go_on() {
    let mut raw = Raw::client(config());
    let ids: Vec<u32> = (0..70).map(|index| 2 * index + 1).collect();
    for id in &ids {
        raw.data(*id, Flags::SYN, b"hello").await;
    }
    for id in &ids[64..] {
        assert_eq!(raw.header().await, Header::reset(*id));
    }
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(raw.stream().await);
    }
    within(streams[63].write_all(b"here")).await.unwrap();
    assert_eq!(raw.read().await, (Header::data(ids[63], Flags::ACK, 4), b"here".to_vec()));
    // When one is gone there is room for another.
    within(streams[0].close()).await.unwrap();
    drop(streams.remove(0));
    assert_eq!(raw.header().await, Header::data(1, Flags::ACK.with(Flags::FIN), 0));
    raw.data(201, Flags::SYN, b"hello").await;
    raw.stream().await;
}

#[tokio::test]
async fn who_opens_streams_without_end_and_reads_nothing_loses_the_connection() {
    let (ours, theirs) = tokio::io::duplex(64);
    let (driver, _streams) = drive(Box::pin(config().muxer(theirs.compat(), Role::Server)));
    let (_unread, mut writer) = tokio::io::split(ours);
    let writing = tokio::spawn(async move {
        for id in (1_u32..).step_by(2) {
            let frame = Header::data(id, Flags::SYN, 0).encode();
            if tokio::io::AsyncWriteExt::write_all(&mut writer, &frame).await.is_err() {
                break;
            }
        }
    });
    // The reason cannot be told to somebody who does not read; it is not waited for for ever.
    let error = within(driver).await.unwrap();
    assert_eq!(error.to_string(), Violation::Refusals.to_string());
    drop(_unread);
    within(writing).await.unwrap();
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_without_end_leave_nothing() {
    let mut raw = Raw::client(config());
    for id in (1..20_001).step_by(2) {
        raw.data(id, Flags::SYN, b"x").await;
        raw.write(Header::reset(id), &[]).await;
    }
    // Those that came while many were waiting for the test were refused.
    raw.write(ping(5), &[]).await;
    loop {
        let header = raw.header().await;
        if header == Header::pong(5) {
            break;
        }
        assert_eq!(header.flags, Flags::RST);
    }
    while let Ok(stream) = raw.streams.try_recv() {
        drop(stream);
    }
    raw.data(20_001, Flags::SYN, b"hello").await;
    loop {
        // Some were taken before they were reset.
        if within(raw.stream().await.read(&mut [0; 5])).await.is_ok_and(|count| count == 5) {
            break;
        }
    }
}

#[tokio::test]
async fn pings_are_answered_and_a_flood_of_them_starves_nobody() {
    let mut raw = Raw::client(config());
    raw.write(ping(0xdead_beef), &[]).await;
    assert_eq!(raw.header().await, Header::pong(0xdead_beef));
    // An answer to what was not asked, and neither of both.
    raw.write(Header::pong(1), &[]).await;
    raw.write(frame(Kind::Ping, Flags::NONE, 0, 2), &[]).await;
    // On one thread: the flood is one long piece of work for the connection, in which the others have their turns.
    for number in 0..10_000 {
        raw.write(ping(number), &[]).await;
        raw.write(Header::data(1, if number == 0 { Flags::SYN } else { Flags::NONE }, 0), &[]).await;
    }
    raw.data(3, Flags::SYN, b"hello").await;
    let _first = raw.stream().await;
    within(raw.stream().await.read_exact(&mut [0; 5])).await.unwrap();
    assert_eq!(raw.header().await.kind, Kind::Ping);
}

#[tokio::test]
async fn after_a_farewell_no_stream_is_opened_and_those_that_there_are_go_on() {
    let (ours, theirs) = tokio::io::duplex(1024 * 1024);
    let mut side = Box::pin(config().muxer(theirs.compat(), Role::Client));
    let mut stream = open(&mut side).await;
    within(stream.write_all(b"request")).await.unwrap();
    let mut ours = ours.compat();
    within(ours.write_all(&Header::go_away(Farewell::Normal).encode())).await.unwrap();
    within(ours.write_all(&Header::data(1, Flags::ACK, 4).encode())).await.unwrap();
    within(ours.write_all(b"last")).await.unwrap();
    let mut answer = [0; 4];
    let reading = async {
        stream.read_exact(&mut answer).await.unwrap();
        stream
    };
    let stream = tokio::select! {
        stream = within(reading) => stream,
        ended = poll_fn(|cx| side.as_mut().poll(cx)) => panic!("{ended:?}"),
    };
    assert_eq!(&answer, b"last");
    assert!(futures::poll!(poll_fn(|cx| side.as_mut().poll_outbound(cx))).is_pending());
    // When the last one is gone, so is the connection.
    drop(stream);
    let error = within(poll_fn(|cx| side.as_mut().poll(cx))).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn a_farewell_because_of_an_error_ends_the_connection() {
    let mut raw = Raw::client(config());
    raw.data(1, Flags::SYN, b"x").await;
    let _stream = raw.stream().await;
    raw.write(Header::go_away(Farewell::ProtocolError), &[]).await;
    assert_eq!(within(&mut raw.driver).await.unwrap().kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn an_opener_beyond_the_limit_waits_for_room() {
    let (socket, _other) = tokio::io::duplex(1024 * 1024);
    let mut side = Box::pin(config().muxer(socket.compat(), Role::Client));
    let mut opened = Vec::new();
    for _ in 0..64 {
        opened.push(open(&mut side).await);
    }
    assert!(futures::poll!(poll_fn(|cx| side.as_mut().poll_outbound(cx))).is_pending());
    // Nobody has heard of a stream on which nothing was written.
    opened.pop();
    open(&mut side).await;
}
