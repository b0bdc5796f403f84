//! Announcements: verified before they are forwarded, and a hint where to look.

use lapis_p2p::{Acceptance, AnnouncementId};
use lapis_protocol_spec::DecidedValue;
use libp2p::PeerId;

use super::{
    SyncEngine,
    commit::{FetchedValues, Judgement, judge},
};
use crate::sync::scheduler::Input;

/// Announcements that are checked at a time; more are ignored, the values come by range as well.
const MAX_JUDGEMENTS: usize = 8;

/// An announcement whose certificate was checked.
#[derive(Debug)]
pub(super) struct Judged {
    message: AnnouncementId,
    source: PeerId,
    decided: Box<DecidedValue>,
    judgement: Judgement,
}

impl SyncEngine {
    pub(super) async fn on_announcement(
        &mut self,
        message: AnnouncementId,
        source: PeerId,
        decided: Box<DecidedValue>,
    ) {
        let known = decided.value.height <= self.parts.feed.current().decided;
        if known || self.judgements.len() >= MAX_JUDGEMENTS {
            self.judged_as(message, Acceptance::Ignore).await;
            return;
        }
        let (store, chain) = (self.parts.store.clone(), self.parts.chain.clone());
        self.judgements.spawn_blocking(move || {
            let judgement = judge(&store, &chain, &decided)?;
            Ok(Judged { message, source, decided, judgement })
        });
    }

    pub(super) async fn on_judged(&mut self, judged: Judged) {
        let Judged { message, source, decided, judgement } = judged;
        let height = decided.value.height;
        match judgement {
            Judgement::Certified => {
                self.judged_as(message, Acceptance::Accept).await;
                self.inform(Input::PeerAnnounced { peer: source, height });
                if self.scheduler.wants_value(height) {
                    self.fetched.insert(height, FetchedValues::announced(source, *decided));
                }
            }
            Judgement::Unknown => self.judged_as(message, Acceptance::Ignore).await,
            Judgement::Invalid(fault) => {
                tracing::warn!(peer = %source, height, %fault, "a peer announced a value that is not certified");
                // The network charges the sender.
                self.judged_as(message, Acceptance::Reject).await;
            }
        }
    }

    async fn judged_as(&self, message: AnnouncementId, acceptance: Acceptance) {
        // If the network has stopped, nothing is to be forwarded.
        let _ = self.parts.network.judge(message, acceptance).await;
    }
}
