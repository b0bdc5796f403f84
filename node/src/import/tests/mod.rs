//! The plan against a simulated engine, in simulated time.

mod world;

use std::time::Duration;

use proptest::prelude::*;
use rand::{SeedableRng, rngs::StdRng};

use self::world::{Client, World};
use super::step::{Answer, Obstacle, Step};
use crate::execution::Trouble;

#[test]
fn a_block_is_offered_then_made_the_head_then_saved() {
    let mut world = World::new(Client::at(7), 7, 8);
    world.settle();
    let expected = [Step::Stand, Step::Forkchoice(7), Step::Offer(8), Step::Forkchoice(8), Step::Save(8)];
    assert_eq!(world.log, expected);
}

#[test]
fn a_client_that_is_ahead_is_not_taken_back() {
    let mut world = World::new(Client::at(9), 4, 7);
    world.settle();
    assert_eq!(world.log, [Step::Stand, Step::Forkchoice(9), Step::Save(7)]);
    // What it has is saved when this node has it too, and what comes after it is offered.
    world.marks.available = 10;
    world.log.clear();
    world.settle();
    let expected = [Step::Save(9), Step::Offer(10), Step::Forkchoice(10), Step::Save(10)];
    assert_eq!(world.log, expected);
}

#[test]
fn a_client_that_takes_payloads_whose_state_it_lacks_is_fed_from_further_and_further_below() {
    // It calls blocks valid that it knows by name, and follows none above those that it has executed.
    let mut world = World::new(Client::at(3), 40, 41);
    world.client.claims = Some(40);
    world.client.believes_claims = true;
    world.settle();
    assert_eq!(world.client.head, 41);
}

#[test]
fn a_long_way_takes_one_forkchoice_update_per_batch() {
    let mut world = World::new(Client::at(0), 0, 10);
    world.settle();
    assert_eq!(world.count(|step| matches!(step, Step::Offer(_))), 10);
    let heads: Vec<_> = world.log.iter().filter(|step| matches!(step, Step::Forkchoice(_))).collect();
    assert_eq!(heads, [&Step::Forkchoice(4), &Step::Forkchoice(8), &Step::Forkchoice(10)]);
}

#[test]
fn a_wiped_client_is_fed_from_the_first_height_on_and_nothing_is_imported_twice() {
    let mut world = World::new(Client::at(0), 100, 103);
    world.settle();
    assert_eq!((world.client.has, world.client.head), (103, 103));
    assert_eq!(world.count(|step| matches!(step, Step::Offer(_))), 103);
    assert_eq!(world.log.iter().rfind(|step| matches!(step, Step::Save(_))), Some(&Step::Save(103)));
    assert_eq!(world.count(|step| matches!(step, Step::Save(_))), 1);
}

#[test]
fn a_client_that_is_wiped_under_way_is_told_the_head_first_and_then_fed() {
    let mut world = World::new(Client::at(50), 50, 50);
    world.settle();
    world.log.clear();
    world.client = Client::at(0);
    world.marks.available = 51;
    world.settle();
    assert_eq!(world.log[..3], [Step::Offer(51), Step::Forkchoice(51), Step::Stand]);
    assert_eq!((world.client.has, world.client.head, world.marks.imported), (51, 51, 51));
}

#[test]
fn a_client_that_lost_its_data_while_idle_is_found_by_looking_after_it() {
    let mut world = World::new(Client::at(9), 9, 9);
    world.settle();
    world.client = Client::at(3);
    while world.client.has < 9 {
        world.step();
    }
    world.settle();
    assert_eq!(world.client.head, 9);
}

#[test]
fn a_client_on_another_fork_is_fed_from_where_it_left_the_chain() {
    let mut client = Client::at(42);
    client.elsewhere = true;
    let mut world = World::new(client, 100, 100);
    world.settle();
    assert_eq!(world.client.head, 100);
    assert_eq!(world.count(|step| matches!(step, Step::Offer(_))), 58);
    assert!(world.count(|step| matches!(step, Step::Has(_))) < 10);
}

