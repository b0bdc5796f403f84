#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::{collection::vec, prelude::*, sample::Index};
use rand_core::OsRng;

use super::*;
use crate::{
    Bytes64, Validator, Value,
    fixtures::{Committee, genesis, successor},
};

const MAX_BLOBS: u64 = 6;

/// All encodings of points of small order that ZIP 215 admits, canonical or not. With one of them as the key and one as
/// the first half, and a second half of zero, a signature is valid for every message.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

/// The order of the group, little endian: the least second half of a signature that is not canonical.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

fn small_order(at: usize) -> Bytes32 {
    Bytes32::from_hex(SMALL_ORDER[at % SMALL_ORDER.len()]).unwrap()
}

/// Four members with keys and two whose keys are points of small order.
struct Mixed {
    committee: Committee,
    set: ValidatorSet,
}

impl Mixed {
    fn new(small: [usize; 2], power: u64) -> Self {
        let committee = Committee::equal(4);
        let small = [small[0], if small[1] % 14 == small[0] % 14 { small[1] + 1 } else { small[1] }];
        let weak = small.map(|at| Validator { public_key: small_order(at), power });
        let members = committee.set.validators.iter().cloned().chain(weak).collect();
        Self { set: ValidatorSet::new(members).unwrap(), committee }
    }

    /// `value` signed by all, by those of small order with the point `first`.
    fn decide(&self, genesis_id: Bytes32, value: Value, first: usize) -> DecidedValue {
        let mut decided = self.committee.decide(genesis_id, value, &[0, 1, 2, 3]);
        for validator in self.set.validators.iter() {
            if self.committee.set.validators.contains(validator) {
                continue;
            }
            let mut signature = Bytes64::ZERO;
            signature.0[..32].copy_from_slice(&small_order(first).0);
            decided.certificate.signatures.push(CommitSignature { address: validator.address(), signature });
        }
        decided
    }
}

/// What is done to one signature of a chain.
#[derive(Clone, Debug)]
enum Damage {
    Bit(u16),
    /// The first half becomes a point of small order.
    SmallPoint(usize),
    /// The second half is zero.
    ZeroScalar,
    /// The second half plus the order of the group: the same number, not in its canonical form.
    NotCanonical,
    /// The first half is no point.
    NoPoint,
    /// That of the next signer.
    Neighbour,
    /// It signs something else.
    Round,
    /// Somebody else's address.
    Stranger,
    /// Its signer is named once more.
    Twice,
    /// It is missing, and so may be the power.
    Missing,
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..512_u16).prop_map(Damage::Bit),
        (0..14_usize).prop_map(Damage::SmallPoint),
        Just(Damage::ZeroScalar),
        Just(Damage::NotCanonical),
        Just(Damage::NoPoint),
        Just(Damage::Neighbour),
        Just(Damage::Round),
        Just(Damage::Stranger),
        Just(Damage::Twice),
        Just(Damage::Missing),
    ]
}

