//! Peers: what they hold, what they claim, and how they behave.

use std::time::Duration;

use lapis_protocol_spec::{Height, Status};
use libp2p::{PeerId, multihash::Multihash};

use super::plan::Plan;
use crate::sync::scheduler::{Fetch, Item};

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// It sends what it holds.
    Honest,
    /// It means well; of so many exchanges in a thousand one breaks.
    Lossy {
        /// How many.
        permille: u32,
    },
    /// It means well and refuses what goes beyond so many requests per second.
    RateLimited {
        /// How many.
        per_second: u32,
    },
    /// It means well and begins some of its answers seconds late.
    Late,
    /// Every item that it sends fails verification.
    WrongData,
    /// One item in ten that it sends fails verification.
    RarelyWrong,
    /// Its decided values are not certified. Its data is good.
    WrongValues,
    /// It sends what no correct writer produces.
    Malformed,
    /// It claims all heights that there can be and has nothing.
    Boaster,
    /// The same, and it takes its claim back and makes it again every second.
    Wavering,
    /// It comes and goes all the time, and is honest in between.
    Flapping,
    /// It never answers.
    Silent,
    /// It begins to answer, and then is silent.
    Hanging,
    /// It sends a kilobyte per second.
    Drip,
    /// It sends half of what it is asked for.
    Half,
    /// It says that it has nothing, whatever it claims.
    Empty,
}

impl Conduct {
    /// Those that no honest peer has.
    pub const LIARS: [Self; 12] = [
        Self::WrongData,
        Self::RarelyWrong,
        Self::WrongValues,
        Self::Malformed,
        Self::Boaster,
        Self::Wavering,
        Self::Flapping,
        Self::Silent,
        Self::Hanging,
        Self::Drip,
        Self::Half,
        Self::Empty,
    ];

    /// Whether a peer that behaves so means well.
    pub fn is_honest(self) -> bool {
        matches!(self, Self::Honest | Self::Lossy { .. } | Self::RateLimited { .. } | Self::Late)
    }

    /// Whether anything that it sends fails verification.
    pub fn sends_garbage(self) -> bool {
        matches!(self, Self::WrongData | Self::RarelyWrong | Self::WrongValues | Self::Malformed)
    }
}

/// Which data a peer holds. Everybody holds all decided values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// All of it.
    All,
    /// Everything from this height on.
    From(Height),
    /// Of so many parts of each height this one, and nothing of the others.
    Part {
        /// Which.
        part: u64,
        /// Of how many.
        of: u64,
    },
}

/// When a peer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// From beginning to end.
    Always,
    /// It comes then and stays.
    From(Duration),
    /// It stays so long, is gone so long, and comes back.
    Churning {
        /// How long it stays.
        up: Duration,
        /// How long it is gone.
        down: Duration,
    },
}

/// A peer as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerPlan {
    /// Names it.
    pub index: usize,
    /// How it behaves.
    pub conduct: Conduct,
    /// One way between it and the node.
    pub latency: Duration,
    /// Bytes per second that it sends, all answers together.
    pub rate: u64,
    /// What it holds.
    pub holds: Holds,
    /// When it is there.
    pub presence: Presence,
}

impl PeerPlan {
    /// Its id: of no key, since nobody signs here.
    pub fn id(&self) -> Option<PeerId> {
        let mut digest = [0; 32];
        digest.iter_mut().zip((self.index as u64 + 1).to_be_bytes()).for_each(|(byte, part)| *byte = part);
        // 0x12 is SHA-256, the hash that ids of keys of other kinds are.
        PeerId::from_multihash(Multihash::wrap(0x12, &digest).ok()?).ok()
    }

    /// How it comes and goes.
    pub(super) fn presence(&self) -> Presence {
        match self.conduct {
            Conduct::Flapping => {
                Presence::Churning { up: Duration::from_millis(700), down: Duration::from_millis(300) }
            }
            _ => self.presence,
        }
    }

    /// What it says of itself. `is_boasting` for those who claim what is not there.
    pub(super) fn status(&self, head: Height, is_boasting: bool) -> Status {
        let heights = |decided_height, available_height, first| Status {
            decided_height,
            available_height,
            earliest_value_height: 1,
            earliest_payload_height: first,
            earliest_blob_height: first,
            ..Status::default()
        };
        match (self.conduct, self.holds) {
            (Conduct::Boaster | Conduct::Wavering, _) if is_boasting => heights(u64::MAX, u64::MAX, 1),
            (Conduct::Boaster | Conduct::Wavering, _) => heights(1, 1, 1),
            (_, Holds::All) => heights(head, head, 1),
            (_, Holds::From(first)) => heights(head, head, first),
            (_, Holds::Part { .. }) => heights(head, 0, 1),
        }
    }

    /// Whether it holds `item`.
    fn holds(&self, item: Item) -> bool {
        match (self.holds, item) {
            (Holds::All, _) => true,
            (Holds::From(first), item) => item.height() >= first,
            (Holds::Part { part, of }, Item::Payload(height)) => height % of == part,
            (Holds::Part { part, of }, Item::Blob(height, index)) => (height + index) % of == part,
        }
    }

    /// What it would send of data if it were honest and had the heights up to `head`. By range it sends nothing beyond what is incomplete.
    pub(super) fn honest_answer(&self, fetch: &Fetch, head: Height) -> Vec<Item> {
        let asked = items(fetch);
        if matches!(self.conduct, Conduct::Boaster | Conduct::Wavering | Conduct::Empty) {
            return Vec::new();
        }
        let holds = |item: Item| item.height() <= head && self.holds(item);
        let gap = || asked.iter().find(|item| !holds(**item)).map(|item| item.height());
        match fetch {
            Fetch::Blobs(_) | Fetch::PayloadsByRoot(_) => asked.into_iter().filter(|item| holds(*item)).collect(),
            _ => match gap() {
                Some(gap) => asked.into_iter().take_while(|item| item.height() < gap).collect(),
                None => asked,
            },
        }
    }
}

/// Payloads and blobs that `fetch` asks for, in the order in which they are sent.
pub(super) fn items(fetch: &Fetch) -> Vec<Item> {
    match fetch {
        Fetch::Payloads(values) | Fetch::PayloadsByRoot(values) => {
            values.iter().map(|value| Item::Payload(value.value().height)).collect()
        }
        Fetch::WholeHeights(values) => {
            let blobs = |height, count| (0..count).map(move |index| Item::Blob(height, index));
            values.iter().flat_map(|value| blobs(value.value().height, value.value().blob_count() as u64)).collect()
        }
        Fetch::Blobs(wanted) => {
            let blobs = |height, indices: &[u64]| -> Vec<Item> {
                indices.iter().map(|index| Item::Blob(height, *index)).collect()
            };
            wanted.iter().flat_map(|(value, indices)| blobs(value.value().height, indices)).collect()
        }
        Fetch::Values(_) | Fetch::ValidatorSet { .. } => Vec::new(),
    }
}

/// Bytes of an item of `plan`'s chain.
pub(super) fn item_bytes(plan: &Plan, item: Item) -> u64 {
    use lapis_protocol_spec::PayloadEnvelope;

    use crate::sync::scheduler::SIDECAR_BYTES;
    match item {
        Item::Payload(height) => plan.block(height).payload_bytes + PayloadEnvelope::FIXED_BYTES as u64,
        Item::Blob(..) => SIDECAR_BYTES,
    }
}
