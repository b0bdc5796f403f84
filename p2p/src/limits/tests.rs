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
    let changes: [Change; 10] = [
        |c| c.total = 0,
        |c| c.per_peer = 0,
        |c| c.per_ip = 0,
        |c| c.pending_inbound = 0,
        |c| c.pending_outbound = 0,
        |c| c.inbound = c.total + 1,
        |c| c.outbound = c.total + 1,
        |c| c.memory_percent = 101,
        |c| c.receive_windows = c.receive_window - 1,
        |c| c.streams = CONFORMING_STREAMS - 1,
    ];
    for (index, change) in changes.iter().enumerate() {
        let mut limits = Limits::default();
        change(&mut limits.connections);
        assert!(limits.check().is_err(), "change {index} was accepted");
    }
}

#[test]
fn each_byte_quota_holds_an_item_and_a_share_leaves_something_for_both() {
    type Change = fn(&mut RateLimits);
    let small = Quota::new(1, LARGEST_FIXED_ITEM_KIB - 1).unwrap();
    let changes: [(Change, &str); 6] = [
        (|r| r.egress_kib = Quota::new(1, 1).unwrap(), "rates.egress_kib"),
        (|r| r.ingress_kib = Quota::new(1, 1).unwrap(), "rates.ingress_kib"),
        (|r| r.ingress_kib_per_peer = Quota::new(1, 1).unwrap(), "rates.ingress_kib_per_peer"),
        (|r| r.near_head.share_percent = 0, "rates.near_head.share_percent"),
        (|r| r.near_head.share_percent = 100, "rates.near_head.share_percent"),
        (|r| r.near_head.share_percent = 255, "rates.near_head.share_percent"),
    ];
    for (change, name) in changes {
        let mut limits = Limits::default();
        change(&mut limits.rates);
        let error = limits.check().unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} ")), "{error}");
    }
    let mut limits = Limits::default();
    limits.rates.egress_kib = small;
    assert!(limits.check().is_err());
}

#[test]
fn no_rate_is_more_than_it_says() {
    for per_second in [1, 3, 64, 999, 2_097_152, 1_000_000_000, u32::MAX] {
        let quota = Quota::new(per_second, 1).unwrap().to_governor();
        let interval = quota.replenish_interval().as_nanos();
        assert!(interval * u128::from(per_second) >= 1_000_000_000, "{per_second}: one each {interval} ns");
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
