//! Announcements: verified before they are forwarded, and a hint where to look.
//!
//! One that is signed by a set which is not known yet is kept until the set is, and judged then. Meanwhile it counts as a
//! claim of its sender, who is asked for the set.

use lapis_p2p::{Acceptance, AnnouncementId};
use lapis_protocol_spec::{DecidedValue, Height};
use libp2p::PeerId;

use super::{
    SyncEngine,
    commit::{FetchedValues, Judgement, judge},
};
use crate::sync::{
    early::{Announced, Early, MAX_EARLY},
    scheduler::Input,
};

/// Announcements that are checked at a time, those that were kept apart; more are ignored, the values come by range as
/// well.
const MAX_JUDGEMENTS: usize = 8;

/// What an announcement says, and the name under which the network waits for its judgement.
#[derive(Debug)]
pub(super) struct Message {
    id: AnnouncementId,
    decided: Box<DecidedValue>,
}

/// An announcement whose certificate was checked.
#[derive(Debug)]
pub(super) struct Judged {
    announced: Announced<Message>,
    judgement: Judgement,
    /// How often what it depends on had changed when it was checked.
    turn: u64,
    /// It was kept before.
    was_kept: bool,
}

/// Announcements that came early.
#[derive(Debug, Default)]
pub(super) struct Kept {
    early: Early<Message>,
    /// How often a height was decided, or a set came to be known.
    turn: u64,
    /// The decided height at the last of these.
    decided: Height,
    /// How many that were kept are being checked.
    judging: usize,
}

impl Kept {
    /// Whether some are being checked: no height is committed meanwhile, since one that is decided already is not
    /// passed on.
    pub(super) fn is_being_judged(&self) -> bool {
        self.judging > 0
    }
}

impl SyncEngine {
    pub(super) async fn on_announcement(&mut self, id: AnnouncementId, peer: PeerId, decided: Box<DecidedValue>) {
        let height = decided.value.height;
        let known = height <= self.parts.feed.current().decided;
        if known || self.judgements.len() >= MAX_JUDGEMENTS {
            self.judged_as(id, Acceptance::Ignore).await;
            return;
        }
        self.judge(Announced { peer, height, message: Message { id, decided } }, false);
    }

    fn judge(&mut self, announced: Announced<Message>, was_kept: bool) {
        let (store, chain, turn) = (self.parts.store.clone(), self.parts.chain.clone(), self.kept.turn);
        self.kept.judging += usize::from(was_kept);
        self.judgements.spawn_blocking(move || {
            let judgement = judge(&store, &chain, &announced.message.decided)?;
            Ok(Judged { announced, judgement, turn, was_kept })
        });
    }

    /// Judges again what was kept, if a height was decided since. To be called before anything is committed.
    pub(super) fn judge_kept_if_decided(&mut self) {
        let decided = self.parts.feed.current().decided;
        if self.kept.decided != decided {
            self.judge_kept();
        }
    }

    /// Judges again what was kept: what it waits for may be there.
    pub(super) fn judge_kept(&mut self) {
        self.kept.turn += 1;
        self.kept.decided = self.parts.feed.current().decided;
        for announced in self.kept.early.take() {
            self.judge(announced, true);
        }
    }

    pub(super) async fn on_judged(&mut self, judged: Judged) {
        let Judged { announced, judgement, turn, was_kept } = judged;
        self.kept.judging -= usize::from(was_kept);
        let Announced { peer, height, .. } = announced;
        match judgement {
            Judgement::Certified => {
                let Message { id, decided } = announced.message;
                self.judged_as(id, Acceptance::Accept).await;
                self.inform(Input::PeerAnnounced { peer, height });
                if self.scheduler.wants_value(height) {
                    self.fetched.insert(height, FetchedValues::announced(peer, *decided));
                }
            }
            Judgement::Early(unknown) => {
                if let Some(unknown) = unknown {
                    self.want_validator_set(unknown);
                }
                self.on_early(announced, turn).await;
            }
            Judgement::Unknown => self.judged_as(announced.message.id, Acceptance::Ignore).await,
            Judgement::Invalid(fault) => {
                tracing::warn!(%peer, height, %fault, "a peer announced a value that is not certified");
                // The network charges the sender.
                self.judged_as(announced.message.id, Acceptance::Reject).await;
            }
        }
    }

    /// What signed it is not known yet, or was not when it was judged.
    async fn on_early(&mut self, announced: Announced<Message>, turn: u64) {
        let Announced { peer, height, .. } = announced;
        self.inform(Input::PeerHinted { peer, height });
        if turn != self.kept.turn && self.judgements.len() < MAX_JUDGEMENTS + MAX_EARLY {
            self.judge(announced, true);
        } else if let Some(dropped) = self.kept.early.keep(announced, self.parts.feed.current().decided) {
            self.judged_as(dropped.message.id, Acceptance::Ignore).await;
        }
    }

    async fn judged_as(&self, message: AnnouncementId, acceptance: Acceptance) {
        // If the network has stopped, nothing is to be forwarded.
        let _ = self.parts.network.judge(message, acceptance).await;
    }
}
