#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::{
    Genesis, Validator,
    fixtures::{Committee, genesis, successor},
};

/// A committee, its genesis, and what the first height attaches to.
struct Chain {
    committee: Committee,
    genesis: Genesis,
    tip: ChainLink,
}

impl Chain {
    fn new(committee: Committee) -> Self {
        let genesis = genesis(&committee.set);
        let tip = ChainLink::genesis(&genesis);
        Self { committee, genesis, tip }
    }

    fn of_four() -> Self {
        Self::new(Committee::equal(4))
    }

    fn value(&self) -> Value {
        successor(&self.tip, &self.committee.set)
    }

    fn decide(&self, signers: &[usize]) -> DecidedValue {
        self.committee.decide(self.genesis.id(), self.value(), signers)
    }

    fn verify(&self, decided: DecidedValue) -> Result<Verified<DecidedValue>, CertificateFault> {
        decided.verify(&self.genesis.id(), self.genesis.max_blobs_per_block, &self.tip, &self.committee.set)
    }

    fn fault(&self, decided: DecidedValue) -> CertificateFault {
        self.verify(decided).unwrap_err()
    }

    /// A certificate of three signers whose signatures are over `message`.
    fn signed_over(&self, message: &[u8]) -> DecidedValue {
        let mut decided = self.decide(&[0, 1, 2]);
        for at in 0..3 {
            decided.certificate.signatures[at] = self.committee.sign(self.committee.address(at), message);
        }
        decided
    }

    fn message(&self, decided: &DecidedValue, kind: VoteKind) -> VoteSigningData {
        let CommitCertificate { height, round, value_id, .. } = decided.certificate;
        let bytes = VoteSigningData::signing_bytes(self.genesis.id(), kind, height, round, value_id);
        ssz::decode(&bytes).unwrap()
    }
}

/// Changes one field of what the votes sign and expects that no signature verifies any more.
fn assert_signature_is_bound(change: impl FnOnce(&mut VoteSigningData)) {
    let chain = Chain::of_four();
    let mut message = chain.message(&chain.decide(&[0, 1, 2]), VoteKind::Precommit);
    chain.verify(chain.signed_over(&ssz::encode(&message))).unwrap();
    change(&mut message);
    let decided = chain.signed_over(&ssz::encode(&message));
    assert_eq!(chain.fault(decided), CertificateFault::Signature(chain.committee.address(0)));
}

#[test]
fn three_of_four_decide() {
    let chain = Chain::of_four();
    let decided = chain.decide(&[0, 1, 2]);
    let verified = chain.verify(decided.clone()).unwrap();
    assert_eq!(verified.value_id(), &decided.value.id());
    assert_eq!(verified.height(), 1);
    assert_eq!(verified.into_inner(), decided);
}

#[test]
fn signatures_may_come_in_any_order() {
    let chain = Chain::of_four();
    chain.verify(chain.decide(&[3, 0, 2, 1])).unwrap();
}

#[test]
fn no_signatures_at_all() {
    let chain = Chain::of_four();
    assert_eq!(chain.fault(chain.decide(&[])), CertificateFault::Power { signed: 0, total: 4 });
}

#[test]
fn power_below_two_thirds() {
    let chain = Chain::of_four();
    assert_eq!(chain.fault(chain.decide(&[0, 1])), CertificateFault::Power { signed: 2, total: 4 });
}

#[test]
fn power_at_two_thirds_exactly() {
    let chain = Chain::new(Committee::equal(3));
    assert_eq!(chain.fault(chain.decide(&[0, 2])), CertificateFault::Power { signed: 2, total: 3 });
}

#[test]
fn power_just_above_two_thirds() {
    let chain = Chain::new(Committee::new(&[(1, 200), (2, 1), (3, 99)]));
    let position = |power| chain.committee.set.validators.iter().position(|member| member.power == power).unwrap();
    let (large, one) = (position(200), position(1));
    assert_eq!(chain.fault(chain.decide(&[large])), CertificateFault::Power { signed: 200, total: 300 });
    chain.verify(chain.decide(&[large, one])).unwrap();
}

