//! Announcements: verified before they are forwarded, and a hint where to look.
//!
//! One that is signed by a set which is not known yet is kept until the set is, and judged then. Meanwhile it counts as a
//! claim of its sender, who is asked for the set.
//!
//! Of each height one announcement is passed on; who sends another one claims the height, and nothing more.

use std::collections::BTreeSet;

use lapis_p2p::{Acceptance, AnnouncementId};
use lapis_protocol_spec::{DecidedValue, Height};
use libp2p::PeerId;

use super::{
    SyncEngine,
    commit::{FetchedValues, Judgement, UnknownSet, judge},
};
use crate::sync::{
    early::{Announced, Early, MAX_EARLY},
    scheduler::Input,
};

/// Announcements that are checked at a time, those that were kept apart; more are ignored, the values come by range as
/// well.
const MAX_JUDGEMENTS: usize = 8;

/// Heights that are remembered as certified. Of more, whatever is announced of them is checked.
const MAX_CERTIFIED: usize = 64;

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

/// Announcements that came early, and what is known of others that are not decided yet.
#[derive(Debug)]
pub(super) struct Kept<M = Message> {
    early: Early<M>,
    /// How often a height was decided, or a set came to be known.
    turn: u64,
    /// The decided height at the last of these.
    decided: Height,
    /// How many that were kept are being checked; no more than are kept.
    judging: usize,
    /// Heights above the decided one of which a certificate was announced that holds.
    certified: BTreeSet<Height>,
}

/// Where an announcement goes that was early when it was checked.
#[derive(Debug, PartialEq, Eq)]
enum Place<M> {
    /// What it waits for may have come meanwhile.
    JudgedAgain(Announced<M>),
    /// It waits, and what is not kept instead is dropped.
    Waits { dropped: Option<Announced<M>> },
}

impl<M> Default for Kept<M> {
    fn default() -> Self {
        Self { early: Early::default(), turn: 0, decided: 0, judging: 0, certified: BTreeSet::new() }
    }
}

impl<M> Kept<M> {
    /// Whether some are being checked: no height is committed meanwhile, since one that is decided already is not
    /// passed on.
    pub(super) fn is_being_judged(&self) -> bool {
        self.judging > 0
    }

    /// Whether one that has just come may be checked while `checking` are, those that were kept among them.
    fn has_room(&self, checking: usize) -> bool {
        checking.saturating_sub(self.judging) < MAX_JUDGEMENTS
    }

    /// Whether it is not known yet that `height` is decided. Otherwise whoever announces it says nothing but that the
    /// height is there, and its data may still be wanted: also long after the value came by another way.
    fn is_news(&self, height: Height, decided: Height) -> bool {
        height > decided && !self.certified.contains(&height)
    }

    /// A certificate of `height` holds. Whether it is the first one: anybody can write the same signatures down in another
    /// order, and each would be another message that the whole network checks and passes on.
    fn is_first(&mut self, height: Height, decided: Height) -> bool {
        self.certified = self.certified.split_off(&decided.saturating_add(1));
        if self.certified.len() < MAX_CERTIFIED {
            self.certified.insert(height)
        } else {
            !self.certified.contains(&height)
        }
    }

    /// What was kept waits for may be there. Gives what is to be judged again, and what is dropped since too many are being
    /// judged already.
    fn release(&mut self, decided: Height) -> (Vec<Announced<M>>, Vec<Announced<M>>) {
        self.turn += 1;
        self.decided = decided;
        let mut again: Vec<Announced<M>> = self.early.take().collect();
        let room = MAX_EARLY.saturating_sub(self.judging);
        let surplus = again.split_off(room.min(again.len()));
        self.judging += again.len();
        (again, surplus)
    }

    /// Places one that was early when it was checked at `turn`. What waits has been checked in this turn, so the next one
    /// is soon enough.
    fn place(&mut self, announced: Announced<M>, turn: u64, decided: Height) -> Place<M> {
        if turn == self.turn {
            Place::Waits { dropped: self.early.keep(announced, decided) }
        } else if self.judging < MAX_EARLY {
            self.judging += 1;
            Place::JudgedAgain(announced)
        } else {
            Place::Waits { dropped: Some(announced) }
        }
    }
}

impl SyncEngine {
    pub(super) async fn on_announcement(&mut self, id: AnnouncementId, peer: PeerId, decided: Box<DecidedValue>) {
        let height = decided.value.height;
        let is_news = self.kept.is_news(height, self.parts.feed.current().decided);
        if !is_news {
            self.inform(Input::PeerHinted { peer, height });
        }
        if !is_news || !self.kept.has_room(self.judgements.len()) {
            self.judged_as(id, Acceptance::Ignore).await;
            return;
        }
        self.judge(Announced { peer, height, message: Message { id, decided } }, false);
    }

    fn judge(&mut self, announced: Announced<Message>, was_kept: bool) {
        let (store, chain, turn) = (self.parts.store.clone(), self.parts.chain.clone(), self.kept.turn);
        self.judgements.spawn_blocking(move || {
            let judgement = judge(&store, &chain, &announced.message.decided)?;
            Ok(Judged { announced, judgement, turn, was_kept })
        });
    }

    /// Judges again what was kept, if a height was decided since. To be called before anything is committed.
    pub(super) async fn judge_kept_if_decided(&mut self) {
        let decided = self.parts.feed.current().decided;
        if self.kept.decided != decided {
            self.judge_kept().await;
        }
    }

