#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use lapis_p2p::{Ban, KnownPeer};
use tempfile::TempDir;

use super::*;

const HALF_LIFE: Duration = Duration::from_secs(600);

fn chain() -> Bytes32 {
    Bytes32::from([7; 32])
}

fn sample() -> Remembered {
    let known = KnownPeer {
        peer: PeerId::random(),
        addresses: vec!["/ip4/127.0.0.1/tcp/9650".parse().unwrap(), "/ip4/127.0.0.1/udp/9650/quic-v1".parse().unwrap()],
        seen: Duration::from_secs(60),
        useful_bytes: 1 << 40,
        score: -8.0,
    };
    let banned = vec![
        Ban { peer: known.peer, left: Duration::from_secs(3600) },
        Ban { peer: PeerId::random(), left: Duration::from_secs(10) },
    ];
    Remembered { known: vec![known], banned }
}

fn after(remembered: &Remembered, time: Duration) -> Remembered {
    let now = SystemTime::now();
    decode(&encode(remembered, &chain(), now).unwrap(), &chain(), HALF_LIFE, now + time).unwrap()
}

#[test]
fn what_is_written_is_read_and_time_has_passed() {
    let sample = sample();
    let at_once = after(&sample, Duration::ZERO);
    assert_eq!(at_once.known, sample.known);
    assert_eq!(at_once.banned.len(), 2);
    let later = after(&sample, HALF_LIFE);
    assert_eq!(later.known[0].seen, Duration::from_secs(660));
    assert!((later.known[0].score + 4.0).abs() < 0.01, "{:?}", later.known);
    assert_eq!(later.banned.len(), 1, "one ban is over");
    assert_eq!(later.banned[0].peer, sample.known[0].peer);
    assert!((2999..=3001).contains(&later.banned[0].left.as_secs()), "{:?}", later.banned);
    assert!(after(&sample, Duration::from_secs(3602)).banned.is_empty());
}

#[test]
fn a_clock_that_was_set_back_makes_no_ban_of_ages() {
    let (sample, now) = (sample(), SystemTime::now());
    let bytes = encode(&sample, &chain(), now).unwrap();
    let read = decode(&bytes, &chain(), HALF_LIFE, SystemTime::UNIX_EPOCH).unwrap();
    assert!(read.banned.iter().all(|ban| ban.left <= Duration::from_secs(365 * 24 * 3600)));
    assert_eq!(read.known[0].seen, Duration::ZERO);
    assert_eq!(read.known[0].score, -8.0);
}

#[test]
fn nothing_is_known_where_no_file_is() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("peers.json");
    assert_eq!(load(&path, &chain(), HALF_LIFE), Remembered::default());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_cannot_be_used_is_set_aside() {
    let sample = sample();
    let good = String::from_utf8(encode(&sample, &chain(), SystemTime::now()).unwrap()).unwrap();
    let other = Bytes32::from([8; 32]);
    let cases = [
        String::new(),
        "{".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.replace("\"version\": 1", "\"version\": 2"),
        good.replace("/tcp/", "/tpc/"),
        good.replace(&chain().to_string(), &other.to_string()),
        good.replace(&sample.known[0].peer.to_string(), "nobody"),
        " ".repeat(usize::try_from(MAX_BYTES).unwrap() + 1),
    ];
    for case in cases {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("peers.json");
        std::fs::write(&path, &case).unwrap();
        assert_eq!(load(&path, &chain(), HALF_LIFE), Remembered::default(), "{case:.80}");
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(dir.path().join("peers.json.damaged")).unwrap(), case);
    }
}

#[test]
fn a_file_is_replaced_as_a_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("peers.json");
    save(&path, &chain(), &Remembered::default()).unwrap();
    let sample = sample();
    save(&path, &chain(), &sample).unwrap();
    assert_eq!(load(&path, &chain(), HALF_LIFE).known[0].addresses, sample.known[0].addresses);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    assert!(save(&dir.path().join("no/such/dir"), &chain(), &sample).is_err());
}