#[test]
fn power_near_the_limit_does_not_overflow() {
    let half = (1 << 62) - 1;
    let chain = Chain::new(Committee::new(&[(1, half), (2, half), (3, 1)]));
    let signers: Vec<usize> = (0..3).filter(|at| chain.committee.set.validators[*at].power == half).collect();
    chain.verify(chain.decide(&signers)).unwrap();
    let fault = chain.fault(chain.decide(&signers[..1]));
    assert_eq!(fault, CertificateFault::Power { signed: half, total: (1 << 63) - 1 });
}

#[test]
fn duplicate_signer() {
    let chain = Chain::of_four();
    let fault = chain.fault(chain.decide(&[0, 1, 1]));
    assert_eq!(fault, CertificateFault::DuplicateSigner(chain.committee.address(1)));
}

#[test]
fn unknown_signer() {
    let chain = Chain::of_four();
    let stranger = Committee::new(&[(200, 1)]);
    let mut decided = chain.decide(&[0, 1, 2, 3]);
    let message = ssz::encode(&chain.message(&decided, VoteKind::Precommit));
    decided.certificate.signatures[3] = stranger.sign(stranger.address(0), &message);
    assert_eq!(chain.fault(decided), CertificateFault::UnknownSigner(stranger.address(0)));
}

#[test]
fn one_bad_signature_beside_enough_good_ones() {
    let chain = Chain::of_four();
    let mut decided = chain.decide(&[0, 1, 2, 3]);
    decided.certificate.signatures[3].signature.0[0] ^= 1;
    assert_eq!(chain.fault(decided), CertificateFault::Signature(chain.committee.address(3)));
}

#[test]
fn signature_of_another_member() {
    let chain = Chain::of_four();
    let mut decided = chain.decide(&[0, 1, 2]);
    decided.certificate.signatures[2].address = chain.committee.address(3);
    assert_eq!(chain.fault(decided), CertificateFault::Signature(chain.committee.address(3)));
}

#[test]
fn signature_over_another_height() {
    assert_signature_is_bound(|message| message.height += 1);
}

#[test]
fn signature_over_another_round() {
    assert_signature_is_bound(|message| message.round += 1);
}

#[test]
fn signature_over_another_value() {
    assert_signature_is_bound(|message| message.value_id.0[0] ^= 1);
}

#[test]
fn signature_over_a_prevote() {
    assert_signature_is_bound(|message| message.kind = 1);
}

#[test]
fn signature_not_bound_to_the_chain() {
    assert_signature_is_bound(|message| message.genesis_id.0[31] ^= 1);
}

#[test]
fn signature_in_another_domain() {
    assert_signature_is_bound(|message| message.domain.0[0] ^= 1);
}

#[test]
fn round_in_the_certificate_is_what_the_votes_sign() {
    let chain = Chain::of_four();
    let mut decided = chain.decide(&[0, 1, 2]);
    decided.certificate.round += 1;
    assert_eq!(chain.fault(decided), CertificateFault::Signature(chain.committee.address(0)));
}

#[test]
fn votes_sign_113_bytes_with_the_kind_after_the_ids() {
    let bytes = VoteSigningData::signing_bytes([7; 32].into(), VoteKind::Prevote, 1, 2, [9; 32].into());
    let mut expected = Sha256::digest(b"lapis/vote/1").to_vec();
    expected.extend([7; 32]);
    expected.push(1);
    expected.extend(1_u64.to_le_bytes());
    expected.extend(2_u64.to_le_bytes());
    expected.extend([9; 32]);
    assert_eq!(bytes, expected);
    assert_eq!(VoteSigningData::signing_bytes([7; 32].into(), VoteKind::Precommit, 1, 2, [9; 32].into())[64], 2);
}

#[test]
fn certificate_of_another_height() {
    let chain = Chain::of_four();
    let mut decided = chain.decide(&[0, 1, 2]);
    decided.certificate.height = 2;
    assert_eq!(chain.fault(decided), CertificateFault::CertificateHeight { certificate: 2, value: 1 });
}

