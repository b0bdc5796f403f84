//! What is fuzzed: everything in the protocol that takes bytes from strangers.
//!
//! Each target is a function of any bytes that returns, or panics where the protocol's own claims do not hold: that what
//! is decoded at any split is what is decoded at once, that what decodes encodes to the bytes it came from, that no
//! decoder asks for more than it may. `cargo fuzz` runs them with coverage (`tests/fuzz`), a test runs them over the
//! corpus and random mutations of it.

#![allow(clippy::panic, reason = "a target fails by panicking")]

mod archives;
mod containers;
mod framing;
mod seeds;

use lapis_protocol_spec::announcement;

pub use self::seeds::seeds;

/// Something to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its corpus and of its program in `tests/fuzz`.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 6] = [
    Target { name: "request", run: framing::request },
    Target { name: "response", run: framing::response },
    Target { name: "container", run: containers::container },
    Target { name: "announcement", run: self::announcement },
    Target { name: "archive", run: archives::archive },
    Target { name: "index", run: archives::index },
];

/// Runs the target with this name.
///
/// # Panics
/// If there is none, and where the target does.
pub fn run(name: &str, bytes: &[u8]) {
    match TARGETS.iter().find(|target| target.name == name) {
        Some(target) => (target.run)(bytes),
        None => panic!("no target {name}"),
    }
}

/// A message of gossip.
fn announcement(message: &[u8]) {
    if let Ok(decided) = announcement::decode_message(message) {
        containers::encodes_to(&decided, &announcement::decompress(message).unwrap_or_default());
        // It may be compressed in more than one way.
        let again = announcement::compress(&lapis_protocol_spec::encode(&decided)).ok();
        let again = again.and_then(|message| announcement::decode_message(&message).ok());
        assert!(again == Some(decided), "an announcement is not read as it is written");
    }
}

/// Cuts bytes in two: a few of them that say how to run a target, and what it is run with.
fn split_head<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((*head, rest))
}

/// Cuts `bytes` into pieces whose lengths follow from `seed`: some of one byte, some of all that is left.
fn pieces(bytes: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut state = u32::from(seed).wrapping_mul(0x9e37_79b9) | 1;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // xorshift: what matters is that the same seed gives the same cuts.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let most = match state % 5 {
            0 => 1,
            1 => 7,
            2 => 300,
            3 => 70_000,
            _ => usize::MAX,
        };
        let (piece, left) = rest.split_at(most.min(rest.len()));
        rest = left;
        Some(piece)
    })
}
