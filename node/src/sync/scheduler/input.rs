//! Everything that the scheduler can be told, as a value: what a trace of it is made of.

use std::{ops::Range, time::Instant};

use lapis_protocol_spec::{Bytes32, Height, HeightRanges, Status};
use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use super::{Ended, Item, Mend, Missing, Report, RequestId, Scheduler, SourceId};
use crate::sync::archive::ArchiveId;

/// Something that happened. Each is what the method of [`Scheduler`] with that name takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the methods say what each is")]
pub enum Input {
    PeerStatus {
        #[serde(with = "text")]
        peer: PeerId,
        #[serde(with = "claims")]
        status: Status,
    },
    PeerAnnounced {
        #[serde(with = "text")]
        peer: PeerId,
        height: Height,
    },
    PeerHinted {
        #[serde(with = "text")]
        peer: PeerId,
        height: Height,
    },
    PeerGone {
        #[serde(with = "text")]
        peer: PeerId,
    },
    ArchiveCovers {
        archive: ArchiveId,
        #[serde(with = "ranges")]
        held: HeightRanges,
    },
    ArchiveGone {
        archive: ArchiveId,
    },
    PoolAnnounced(bool),
    HeldValues(Vec<Range<Height>>),
    FaultyValue {
        source: SourceId,
        height: Height,
    },
    WantValidatorSet {
        #[serde(with = "crate::genesis_file::hex_bytes")]
        root: Bytes32,
        height: Height,
    },
    HaveValidatorSet(#[serde(with = "crate::genesis_file::hex_bytes")] Bytes32),
    Decided(Height),
    Imported(Height),
    Load {
        #[serde(with = "missing")]
        missing: Vec<Missing>,
        loaded_to: Height,
    },
    ReloadFrom(Height),
    WaiveBlobsBelow(Height),
    Received {
        id: RequestId,
        item: Option<Item>,
        bytes: u64,
    },
    Stored(Vec<Item>),
    Faulty {
        source: SourceId,
        item: Item,
    },
    NotStored(Vec<Item>),
    Hold,
    WantMend(Mend),
    NotMended(Mend),
    Mended(Mend),
    Finished {
        id: RequestId,
        report: Report,
    },
}

impl Scheduler {
    /// Takes note of `input`. What an exchange was for that ended is of interest to its driver.
    pub fn take(&mut self, input: Input, now: Instant) -> Ended {
        match input {
            Input::Finished { id, report } => return self.finished(id, &report, now),
            Input::PeerStatus { peer, status } => self.peer_status(peer, status),
            Input::PeerAnnounced { peer, height } => self.peer_announced(peer, height),
            Input::PeerHinted { peer, height } => self.peer_hinted(peer, height),
            Input::PeerGone { peer } => self.peer_gone(peer),
            Input::ArchiveCovers { archive, held } => self.archive_covers(archive, held),
            Input::ArchiveGone { archive } => self.archive_gone(archive),
            Input::PoolAnnounced(is_open) => self.pool_announced(is_open),
            Input::HeldValues(held) => self.set_held_values(held),
            Input::FaultyValue { source, height } => self.faulty_value(source, height, now),
            Input::WantValidatorSet { root, height } => self.want_validator_set(root, height),
            Input::HaveValidatorSet(root) => self.have_validator_set(&root),
            Input::Decided(height) => self.set_decided(height),
            Input::Imported(height) => self.set_imported(height),
            Input::Load { missing, loaded_to } => self.load(missing, loaded_to),
            Input::ReloadFrom(height) => self.reload_from(height),
            Input::WaiveBlobsBelow(height) => self.waive_blobs_below(height),
            Input::Received { id, item, bytes } => self.received(id, item, bytes, now),
            Input::Stored(items) => items.into_iter().for_each(|item| self.stored(item)),
            Input::Faulty { source, item } => self.faulty(source, item, now),
            Input::NotStored(items) => items.into_iter().for_each(|item| self.not_stored(item, now)),
            Input::Hold => self.hold(now),
            Input::WantMend(mend) => self.want_mend(mend),
            Input::NotMended(mend) => self.not_mended(mend, now),
            Input::Mended(mend) => self.mended(mend),
        }
        Ended::Other
    }
}

/// By `Display` and `FromStr`.
pub(super) mod text {
    use std::{borrow::Cow, fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::sync) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::sync) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The heights of a status; the scheduler reads nothing else of it.
mod claims {
    use lapis_protocol_spec::Status;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
        let heights = [
            status.decided_height,
            status.available_height,
            status.earliest_value_height,
            status.earliest_payload_height,
            status.earliest_blob_height,
        ];
        heights.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Status, D::Error> {
        let [decided_height, available_height, earliest_value_height, earliest_payload_height, earliest_blob_height] =
            <[u64; 5]>::deserialize(deserializer)?;
        Ok(Status {
            decided_height,
            available_height,
            earliest_value_height,
            earliest_payload_height,
            earliest_blob_height,
            ..Status::default()
        })
    }
}

/// Ranges of heights.
mod ranges {
    use std::ops::Range;

