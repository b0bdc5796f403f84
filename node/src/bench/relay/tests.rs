#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

const NOTHING: Profile = Profile { one_way: Duration::ZERO, bytes_per_second: None };

/// Sends back what it gets, until the client has closed its half.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn send_and_read_all(address: SocketAddr, bytes: Vec<u8>) -> Vec<u8> {
    let (mut from, mut to) = TcpStream::connect(address).await.unwrap().into_split();
    let sent = tokio::spawn(async move {
        to.write_all(&bytes).await.unwrap();
        to.shutdown().await.unwrap();
        to
    });
    let mut answer = Vec::new();
    from.read_to_end(&mut answer).await.unwrap();
    drop(sent.await.unwrap());
    answer
}

#[tokio::test]
async fn every_byte_comes_through_in_order_and_the_end_too() {
    let network = Network::new(Profile { one_way: Duration::from_millis(1), bytes_per_second: None });
    let relay = network.relay(echo().await, Manner::Good).unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let answers = tokio::join!(send_and_read_all(relay, bytes.clone()), send_and_read_all(relay, bytes.clone()));
    assert!(answers.0 == bytes && answers.1 == bytes);
}

#[tokio::test]
async fn nothing_arrives_before_its_time() {
    let one_way = Duration::from_millis(20);
    let rate = NonZeroU64::new(1_000_000);
    let network = Network::new(Profile { one_way, bytes_per_second: rate });
    let relay = network.relay(echo().await, Manner::Good).unwrap();
    let started = Instant::now();
    assert_eq!(send_and_read_all(relay, vec![7; 50_000]).await.len(), 50_000);
    // Two delays, and 50 ms until the last byte has left: the second link begins while the first one is at work.
    assert!(started.elapsed() >= 2 * one_way + Duration::from_millis(50));
}

#[tokio::test]
async fn a_slow_peer_slows_down_its_own_answers_only() {
    let network = Network::new(NOTHING);
    let server = echo().await;
    let slow = network.relay(server, Manner::Slow(NonZeroU64::new(1_000_000).unwrap())).unwrap();
    let good = network.relay(server, Manner::Good).unwrap();
    let started = Instant::now();
    let slow = async {
        send_and_read_all(slow, vec![7; 100_000]).await;
        started.elapsed()
    };
    let (slow, good) = tokio::join!(slow, send_and_read_all(good, vec![7; 100_000]));
    assert!(slow >= Duration::from_millis(100));
    assert_eq!(good.len(), 100_000);
}

#[tokio::test]
async fn a_dead_peer_says_no_more_and_keeps_its_connection() {
    let network = Network::new(NOTHING);
    let server = echo().await;
    let (dead, good) = (Manner::DeadAfter(1000), Manner::Good);
    let (dead, good) = (network.relay(server, dead).unwrap(), network.relay(server, good).unwrap());
    let mut stream = TcpStream::connect(dead).await.unwrap();
    let mut answer = [0; 400];
    for _ in 0..2 {
        stream.write_all(&[7; 400]).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
    }
    stream.write_all(&[7; 400]).await.unwrap();
    let silent = tokio::spawn(async move { stream.read(&mut answer).await });
    // By far more than is asked of the dead one comes through meanwhile.
    assert_eq!(send_and_read_all(good, vec![7; 3_000_000]).await.len(), 3_000_000);
    assert!(!silent.is_finished());
    // Only the end of the network ends the wait.
    drop(network);
    assert!(matches!(silent.await.unwrap(), Ok(0) | Err(_)));
}