#[test]
fn u1_value_id_taken_from_the_wire() {
    let chain = Chain::of_four();
    let mut decided = chain.decide(&[0, 1, 2]);
    decided.value.payload_digest.0[0] ^= 1;
    assert_eq!(chain.fault(decided), CertificateFault::CertificateValue);
}

#[test]
fn every_field_of_a_value_is_part_of_its_id() {
    let changes: [fn(&mut Value); 12] = [
        |value| value.height += 1,
        |value| value.timestamp += 1,
        |value| value.parent_value_id.0[0] ^= 1,
        |value| value.proposer.0[0] ^= 1,
        |value| value.validators_root.0[0] ^= 1,
        |value| value.next_validators_root.0[0] ^= 1,
        |value| value.block_hash.0[0] ^= 1,
        |value| value.parent_block_hash.0[0] ^= 1,
        |value| value.payload_digest.0[0] ^= 1,
        |value| value.payload_size += 1,
        |value| value.requests_hash.0[0] ^= 1,
        |value| value.blob_kzg_commitments.push([0; 48].into()),
    ];
    let chain = Chain::of_four();
    let id = chain.value().id();
    for change in changes {
        let mut value = chain.value();
        change(&mut value);
        assert_ne!(value.id(), id, "{value:?}");
    }
}

#[test]
fn set_at_hand_is_not_the_one_that_signs() {
    let chain = Chain::of_four();
    let other = Committee::equal(5);
    let decided = chain.decide(&[0, 1, 2]);
    let fault = decided.verify(&chain.genesis.id(), 6, &chain.tip, &other.set).unwrap_err();
    assert_eq!(fault, CertificateFault::OtherSet);
}

#[test]
fn unsorted_set() {
    let chain = Chain::of_four();
    let mut reversed: Vec<Validator> = chain.committee.set.validators.to_vec();
    reversed.reverse();
    let unsorted = ValidatorSet { validators: reversed.try_into().unwrap() };
    // A chain whose genesis names the unsorted set by its root: nothing can be decided by it.
    let tip = ChainLink { next_validators_root: unsorted.root(), ..chain.tip };
    let value = successor(&tip, &chain.committee.set);
    let decided = chain.committee.decide(chain.genesis.id(), value, &[0, 1, 2, 3]);
    let fault = decided.verify(&chain.genesis.id(), 6, &tip, &unsorted).unwrap_err();
    assert_eq!(fault, CertificateFault::IllegalSet(ValidatorSetFault::NotSorted(1)));
}

#[test]
fn set_is_not_the_one_of_the_previous_value() {
    let chain = Chain::of_four();
    let usurpers = Committee::equal(5);
    let mut value = chain.value();
    value.validators_root = usurpers.set.root();
    let decided = usurpers.decide(chain.genesis.id(), value, &[0, 1, 2, 3, 4]);
    let fault = decided.verify(&chain.genesis.id(), 6, &chain.tip, &usurpers.set).unwrap_err();
    assert_eq!(fault, CertificateFault::ValidatorsRoot);
}

#[test]
fn broken_parent_link() {
    let chain = Chain::of_four();
    let mut value = chain.value();
    value.parent_value_id = [1; 32].into();
    let decided = chain.committee.decide(chain.genesis.id(), value, &[0, 1, 2]);
    assert_eq!(chain.fault(decided), CertificateFault::ParentValue);
}

#[test]
fn execution_block_does_not_attach() {
    let chain = Chain::of_four();
    let mut value = chain.value();
    value.parent_block_hash = [1; 32].into();
    let decided = chain.committee.decide(chain.genesis.id(), value, &[0, 1, 2]);
    assert_eq!(chain.fault(decided), CertificateFault::ParentBlock);
}

#[test]
fn time_stands_still() {
    let chain = Chain::of_four();
    let parent = chain.genesis.genesis_time;
    let mut value = chain.value();
    value.timestamp = parent;
    let decided = chain.committee.decide(chain.genesis.id(), value, &[0, 1, 2]);
    assert_eq!(chain.fault(decided), CertificateFault::Timestamp { found: parent, parent });
}