    use lapis_protocol_spec::{Height, HeightRanges};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(held: &HeightRanges, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(held.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeightRanges, D::Error> {
        Ok(Vec::<Range<Height>>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What heights lack: of the values as much as the scheduler reads, which is sizes, and which blobs are the same.
mod missing {
    use std::{collections::HashMap, sync::Arc};

    use lapis_protocol_spec::{Bytes48, Height, HeightRanges, Value, matching::IdentifiedValue};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Missing;

    #[derive(Serialize, Deserialize)]
    struct Record {
        height: Height,
        payload_size: u64,
        blob_count: u64,
        /// Blobs that are the same as one before, with that one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        same: Vec<(u64, u64)>,
        payload: bool,
        /// Ranges of indices.
        blobs: Vec<(u64, u64)>,
    }

    impl From<&Missing> for Record {
        fn from(missing: &Missing) -> Self {
            let value = missing.value.value();
            let mut first: HashMap<&Bytes48, u64> = HashMap::new();
            let mut same = Vec::new();
            for (index, commitment) in (0..).zip(value.blob_kzg_commitments.iter()) {
                let before = *first.entry(commitment).or_insert(index);
                if before != index {
                    same.push((index, before));
                }
            }
            let indices: HeightRanges = missing.blobs.iter().map(|index| *index..index.saturating_add(1)).collect();
            Self {
                height: value.height,
                payload_size: value.payload_size,
                blob_count: value.blob_count() as u64,
                same,
                payload: missing.payload,
                blobs: indices.iter().map(|range| (range.start, range.end)).collect(),
            }
        }
    }

    impl Record {
        /// A value that has all that the scheduler reads; `None` if there can be none.
        fn missing(self) -> Option<Missing> {
            let same: HashMap<u64, u64> = self.same.into_iter().collect();
            let max = u64::try_from(lapis_protocol_spec::MAX_BLOBS_PER_BLOCK).ok()?;
            let count = Some(self.blob_count).filter(|count| *count <= max)?;
            let commitment = |index: u64| {
                let mut bytes = [0; 48];
                let name = same.get(&index).unwrap_or(&index).to_le_bytes();
                bytes.iter_mut().zip(name).for_each(|(byte, part)| *byte = part);
                Bytes48::from(bytes)
            };
            let commitments: Vec<Bytes48> = (0..count).map(commitment).collect();
            let value = Value {
                height: self.height,
                payload_size: self.payload_size,
                blob_kzg_commitments: commitments.try_into().ok()?,
                ..Value::default()
            };
            let blobs = self.blobs.into_iter().flat_map(|(start, end)| start..end.min(count)).collect();
            Some(Missing { value: IdentifiedValue::new(Arc::new(value)), payload: self.payload, blobs })
        }
    }

    pub(super) fn serialize<S: Serializer>(missing: &[Missing], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(missing.iter().map(Record::from))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Missing>, D::Error> {
        let records = Vec::<Record>::deserialize(deserializer)?;
        let missing = records.into_iter().map(|record| record.missing().ok_or(D::Error::custom("too many blobs")));
        missing.collect()
    }
}
