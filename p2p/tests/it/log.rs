//! What operators read: nothing that happens in the ordinary course is a warning.

use std::sync::{Arc, Mutex};

use lapis_p2p::{Acceptance, Announcement, Event};
use tracing::{
    Event as LogEvent, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::{
    harness::{TCP, eventually, pair, within},
    provider::decided,
};

/// Keeps the warnings and errors that are logged on the thread of a test.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &LogEvent<'_>) {
        let mut text = Text(event.metadata().target().to_owned());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn announcing_what_is_known_and_stopping_are_not_warned_of() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (a, mut b) = pair(TCP).await;
    eventually(|| async {
        let sent = a.handle.announce(&decided(1)).await.unwrap();
        (sent == Announcement::Sent).then_some(())
    })
    .await;
    let message = b
        .event(|event| match event {
            Event::Announcement { message, .. } => Some(message),
            _ => None,
        })
        .await;
    within(b.handle.judge(message, Acceptance::Accept)).await.unwrap();
    for node in [&a, &b] {
        assert_eq!(within(node.handle.announce(&decided(1))).await.unwrap(), Announcement::Known);
    }
    b.stop().await.unwrap();
    a.stop().await.unwrap();
    tracing::warn!("this one");
    let warnings = warnings.0.lock().unwrap();
    assert!(matches!(&warnings[..], [only] if only.contains("this one")), "{warnings:#?}");
}
