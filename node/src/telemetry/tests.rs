#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// A place to write to.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `format` makes of one event within a span.
fn written(format: LogFormat) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let filter = parse_filter("debug").unwrap();
    let subscriber =
        tracing_subscriber::registry().with(layer(format, Colours::Off, move || writer.clone()).with_filter(filter));
    tracing::subscriber::with_default(subscriber, || {
        let _span = tracing::info_span!("sync", height = 7).entered();
        tracing::warn!(peers = 3, "no progress");
        tracing::trace!("too fine");
    });
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn json_is_one_object_per_line() {
    let text = written(LogFormat::Json);
    assert_eq!(text.lines().count(), 1);
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["level"], &line["message"], &line["peers"]), (&"WARN".into(), &"no progress".into(), &3.into()));
    assert_eq!(line["span"]["height"], 7);
}

#[test]
fn logfmt_is_key_value_pairs_on_one_line() {
    let text = written(LogFormat::Logfmt);
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("level=warn") && text.contains("peers=3") && text.contains("height=7"), "{text}");
}

#[test]
fn pretty_names_level_message_and_span() {
    let text = written(LogFormat::Pretty);
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("WARN") && text.contains("no progress") && text.contains("sync"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn what_is_no_terminal_gets_no_colours() {
    assert_eq!(Colours::of(&tempfile::tempfile().unwrap()), Colours::Off);
}

#[test]
fn filters_are_checked() {
    check_filter("info").unwrap();
    check_filter("info,lapis_p2p=debug,lapis_node::sync=trace").unwrap();
    assert!(check_filter("lapis=loud").is_err());
}
