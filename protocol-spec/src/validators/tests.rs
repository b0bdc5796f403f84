#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

fn validator(seed: u16, power: u64) -> Validator {
    let mut public_key = Bytes32::ZERO;
    public_key.0[..2].copy_from_slice(&seed.to_be_bytes());
    Validator { public_key, power }
}

fn unchecked(validators: Vec<Validator>) -> ValidatorSet {
    ValidatorSet { validators: validators.try_into().unwrap() }
}

#[test]
fn address_is_the_head_of_the_keys_sha256() {
    // sha256 of 32 zero bytes.
    let expected = Address::from_hex("66687aadf862bd776c8fc18b8e9f8e2008971485").unwrap();
    assert_eq!(Validator::default().address(), expected);
}

#[test]
fn new_sorts_by_address() {
    let set = ValidatorSet::new((0..50).map(|seed| validator(seed, 1)).collect()).unwrap();
    assert!(set.validators.windows(2).all(|pair| pair[0].address() < pair[1].address()));
    assert_eq!(set.total_power(), 50);
    assert_eq!(set.by_address().len(), 50);
    set.check().unwrap();
    set.check_root(&set.root()).unwrap();
}

#[test]
fn empty_set() {
    assert_eq!(ValidatorSet::new(vec![]), Err(ValidatorSetFault::Empty));
    assert_eq!(ValidatorSet::default().check(), Err(ValidatorSetFault::Empty));
}

#[test]
fn too_many_members() {
    let members = |count| (0..count).map(|seed| validator(seed, 1)).collect::<Vec<_>>();
    ValidatorSet::new(members(1024)).unwrap();
    assert_eq!(ValidatorSet::new(members(1025)), Err(ValidatorSetFault::TooMany));
}

#[test]
fn unsorted_members() {
    let mut members = ValidatorSet::new((0..4).map(|seed| validator(seed, 1)).collect()).unwrap().validators.to_vec();
    members.swap(1, 2);
    assert_eq!(unchecked(members).check(), Err(ValidatorSetFault::NotSorted(2)));
}

#[test]
fn duplicate_member() {
    let members = vec![validator(1, 1), validator(1, 2)];
    assert_eq!(unchecked(members.clone()).check(), Err(ValidatorSetFault::NotSorted(1)));
    assert_eq!(ValidatorSet::new(members), Err(ValidatorSetFault::NotSorted(1)));
}

#[test]
fn member_without_power() {
    assert_eq!(ValidatorSet::new(vec![validator(1, 0)]), Err(ValidatorSetFault::NoPower(0)));
}

#[test]
fn total_power_of_two_to_the_63() {
    let half = 1 << 62;
    ValidatorSet::new(vec![validator(1, half), validator(2, half - 1)]).unwrap();
    for powers in [[half, half], [u64::MAX, 1], [1, u64::MAX]] {
        let members = powers.into_iter().zip(1..).map(|(power, seed)| validator(seed, power)).collect();
        assert_eq!(ValidatorSet::new(members), Err(ValidatorSetFault::PowerOverflow));
    }
}

#[test]
fn another_set_than_asked_for() {
    let set = ValidatorSet::new(vec![validator(1, 1)]).unwrap();
    let expected = Bytes32::from([1; 32]);
    assert_eq!(set.check_root(&expected), Err(ValidatorSetFault::OtherRoot { found: set.root(), expected }));
}

#[test]
fn root_depends_on_order_keys_and_powers() {
    let roots: std::collections::HashSet<_> = [
        vec![validator(1, 1), validator(2, 1)],
        vec![validator(2, 1), validator(1, 1)],
        vec![validator(1, 1), validator(2, 2)],
        vec![validator(1, 1)],
    ]
    .into_iter()
    .map(|members| unchecked(members).root())
    .collect();
    assert_eq!(roots.len(), 4);
}