fn add(number: &mut [u8], other: &[u8]) {
    let mut carry = 0;
    for (left, right) in number.iter_mut().zip(other) {
        let sum = u16::from(*left) + u16::from(*right) + carry;
        *left = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

impl Damage {
    fn apply(&self, decided: &mut DecidedValue, signer: Index) {
        let certificate = &mut decided.certificate;
        let count = certificate.signatures.len();
        if count == 0 {
            return;
        }
        let at = signer.index(count);
        let neighbour = certificate.signatures[(at + 1) % count].clone();
        let bytes = &mut certificate.signatures[at].signature.0;
        match self {
            Self::Bit(bit) => bytes[usize::from(bit / 8)] ^= 1 << (bit % 8),
            Self::SmallPoint(point) => bytes[..32].copy_from_slice(&small_order(*point).0),
            Self::ZeroScalar => bytes[32..].fill(0),
            Self::NotCanonical => add(&mut bytes[32..], &Bytes32::from_hex(ORDER).unwrap().0),
            // y = 2 is on no point of the curve.
            Self::NoPoint => bytes[..32].copy_from_slice(&[&[2][..], &[0; 31]].concat()),
            Self::Neighbour => *bytes = neighbour.signature.0,
            Self::Round => certificate.round += 1,
            Self::Stranger => certificate.signatures[at].address.0[0] ^= 1,
            Self::Twice => certificate.signatures.push(neighbour),
            Self::Missing => certificate.signatures = certificate.signatures[..at].to_vec().try_into().unwrap(),
        }
    }
}

/// A chain from genesis in which two sets take turns, `turn` heights each.
fn chain(sets: &[Mixed; 2], length: usize, turn: usize, first: usize) -> (Bytes32, ChainLink, VecDeque<DecidedValue>) {
    let genesis = genesis(&sets[0].set);
    let (id, start) = (genesis.id(), ChainLink::genesis(&genesis));
    let mut tip = start;
    let values = (0..length).map(|at| {
        let set = |at: usize| &sets[(at / turn) % 2];
        let decided = set(at).decide(id, successor(&tip, &set(at + 1).set), first);
        tip = ChainLink::after(&decided.value, decided.value.id());
        decided
    });
    (id, start, values.collect())
}

/// As a caller does: run after run, each with the set that the last value names.
fn by_runs(
    (id, mut tip, mut values): (Bytes32, ChainLink, VecDeque<DecidedValue>),
    sets: &[Mixed; 2],
) -> (Vec<Verified<DecidedValue>>, Option<CertificateFault>, VecDeque<DecidedValue>) {
    let mut verified = Vec::new();
    while !values.is_empty() {
        let set = sets.iter().find(|set| set.set.root() == tip.next_validators_root).unwrap();
        let run = DecidedValue::verify_run(&mut values, &id, MAX_BLOBS, &tip, &set.set, &mut OsRng);
        assert!(!run.verified.is_empty() || run.fault.is_some(), "a call gets on");
        if let Some(last) = run.verified.last() {
            tip = ChainLink::after(&last.value, *last.value_id());
        }
        verified.extend(run.verified);
        if run.fault.is_some() {
            return (verified, run.fault, values);
        }
    }
    (verified, None, values)
}

/// One value after the other, one signature after the other.
fn one_by_one(
    (id, mut tip, mut values): (Bytes32, ChainLink, VecDeque<DecidedValue>),
    sets: &[Mixed; 2],
) -> (Vec<Verified<DecidedValue>>, Option<CertificateFault>, VecDeque<DecidedValue>) {
    let mut verified = Vec::new();
    while let Some(next) = values.front() {
        let set = sets.iter().find(|set| set.set.root() == tip.next_validators_root).unwrap();
        match next.clone().verify(&id, MAX_BLOBS, &tip, &set.set) {
            Ok(value) => {
                tip = ChainLink::after(&value.value, *value.value_id());
                verified.push(value);
                values.pop_front();
            }
            Err(fault) => return (verified, Some(fault), values),
        }
    }
    (verified, None, values)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn together_is_as_one_by_one(
        (length, turn) in (1..12_usize, 1..6_usize),
        small in any::<[[u8; 2]; 2]>(),
        first in 0..14_usize,
        power in 1..6_u64,
        damages in vec((damage(), any::<Index>(), any::<Index>()), 0..4),
        broken_link in proptest::option::of(any::<Index>()),
    ) {
        let sets = small.map(|small| Mixed::new(small.map(usize::from), power));
        let (id, tip, mut values) = chain(&sets, length, turn, first);
        for (damage, at, signer) in damages {
            damage.apply(&mut values[at.index(length)], signer);
        }
        if let Some(at) = broken_link {
            values[at.index(length)].value.timestamp = 0;
        }
        let expected = one_by_one((id, tip, values.clone()), &sets);
        prop_assert_eq!(by_runs((id, tip, values), &sets), expected);
    }
}

#[test]
fn every_pair_of_points_of_small_order_signs_everything() {
    for key in 0..SMALL_ORDER.len() {
        let sets = [Mixed::new([key, key + 1], 3), Mixed::new([key + 2, key + 3], 3)];
        for first in 0..SMALL_ORDER.len() {
            let chain = chain(&sets, 3, 2, first);
            let (verified, fault, rest) = by_runs(chain.clone(), &sets);
            assert_eq!((verified.len(), fault, rest.len()), (3, None, 0), "key {key}, point {first}");
            assert_eq!(one_by_one(chain, &sets).0, verified);
        }
    }
}

/// In a sum without coefficients these two would make up for each other.
#[test]
fn errors_that_cancel_out_are_found() {
    let sets = [Mixed::new([0, 1], 1), Mixed::new([0, 1], 1)];
    let (id, tip, mut values) = chain(&sets, 4, 9, 0);
    let (one, minus_one) = ([&[1][..], &[0; 31]].concat(), [0xff; 32]);
    add(&mut values[1].certificate.signatures[2].signature.0[32..], &one);
    add(&mut values[2].certificate.signatures[2].signature.0[32..], &minus_one);
    let culprit = values[1].certificate.signatures[2].address;
    let (verified, fault, rest) = by_runs((id, tip, values), &sets);
    assert_eq!((verified.len(), fault, rest.len()), (1, Some(CertificateFault::Signature(culprit)), 3));
}

#[test]
fn a_run_ends_before_too_many_signatures_and_takes_a_certificate_of_any_size() {
    let sets = [Mixed::new([0, 1], 1), Mixed::new([0, 1], 1)];
    let of_six = MAX_BATCH_SIGNATURES / 6;
    let (id, tip, mut values) = chain(&sets, of_six + 2, usize::MAX / 2, 0);
    let run = DecidedValue::verify_run(&mut values, &id, MAX_BLOBS, &tip, &sets[0].set, &mut OsRng);
    assert_eq!((run.verified.len(), run.fault, values.len()), (of_six, None, 2));

    let all: Vec<(u8, u64)> = (0..=u8::MAX).map(|seed| (seed, 1)).collect();
    let large = Committee::new(&all);
    let genesis = genesis(&large.set);
    let tip = ChainLink::genesis(&genesis);
    let signers: Vec<usize> = (0..all.len()).collect();
    let mut values = VecDeque::from([large.decide(genesis.id(), successor(&tip, &large.set), &signers)]);
    let run = DecidedValue::verify_run(&mut values, &genesis.id(), MAX_BLOBS, &tip, &large.set, &mut OsRng);
    assert_eq!((run.verified.len(), run.fault, values.len()), (1, None, 0));
}

#[test]
fn nothing_holds_under_another_set() {
    let sets = [Mixed::new([0, 1], 1), Mixed::new([2, 3], 1)];
    let (id, tip, mut values) = chain(&sets, 2, 9, 0);
    let run = DecidedValue::verify_run(&mut values, &id, MAX_BLOBS, &tip, &sets[1].set, &mut OsRng);
    assert_eq!((run.verified.len(), run.fault, values.len()), (0, Some(CertificateFault::OtherSet), 2));
}
