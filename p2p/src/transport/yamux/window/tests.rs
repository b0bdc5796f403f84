#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::*;

const MIB: u32 = 1024 * KIB;

fn budgets(connection: u32, all: u32) -> Budgets {
    Budgets { connection: Arc::new(Budget::new(connection)), all: Arc::new(Budget::new(all)) }
}

fn left(budgets: &Budgets) -> (u32, u32) {
    (budgets.connection.left(), budgets.all.left())
}

#[test]
fn the_first_update_raises_the_window_to_its_largest() {
    let budgets = budgets(16 * MIB, 64 * MIB);
    let mut window = ReceiveWindow::growing(budgets.clone());
    assert!(window.receive(INITIAL));
    assert_eq!(window.consume(WORTH_RAISING - 1), 0, "a short answer costs nothing");
    assert_eq!(left(&budgets), (16 * MIB, 64 * MIB));
    assert_eq!(window.consume(1), WORTH_RAISING + LARGEST - INITIAL);
    assert_eq!(left(&budgets), (16 * MIB - (LARGEST - INITIAL), 64 * MIB - (LARGEST - INITIAL)));
    // From here on it is told in halves.
    assert_eq!(window.consume(INITIAL - WORTH_RAISING), 0);
    assert!(window.receive(LARGEST - INITIAL + WORTH_RAISING));
    assert!(!window.receive(1));
    assert_eq!(window.consume(LARGEST / 2 - (INITIAL - WORTH_RAISING) - 1), 0);
    assert_eq!(window.consume(1), LARGEST / 2);
    drop(window);
    assert_eq!(left(&budgets), (16 * MIB, 64 * MIB));
}

#[test]
fn a_window_without_a_budget_is_told_in_halves() {
    let full = budgets(16 * MIB, 0);
    for mut window in [ReceiveWindow::fixed(), ReceiveWindow::growing(full.clone())] {
        assert!(window.receive(INITIAL));
        assert_eq!(window.consume(INITIAL / 2 - 1), 0);
        assert_eq!(window.consume(1), INITIAL / 2);
        assert_eq!(window.consume(INITIAL / 2), INITIAL / 2);
        assert!(window.receive(INITIAL));
        assert!(!window.receive(1));
    }
    assert_eq!(left(&full), (16 * MIB, 0));
}

#[test]
fn a_window_that_was_refused_tries_again() {
    let budgets = budgets(16 * MIB, LARGEST);
    let mut first = ReceiveWindow::growing(budgets.clone());
    let mut second = ReceiveWindow::growing(budgets.clone());
    for window in [&mut first, &mut second] {
        assert!(window.receive(INITIAL));
    }
    assert_eq!(first.consume(WORTH_RAISING), WORTH_RAISING + LARGEST - INITIAL);
    // What is left of the budget is its part.
    assert_eq!(second.consume(WORTH_RAISING), WORTH_RAISING + INITIAL);
    drop(first);
    assert_eq!(second.consume(INITIAL - WORTH_RAISING), INITIAL - WORTH_RAISING + LARGEST - 2 * INITIAL);
    drop(second);
    assert_eq!(left(&budgets), (16 * MIB, LARGEST));
}

#[test]
fn a_connection_has_no_more_than_its_own_budget() {
    let budgets = budgets(MIB, 64 * MIB);
    let mut windows: Vec<_> = (0..3).map(|_| ReceiveWindow::growing(budgets.clone())).collect();
    let raised: Vec<_> = windows
        .iter_mut()
        .map(|window| {
            assert!(window.receive(INITIAL));
            window.consume(WORTH_RAISING)
        })
        .collect();
    assert_eq!(raised, [WORTH_RAISING + MIB, 0, 0]);
    assert_eq!(left(&budgets), (0, 63 * MIB));
}

#[test]
fn a_send_window_takes_what_it_has_and_does_not_overflow() {
    let mut window = SendWindow::new();
    assert_eq!(window.take(usize::MAX), INITIAL as usize);
    assert_eq!(window.take(1), 0);
    window.add(5, 1).unwrap();
    assert_eq!(window.take(3), 3);
    window.add(u32::MAX - 2, 1).unwrap();
    assert_eq!(window.add(1, 7), Err(Violation::WindowOverflow(7)));
}

proptest! {
    /// Whatever is received and read: nobody is told more than the size allows, and budgets are what they were.
    #[test]
    fn credit_and_unread_bytes_never_exceed_the_size(
        steps in proptest::collection::vec((0_usize..3, 1_u32..400_000, any::<bool>()), 1..200),
        connection in 0..20 * MIB,
        all in 0..20 * MIB,
    ) {
        let budgets = budgets(connection, all);
        let mut windows: Vec<_> = (0..3).map(|_| (ReceiveWindow::growing(budgets.clone()), 0_u32, INITIAL)).collect();
        for (index, bytes, receive) in steps {
            let (window, unread, allowed) = &mut windows[index];
            if receive {
                prop_assert_eq!(window.receive(bytes), bytes <= *allowed);
                if bytes <= *allowed {
                    *allowed -= bytes;
                    *unread += bytes;
                }
            } else {
                let read = bytes.min(*unread);
                *unread -= read;
                *allowed += window.consume(read);
            }
            prop_assert!(*allowed + *unread <= window.size && window.size <= LARGEST);
            let raised: u32 = windows.iter().map(|(window, ..)| window.size - INITIAL).sum();
            prop_assert_eq!(left(&budgets), (connection - raised, all - raised));
        }
        drop(windows);
        prop_assert_eq!(left(&budgets), (connection, all));
    }
}
