#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

#[test]
fn defaults_pass() {
    Limits::default().check().unwrap();
    Timeouts::default().check().unwrap();
}

#[test]
fn a_quota_below_one_sidecar_is_refused_by_name() {
    let mut limits = Limits::default();
    limits.rates.egress_kib_per_peer = Quota::new(1, LARGEST_FIXED_ITEM_KIB - 1).unwrap();
    let error = limits.check().unwrap_err();
    assert_eq!(
        error,
        LimitsError::QuotaBelowItem { name: "rates.egress_kib_per_peer", burst: LARGEST_FIXED_ITEM_KIB - 1 }
    );
    assert!(error.to_string().contains("rates.egress_kib_per_peer"), "{error}");
    limits.rates.egress_kib_per_peer = Quota::new(1, LARGEST_FIXED_ITEM_KIB).unwrap();
    limits.check().unwrap();
}

#[test]
fn every_connection_limit_is_checked() {
    type Change = fn(&mut ConnectionLimits);
    let changes: [Change; 8] = [
        |c| c.total = 0,
        |c| c.per_peer = 0,
        |c| c.pending_inbound = 0,
        |c| c.pending_outbound = 0,
        |c| c.inbound = c.total + 1,
        |c| c.outbound = c.total + 1,
        |c| c.memory_percent = 101,
        |c| c.streams = CONFORMING_STREAMS - 1,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut limits = Limits::default();
        change(&mut limits.connections);
        assert!(limits.check().is_err(), "change {index} was accepted");
    }
}

#[test]
fn more_exchanges_per_protocol_than_in_total_are_refused() {
    let limits = Limits { exchanges: ExchangeLimits { inbound: 1, inbound_per_protocol: 2 }, ..Limits::default() };
    assert!(matches!(limits.check(), Err(LimitsError::PartAboveWhole { part: 2, whole: 1, .. })));
}

#[test]
fn more_time_than_clocks_can_count_is_refused() {
    let timeouts = Timeouts { idle: Duration::MAX, ..Timeouts::default() };
    assert_eq!(timeouts.check(), Err(LimitsError::TooMuchTime { name: "timeouts.idle" }));
}

#[test]
fn no_time_is_refused() {
    let timeouts = Timeouts { first_byte: Duration::ZERO, ..Timeouts::default() };
    assert_eq!(timeouts.check(), Err(LimitsError::NoTime { name: "timeouts.first_byte" }));
}
