#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::{Arc, Mutex};

use super::*;
use crate::sync::simulation::{Plan, Values, record, run};

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
