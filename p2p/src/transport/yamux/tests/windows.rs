//! Windows and budgets, as the other side sees them.

use super::{raw::Raw, *};
use crate::transport::yamux::frame::{Flags, Header, Kind};

const WINDOW: u32 = 256 * 1024;
const RAISE: u32 = 4 * MIB - WINDOW;
const PART: u32 = 64 * 1024;

fn with_budgets(connection: u32, all: &Arc<Budget>) -> Config {
    Config::new(64, connection, all.clone(), Duration::from_millis(10))
}

/// `bytes` come on `id` and are read. Returns the stream, which waits for more.
async fn deliver(raw: &mut Raw, id: u32, stream: &mut Substream, bytes: u32) {
    raw.data(id, Flags::NONE, &vec![3; bytes as usize]).await;
    within(stream.read_exact(&mut vec![0; bytes as usize])).await.unwrap();
    // What was read is told with the next wish to read.
    assert!(futures::poll!(stream.read(&mut [0])).is_pending());
}

fn update(stream: u32, bytes: u32) -> Header {
    Header::window_update(stream, Flags::NONE, bytes)
}

#[tokio::test]
async fn the_first_update_of_an_own_stream_gives_all_at_once() {
    let all = Arc::new(Budget::new(64 * MIB));
    let (mut raw, mut opened) = Raw::server(with_budgets(16 * MIB, &all), 1).await;
    let mut stream = opened.pop().unwrap();
    deliver(&mut raw, 1, &mut stream, PART - 1).await;
    assert_eq!(all.left(), 64 * MIB, "a short answer takes nothing");
    deliver(&mut raw, 1, &mut stream, 1).await;
    assert_eq!(raw.header().await, update(1, PART + RAISE));
    assert_eq!(all.left(), 64 * MIB - RAISE);
    // All of it may come, unread.
    raw.data(1, Flags::NONE, &vec![1; 4 * MIB as usize]).await;
    raw.answered().await;
    drop(stream);
    assert_eq!(all.left(), 64 * MIB);
    assert_eq!(raw.header().await, Header::reset(1));
}

#[tokio::test]
async fn streams_of_others_keep_the_first_window() {
    let all = Arc::new(Budget::new(64 * MIB));
    let mut raw = Raw::client(with_budgets(16 * MIB, &all));
    raw.data(1, Flags::SYN, &[]).await;
    let mut stream = raw.stream().await;
    deliver(&mut raw, 1, &mut stream, WINDOW / 2).await;
    assert_eq!(raw.header().await, Header::window_update(1, Flags::ACK, WINDOW / 2));
    deliver(&mut raw, 1, &mut stream, WINDOW / 2).await;
    assert_eq!(raw.header().await, update(1, WINDOW / 2));
    assert_eq!(all.left(), 64 * MIB);
}

#[tokio::test]
async fn all_connections_share_one_budget() {
    let all = Arc::new(Budget::new(RAISE + MIB));
    let (mut first, mut of_first) = Raw::server(with_budgets(16 * MIB, &all), 1).await;
    let (mut second, mut of_second) = Raw::server(with_budgets(16 * MIB, &all), 2).await;
    deliver(&mut first, 1, &mut of_first[0], PART).await;
    assert_eq!(first.header().await, update(1, PART + RAISE));
    deliver(&mut second, 1, &mut of_second[0], PART).await;
    assert_eq!(second.header().await, update(1, PART + MIB));
    // Nothing is left: the third goes on with what every stream has.
    deliver(&mut second, 3, &mut of_second[1], PART).await;
    deliver(&mut second, 3, &mut of_second[1], PART).await;
    assert_eq!(second.header().await, update(3, 2 * PART));
    // When there is something again, it has it with its next update.
    drop(of_first);
    deliver(&mut second, 3, &mut of_second[1], PART).await;
    assert_eq!(second.header().await, update(3, PART + RAISE));
    drop((of_second, second, first));
    assert_eq!(all.left(), RAISE + MIB);
}

#[tokio::test]
async fn a_connection_that_is_lost_gives_back_what_it_had() {
    let all = Arc::new(Budget::new(64 * MIB));
    let (mut raw, mut opened) = Raw::server(with_budgets(16 * MIB, &all), 1).await;
    deliver(&mut raw, 1, &mut opened[0], PART).await;
    assert_eq!(raw.header().await.kind, Kind::WindowUpdate);
    drop(raw);
    within(opened[0].read(&mut [0])).await.unwrap_err();
    drop(opened);
    assert_eq!(all.left(), 64 * MIB);
}

#[tokio::test]
async fn no_more_is_sent_than_there_is_credit_for() {
    let mut raw = Raw::client(config());
    raw.data(1, Flags::SYN, &[]).await;
    let mut stream = raw.stream().await;
    let writing = tokio::spawn(async move {
        stream.write_all(&vec![5; WINDOW as usize + 10]).await.unwrap();
        stream
    });
    let mut sent = 0;
    while sent < WINDOW {
        sent += raw.read().await.0.length;
    }
    assert_eq!(sent, WINDOW);
    raw.answered().await;
    raw.write(Header::window_update(1, Flags::NONE, 4), &[]).await;
    assert_eq!(raw.read().await.0.length, 4);
    raw.write(Header::window_update(1, Flags::NONE, 4), &[]).await;
    assert_eq!(raw.read().await.0.length, 4);
    raw.answered().await;
    raw.write(Header::window_update(1, Flags::NONE, u32::MAX - 300_000), &[]).await;
    assert_eq!(raw.read().await.0.length, 2);
    within(writing).await.unwrap();
}

/// A delta on the frame that opens a stream counts beside the first window.
#[tokio::test]
async fn a_window_update_opens_a_stream_and_gives_credit() {
    let mut raw = Raw::client(config());
    raw.write(Header::window_update(1, Flags::SYN, 100), &[]).await;
    let mut stream = raw.stream().await;
    let writing = tokio::spawn(async move { stream.write_all(&vec![5; WINDOW as usize + 101]).await });
    let mut sent = 0;
    while sent < WINDOW + 100 {
        sent += raw.read().await.0.length;
    }
    assert_eq!(sent, WINDOW + 100);
    raw.write(Header::reset(1), &[]).await;
    assert_eq!(within(writing).await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