#[test]
fn a_client_that_tells_nothing_is_fed_from_further_and_further_below() {
    for has in [0, 1, 30, 63, 64, 100] {
        let mut client = Client::at(has);
        client.tells = false;
        let mut world = World::new(client, 100, 101);
        world.settle();
        assert_eq!(world.client.head, 101, "from {has}");
        let offers = world.count(|step| matches!(step, Step::Offer(_)));
        assert!(offers as u64 <= 2 * (101 - has) + 10, "{offers} offers from {has}");
    }
}

#[test]
fn a_client_that_has_lost_the_state_of_blocks_that_it_names_is_fed_them() {
    let mut client = Client::at(20);
    client.claims = Some(60);
    let mut world = World::new(client, 60, 61);
    world.settle();
    assert_eq!(world.client.head, 61);
}

#[test]
fn while_the_client_syncs_forkchoice_updates_go_on_and_it_is_taken_where_it_arrives() {
    let mut client = Client::at(5);
    client.claims = Some(20);
    let mut world = World::new(client, 20, 30);
    // It has none of the payloads and nobody to get them from but this node, which has pruned them.
    world.marks.earliest_payload = 21;
    assert_eq!(world.stuck(), Obstacle::Syncing(20));
    world.log.clear();
    for _ in 0..50 {
        world.step();
    }
    assert!(world.count(|step| matches!(step, Step::Forkchoice(_))) >= 10, "{:?}", world.log);
    assert!(world.count(|step| matches!(step, Step::Wait(_))) >= 10);
    (world.client.has, world.client.claims) = (20, None);
    world.settle();
    assert_eq!(world.client.head, 30);
}

#[test]
fn a_client_that_lacks_what_was_pruned_says_so_and_goes_on_once_it_has_it() {
    let mut world = World::new(Client::at(0), 100, 100);
    world.marks.earliest_payload = 51;
    world.client.elsewhere = true;
    assert_eq!(world.stuck(), Obstacle::LacksHistory { earliest: 51 });
    world.log.clear();
    for _ in 0..30 {
        world.step();
        assert_eq!(world.plan.obstacle(), Some(Obstacle::LacksHistory { earliest: 51 }));
    }
    assert!(world.count(|step| *step == Step::Forkchoice(100)) >= 5, "{:?}", world.log);
    world.client.has = 50;
    world.settle();
    assert_eq!(world.client.head, 100);
}

#[test]
fn heights_that_are_pruned_while_they_are_given_again_are_not_waited_for() {
    let mut world = World::new(Client::at(0), 20, 20);
    while world.client.has < 3 {
        world.step();
    }
    world.marks.earliest_payload = 11;
    assert_eq!(world.stuck(), Obstacle::LacksHistory { earliest: 11 });
    (world.client.has, world.client.head) = (12, 12);
    world.settle();
    assert_eq!(world.client.head, 20);
}

#[test]
fn a_client_with_another_genesis_says_so_until_it_is_replaced() {
    let mut world = World::new(Client::at(0), 3, 3);
    world.client.right_genesis = false;
    assert_eq!(world.stuck(), Obstacle::WrongChain);
    world.client = Client::at(0);
    world.settle();
    assert_eq!(world.client.head, 3);
}

#[test]
fn troubles_pass_with_ever_longer_waits_and_the_client_is_asked_where_it_stands() {
    let mut world = World::new(Client::at(2), 2, 2);
    world.settle();
    world.client.trouble = Some(Trouble::Unreachable);
    world.marks.available = 5;
    assert_eq!(world.stuck(), Obstacle::Trouble(Trouble::Unreachable));
    let (start, steps) = (world.now, world.log.len());
    for _ in 0..60 {
        world.step();
    }
    let attempts = world.log[steps..].iter().filter(|step| !matches!(step, Step::Wait(_))).count();
    assert!(world.now - start > Duration::from_secs(60), "{attempts} attempts in {:?}", world.now - start);
    (world.client.trouble, world.client.has, world.client.head) = (None, 1, 1);
    world.settle();
    assert_eq!((world.client.head, world.marks.imported), (5, 5));
}

