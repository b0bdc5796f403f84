//! Every target over its corpus, the published vectors and random mutations of both: what `cargo fuzz` does for longer and
//! with coverage, without a nightly compiler.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{fs, path::Path};

use lapis_fuzzing::{TARGETS, Target, seeds};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Mutations of each target. All of them take some seconds.
const MUTATIONS: usize = 200_000;
/// Longest input that is mutated: each costs its length.
const LONGEST: usize = 64 * 1024;

/// The files that `cargo fuzz` found worth keeping.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target.name);
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a target; on a panic the input is shown. Memory is bounded by what came in: snappy makes at most 64 bytes of
/// three, and a decoder may hold what it reads twice.
fn run(target: &Target, input: &[u8]) {
    let used = allocation_counter::measure(|| {
        let outcome = std::panic::catch_unwind(|| (target.run)(input));
        assert!(outcome.is_ok(), "{} fails with {}", target.name, hex::encode(input));
    });
    let bound = 256 * input.len() as u64 + 1024 * 1024;
    assert!(used.bytes_max <= bound, "{} takes {} bytes for {}", target.name, used.bytes_max, hex::encode(input));
}

fn mutate(input: &[u8], other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if at < bytes.len() => bytes[at] = *[0, 1, 0x7f, 0x80, 0xfe, 0xff].choose(rng).unwrap(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.random()),
            4 => drop(bytes.drain(at..bytes.len().min(at + rng.random_range(0..64)))),
            5 => {
                let from = rng.random_range(0..=other.len());
                let piece = &other[from..other.len().min(from + rng.random_range(0..256))];
                bytes.splice(at..at, piece.iter().copied());
            }
            _ => {
                let number = rng.random::<u64>() >> rng.random_range(0..64);
                let end = bytes.len().min(at + 8);
                let length = end - at;
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..length]);
            }
        }
    }
    bytes
}

#[test]
fn nothing_that_strangers_send_breaks_what_reads_it() {
    let mut rng = StdRng::seed_from_u64(0x1a91_5000);
    for target in &TARGETS {
        let mut inputs = seeds(target.name);
        assert!(!inputs.is_empty(), "{} has no seeds", target.name);
        inputs.extend(corpus(target));
        inputs.iter().for_each(|input| run(target, input));
        inputs.retain(|input| input.len() <= LONGEST);
        for _ in 0..MUTATIONS {
            let (input, other) = (inputs.choose(&mut rng).unwrap(), inputs.choose(&mut rng).unwrap());
            run(target, &mutate(input, other, &mut rng));
        }
    }
}

#[test]
fn every_target_has_its_program() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/Cargo.toml")).unwrap();
    for target in &TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
    }
}
