#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

fn frame(kind: u8, flags: u16, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0, kind];
    out.extend(flags.to_be_bytes());
    out.extend(stream.to_be_bytes());
    out.extend(length.to_be_bytes());
    out.extend(body);
    out
}

#[test]
fn flags_are_seen_at_every_split_and_bodies_are_skipped() {
    let mut bytes = frame(DATA, 0, 1, 24, &frame(1, FIN, 9, 0, &[0; 12]));
    bytes.extend(frame(1, FIN, 3, 4096, &[]));
    bytes.extend(frame(DATA, FIN, 5, 2, &[0xff, 0xff]));
    bytes.extend(frame(1, RESET, 7, 0, &[]));
    for piece in 1..bytes.len() {
        let (mut frames, mut seen) = (Frames::default(), Vec::new());
        for chunk in bytes.chunks(piece) {
            frames.push(chunk, |stream, flags| seen.push((stream, flags)));
        }
        assert_eq!(seen, [(3, FIN), (5, FIN), (7, RESET)], "pieces of {piece}");
        assert!(frames.is_between());
    }
}

#[test]
fn flags_are_told_when_the_body_has_passed() {
    let bytes = frame(DATA, FIN, 5, 3, &[1, 2, 3]);
    let (mut frames, mut seen) = (Frames::default(), Vec::new());
    let (all_but_one, last) = bytes.split_at(bytes.len() - 1);
    frames.push(all_but_one, |stream, flags| seen.push((stream, flags)));
    assert_eq!(seen, [], "a body that broke off is no end");
    frames.push(last, |stream, flags| seen.push((stream, flags)));
    assert_eq!(seen, [(5, FIN)]);
}

#[test]
fn only_watched_streams_are_remembered() {
    let ends = Ends::default();
    ends.watch(1);
    ends.received(1, FIN);
    ends.received(3, FIN);
    assert!(ends.has_ended(1) && !ends.has_ended(3));
    assert_eq!(ends.streams().ends.len(), 1);
    ends.forget(1);
    assert!(ends.streams().ends.is_empty());
}

#[test]
fn an_end_after_a_reset_is_none() {
    let ends = Ends::default();
    ends.watch(1);
    ends.received(1, RESET);
    ends.received(1, FIN);
    assert!(!ends.has_ended(1));
}

#[test]
fn the_reset_of_an_abandoned_stream_waits_for_its_end() {
    let ends = Ends::default();
    ends.watch(1);
    ends.abandon(1);
    assert_eq!(ends.next_reset(), None);
    ends.sent(1, FIN);
    assert_eq!(ends.next_reset(), Some(1));
    ends.watch(3);
    ends.sent(3, FIN);
    ends.abandon(3);
    assert_eq!(ends.next_reset(), Some(3));
    assert_eq!(ends.next_reset(), None);
    assert!(ends.streams().ends.is_empty());
}

#[test]
fn resets_that_wait_are_bounded() {
    let ends = Ends::default();
    for stream in 0..100_000 {
        ends.reset(stream);
    }
    assert_eq!(ends.streams().resets.len(), WAITING_RESETS);
}