#[test]
fn an_invalid_block_halts_for_good_and_those_before_it_are_kept() {
    let mut world = World::new(Client::at(0), 0, 3);
    let before = [Step::Stand, Step::Offer(1), Step::Offer(2)];
    assert_eq!(before.map(|_| world.step()), before);
    assert_eq!(world.plan.next(world.now, &world.marks), Step::Offer(3));
    world.plan.offered(3, Answer::Invalid, world.now, &mut world.rng);
    let after = [Step::Forkchoice(2), Step::Save(2), Step::Halt, Step::Halt];
    assert_eq!(after.map(|_| world.step()), after);
    assert_eq!((world.client.head, world.marks.imported), (2, 2));
}

#[test]
fn a_halt_does_not_depend_on_what_the_client_says_afterwards() {
    for answer in [Answer::Lacking, Answer::Trouble(Trouble::TimedOut), Answer::Invalid] {
        let mut world = World::new(Client::at(0), 0, 3);
        world.step();
        world.step();
        world.plan.offered(2, Answer::Invalid, world.now, &mut world.rng);
        assert_eq!(world.plan.next(world.now, &world.marks), Step::Forkchoice(1));
        world.plan.forkchoice_told(1, answer, world.now, &world.marks, &mut world.rng);
        assert_eq!((world.step(), world.marks.imported), (Step::Halt, 0), "{answer:?}");
    }
}

#[test]
fn a_client_that_takes_payloads_and_never_heads_is_not_asked_without_a_pause() {
    let mut world = World::new(Client::at(4), 4, 8);
    let mut waits = 0;
    for _ in 0..300 {
        let step = world.plan.next(world.now, &world.marks);
        if let Step::Forkchoice(height) = step {
            world.plan.forkchoice_told(height, Answer::Lacking, world.now, &world.marks, &mut world.rng);
        } else {
            waits += usize::from(matches!(world.step(), Step::Wait(_)));
        }
    }
    assert!(waits >= 30, "{waits} waits");
    assert!(matches!(world.plan.obstacle(), Some(Obstacle::Syncing(_))));
    assert_eq!(world.marks.imported, 4);
}

proptest! {
    /// Whatever happens to a client, once it is left alone it comes to the head, and the watermark never goes ahead of
    /// what the client confirmed.
    #[test]
    fn whatever_happens_import_comes_to_the_head(
        seed: u64,
        tells: bool,
        events in prop::collection::vec((0_u8..6, 0_u64..40, 1_usize..40), 0..20),
    ) {
        let mut world = World::new(Client::at(0), 0, 10);
        world.rng = StdRng::seed_from_u64(seed);
        world.client.tells = tells;
        for (event, height, steps) in events {
            match event {
                0 => world.client.trouble = Some(Trouble::TimedOut),
                1 => world.client.trouble = None,
                2 => (world.client.has, world.client.head) = (world.client.has.min(height), world.client.head.min(height)),
                3 => world.marks.available = world.marks.available.max(height),
                4 => world.client.elsewhere = true,
                _ => world.client.claims = Some(world.client.head),
            }
            world.client.head = world.client.head.min(world.client.has);
            for _ in 0..steps {
                world.step();
            }
        }
        world.client.trouble = None;
        world.client.elsewhere = false;
        world.settle();
        prop_assert_eq!(world.marks.imported, world.marks.available);
        // Nothing is saved again, so a client that lost blocks in the last moment is found by looking after it.
        for _ in 0..200 {
            world.step();
        }
        prop_assert!(world.client.head >= world.marks.imported);
    }
}