#[test]
fn more_blobs_than_the_chain_allows() {
    let chain = Chain::of_four();
    let decide = |count: usize| {
        let mut value = chain.value();
        value.blob_kzg_commitments = vec![[0xc0; 48].into(); count].try_into().unwrap();
        chain.committee.decide(chain.genesis.id(), value, &[0, 1, 2])
    };
    chain.verify(decide(6)).unwrap();
    assert_eq!(chain.fault(decide(7)), CertificateFault::TooManyBlobs { found: 7, limit: 6 });
}

#[test]
fn gap_repetition_and_height_zero() {
    let chain = Chain::of_four();
    let first = chain.decide(&[0, 1, 2]);
    let tip = ChainLink::after(&first.value, first.value.id());
    for found in [0, 1, 3, u64::MAX] {
        let mut value = successor(&tip, &chain.committee.set);
        value.height = found;
        assert_eq!(value.check_link(&tip), Err(CertificateFault::Height { found, expected: 2 }));
    }
    assert_eq!(successor(&tip, &chain.committee.set).check_link(&tip), Ok(()));
}

#[test]
fn no_height_follows_the_last_one() {
    let chain = Chain::of_four();
    let tip = ChainLink { height: u64::MAX, ..chain.tip };
    for found in [0, u64::MAX] {
        let value = Value { height: found, ..chain.value() };
        assert_eq!(value.check_link(&tip), Err(CertificateFault::Height { found, expected: u64::MAX }));
    }
}

#[test]
fn set_changes_at_a_height_and_back() {
    let (old, new) = (Committee::equal(4), Committee::new(&[(1, 5), (9, 1)]));
    let chain = Chain::new(Committee::equal(4));
    let genesis_id = chain.genesis.id();
    let mut tip = chain.tip;
    // Height 1 is signed by the old set and names the new one; height 2 by the new one and names the old one again.
    for (signs, next, signers) in [(&old, &new, &[0, 1, 2][..]), (&new, &old, &[0, 1]), (&old, &old, &[1, 2, 3])] {
        let decided = signs.decide(genesis_id, successor(&tip, &next.set), signers);
        let wrong = if std::ptr::eq(signs, &old) { &new } else { &old };
        let fault = decided.clone().verify(&genesis_id, 6, &tip, &wrong.set).unwrap_err();
        assert_eq!(fault, CertificateFault::OtherSet);
        let verified = decided.verify(&genesis_id, 6, &tip, &signs.set).unwrap();
        tip = ChainLink::after(&verified.value, *verified.value_id());
    }
    assert_eq!(tip.height, 3);
}

#[test]
fn an_announcement_is_checked_without_its_place_in_the_chain() {
    let chain = Chain::of_four();
    let tip = ChainLink { height: 41, value_id: [3; 32].into(), ..chain.tip };
    let decided = chain.committee.decide(chain.genesis.id(), successor(&tip, &chain.committee.set), &[0, 1, 2]);
    let id = decided.check_certificate(&chain.genesis.id(), &chain.committee.set).unwrap();
    assert_eq!(id, decided.value.id());
    assert_eq!(chain.fault(decided), CertificateFault::Height { found: 42, expected: 1 });
}

#[test]
fn cheap_checks_come_before_signatures() {
    let chain = Chain::of_four();
    let mut decided = chain.decide(&[0, 1]);
    decided.certificate.signatures[0].signature = Bytes64::ZERO;
    assert_eq!(chain.fault(decided), CertificateFault::Power { signed: 2, total: 4 });
}

#[test]
fn encoded_length_is_known_without_encoding() {
    let chain = Chain::of_four();
    for (signers, blobs) in [(&[] as &[usize], 0), (&[0, 1, 2], 0), (&[0, 1, 2, 3], 7)] {
        let mut decided = chain.decide(signers);
        decided.value.blob_kzg_commitments = vec![crate::Bytes48::ZERO; blobs].try_into().unwrap();
        assert_eq!(decided.encoded_len(), ssz::encode(&decided).len());
    }
}