    /// Judges again what was kept: what it waits for may be there.
    pub(super) async fn judge_kept(&mut self) {
        let (again, surplus) = self.kept.release(self.parts.feed.current().decided);
        for announced in again {
            self.judge(announced, true);
        }
        for dropped in surplus {
            self.judged_as(dropped.message.id, Acceptance::Ignore).await;
        }
    }

    pub(super) async fn on_judged(&mut self, judged: Judged) {
        let Judged { announced, judgement, turn, was_kept } = judged;
        self.kept.judging = self.kept.judging.saturating_sub(usize::from(was_kept));
        let Announced { peer, height, .. } = announced;
        match judgement {
            Judgement::Certified => {
                let Message { id, decided } = announced.message;
                let is_first = self.kept.is_first(height, self.parts.feed.current().decided);
                self.judged_as(id, if is_first { Acceptance::Accept } else { Acceptance::Ignore }).await;
                self.inform(Input::PeerAnnounced { peer, height });
                if self.scheduler.wants_value(height) {
                    self.fetched.insert(height, FetchedValues::announced(peer, *decided));
                }
            }
            Judgement::Early(unknown) => self.on_early(announced, unknown, turn).await,
            Judgement::Unknown => self.judged_as(announced.message.id, Acceptance::Ignore).await,
            Judgement::Invalid(fault) => {
                tracing::warn!(%peer, height, %fault, "a peer announced a value that is not certified");
                // The network charges the sender.
                self.judged_as(announced.message.id, Acceptance::Reject).await;
            }
        }
    }

    /// What signed it is not known yet, or was not when it was judged.
    async fn on_early(&mut self, announced: Announced<Message>, unknown: Option<UnknownSet>, turn: u64) {
        let Announced { peer, height, .. } = announced;
        self.inform(Input::PeerHinted { peer, height });
        // A set that was unknown then may be in the store by now, and commits would wait for it all the same.
        if let Some(unknown) = unknown.filter(|_| turn == self.kept.turn) {
            self.want_validator_set(unknown);
        }
        match self.kept.place(announced, turn, self.parts.feed.current().decided) {
            Place::JudgedAgain(announced) => self.judge(announced, true),
            Place::Waits { dropped: Some(dropped) } => self.judged_as(dropped.message.id, Acceptance::Ignore).await,
            Place::Waits { dropped: None } => {}
        }
    }

    async fn judged_as(&self, message: AnnouncementId, acceptance: Acceptance) {
        // If the network has stopped, nothing is to be forwarded.
        let _ = self.parts.network.judge(message, acceptance).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(height: Height, message: usize) -> Announced<usize> {
        Announced { peer: PeerId::random(), height, message }
    }

    fn fill(kept: &mut Kept<usize>, decided: Height) {
        for message in 0..MAX_EARLY {
            let place = kept.place(announced(decided + 2, message), kept.turn, decided);
            assert_eq!(place, Place::Waits { dropped: None });
        }
    }

    #[test]
    fn what_was_kept_takes_no_room_from_what_has_just_come() {
        let mut kept = Kept::default();
        fill(&mut kept, 5);
        let (again, surplus) = kept.release(6);
        assert_eq!((again.len(), surplus.len()), (MAX_EARLY, 0));
        assert!(kept.is_being_judged());
        assert!(kept.has_room(MAX_EARLY), "these are all that are checked");
        assert!(kept.has_room(MAX_EARLY + MAX_JUDGEMENTS - 1));
        assert!(!kept.has_room(MAX_EARLY + MAX_JUDGEMENTS));
    }

    #[test]
    fn however_often_the_turn_comes_no_more_are_judged_again_than_are_kept() {
        let mut kept = Kept::default();
        for decided in 5..20 {
            fill(&mut kept, decided);
            let (again, surplus) = kept.release(decided + 1);
            assert_eq!(again.len() + surplus.len(), MAX_EARLY, "each has a fate");
            assert_eq!(kept.judging, MAX_EARLY);
        }
        let late = announced(22, 0);
        let place = kept.place(late.clone(), kept.turn - 1, 20);
        assert_eq!(place, Place::Waits { dropped: Some(late) }, "nobody would look at it again");
    }

    #[test]
    fn what_was_checked_before_the_turn_is_checked_again() {
        let mut kept = Kept::default();
        let early = announced(7, 0);
        let turn = kept.turn;
        let _ = kept.release(6);
        assert_eq!(kept.place(early.clone(), turn, 6), Place::JudgedAgain(early.clone()));
        assert!(kept.is_being_judged());
        assert_eq!(kept.place(early, kept.turn, 6), Place::Waits { dropped: None });
    }

    #[test]
    fn what_is_decided_is_no_news_however_its_value_came() {
        let mut kept: Kept<usize> = Kept::default();
        assert!(!kept.is_news(4, 5) && !kept.is_news(5, 5) && kept.is_news(6, 5));
        assert!(kept.is_first(6, 5) && !kept.is_news(6, 5));
    }

    #[test]
    fn one_certificate_of_a_height_is_the_first() {
        let mut kept = Kept::<usize>::default();
        assert!(kept.is_first(7, 5) && kept.is_first(8, 5));
        assert!(!kept.is_first(7, 5) && !kept.is_first(8, 6));
        let many = (9..2000).filter(|height| kept.is_first(*height, 6)).count();
        assert_eq!((many, kept.certified.len()), (1991, MAX_CERTIFIED), "more are passed on and not remembered");
        assert!(!kept.is_first(8, 6));
        assert!(kept.is_first(3000, 2000));
        assert_eq!(kept.certified, BTreeSet::from([3000]), "what is decided is forgotten");
    }
}
