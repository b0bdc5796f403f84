#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::{Arc, Mutex};

use super::*;
use crate::sync::{
    scheduler::{Missing, Outcome, Report},
    simulation::{Plan, Values, record, run},
};

/// Lines that outlive the scheduler that tells them.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<String>>);

impl TraceSink for Kept {
    fn line(&mut self, line: &str) -> bool {
        let mut text = self.0.lock().unwrap();
        text.push_str(line);
        text.push('\n');
        true
    }
}

fn recorded(seed: u64) -> String {
    let kept = Kept::default();
    record(&Plan::random(seed), &mut Values::default(), Box::new(kept.clone()));
    kept.0.lock().unwrap().clone()
}

#[test]
fn what_was_recorded_is_decided_again() {
    for seed in 0..8 {
        let trace = recorded(seed);
        let replayed = replay(trace.as_bytes()).unwrap();
        assert_eq!(replayed.inputs + replayed.polls + 1, trace.lines().count() as u64, "seed {seed}");
        assert!(replayed.decisions > 0 && !replayed.is_cut_off, "seed {seed}");
    }
}

#[test]
fn to_be_recorded_changes_nothing() {
    let plan = Plan::random(3);
    let silent = run(&plan, &mut Values::default());
    let told = record(&plan, &mut Values::default(), Box::new(Kept::default()));
    assert_eq!(silent.tally, told.tally);
}

#[test]
fn what_the_execution_client_is_asked_is_recorded_and_decided_again() {
    let kept = Kept::default();
    let config = SchedulerConfig { follow: false, ..SchedulerConfig::default() };
    let begin = Begin { config, decided: 1, available: 0, imported: 0 };
    let now = std::time::Instant::now();
    let mut scheduler = RecordedScheduler::new(begin, [7; 32], now, Some(Box::new(kept.clone())));
    let commitments = vec![lapis_protocol_spec::Bytes48::from([1; 48])].try_into().unwrap();
    let value = lapis_protocol_spec::Value { height: 1, blob_kzg_commitments: commitments, ..Default::default() };
    let value = lapis_protocol_spec::matching::IdentifiedValue::new(Arc::new(value));
    let _ = scheduler.take(Input::PoolAnnounced(true), now);
    let missing = vec![Missing { value, payload: false, blobs: vec![0] }];
    let _ = scheduler.take(Input::Load { missing, loaded_to: 1 }, now);
    let call = scheduler.poll(now).ask.remove(0);
    assert_eq!(call.source, SourceId::Pool);
    let report = Report::empty(Outcome::Unavailable);
    let _ = scheduler.take(Input::Finished { id: call.id, report }, now);
    drop(scheduler);
    let trace = kept.0.lock().unwrap().clone();
    assert_eq!(replay(trace.as_bytes()).unwrap().decisions, 1, "{trace}");
    assert!(trace.contains("\"of\":\"execution client\""), "{trace}");
}

#[test]
fn traces_from_before_there_were_calls_of_the_execution_client_are_read() {
    let trace = recorded(3);
    let known = "\"follow\":true";
    let (before, after) = trace.split_once(known).unwrap();
    let (_, after) = after.split_once("}}").unwrap();
    let old = format!("{before}{known}}}{after}");
    assert!(!old.contains("pool_head_start") && trace.contains("pool_head_start"));
    replay(old.as_bytes()).unwrap();
}

#[test]
fn another_seed_decides_otherwise_and_the_line_is_named() {
    let trace = recorded(5);
    let (header, rest) = trace.split_once('\n').unwrap();
    let mut header: Header = serde_json::from_str(header).unwrap();
    header.seed = "17".repeat(32);
    let other = format!("{}\n{rest}", serde_json::to_string(&header).unwrap());
    let Err(ReplayError::Differs { line, recorded, now }) = replay(other.as_bytes()) else { panic!("the same") };
    assert!(line > 1 && recorded != now);
}

#[test]
fn a_decision_that_was_changed_is_found() {
    let trace = recorded(4);
    let changed = trace.replacen("\"ask\":{\"id\":1,", "\"ask\":{\"id\":2,", 1);
    assert_ne!(changed, trace);
    assert!(matches!(replay(changed.as_bytes()), Err(ReplayError::Differs { .. })));
}

#[test]
fn the_end_of_a_killed_node_is_left_out() {
    let trace = recorded(2);
    let cut = &trace[..trace.len() - 7];
    let replayed = replay(cut.as_bytes()).unwrap();
    assert!(replayed.is_cut_off);
}

#[test]
fn what_is_no_trace_is_refused() {
    let trace = recorded(2);
    assert!(matches!(replay(&b""[..]), Err(ReplayError::Empty)));
    assert!(matches!(replay(&b"{}\n"[..]), Err(ReplayError::Header(_))));
    assert!(matches!(
        replay(trace.replacen("\"lapis_trace\":2", "\"lapis_trace\":3", 1).as_bytes()),
        Err(ReplayError::Format(3))
    ));
    let garbage = format!("{}\n{{}}\n", trace.lines().next().unwrap());
    assert!(matches!(replay(garbage.as_bytes()), Err(ReplayError::Line { line: 2, .. })));
    let many = format!(
        "{}\n{{\"at\":1,\"told\":{{\"load\":{{\"missing\":[{{\"height\":1,\"payload_size\":1,\"blob_count\":99999999999,\"payload\":true,\"blobs\":[[0,99999999999]]}}],\"loaded_to\":1}}}}}}\n",
        trace.lines().next().unwrap()
    );
    assert!(matches!(replay(many.as_bytes()), Err(ReplayError::Line { line: 2, .. })));
}

#[test]
fn a_file_takes_whole_lines_up_to_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace");
    let mut file = TraceFile::create(&path, 25).unwrap();
    assert!(file.line("0123456789"));
    assert!(file.line("0123456789"));
    assert!(!file.line("0123456789"), "33 bytes in all");
    drop(file);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "0123456789\n0123456789\n");
}
