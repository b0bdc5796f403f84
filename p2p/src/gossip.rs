//! Announcements of decided values: topic, message ids, compression. Verification is the node's.

use std::{
    collections::{HashSet, VecDeque},
    io,
};

use lapis_protocol_spec::{Bytes32, DecidedValue, Method, announcement, framing::compressed_bound, ssz};
use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, DataTransform, IdentTopic, Message, MessageAuthenticity, MessageId, RawMessage,
    TopicHash, ValidationMode, WhitelistSubscriptionFilter,
};
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};

use crate::{Announcement, StartError};

/// Gossip of this crate: one topic, messages compressed.
pub(crate) type Gossip = Behaviour<Snappy, WhitelistSubscriptionFilter>;

/// Bytes that gossip's own fields may add to a message.
const ENVELOPE: usize = 1024;

/// Announcements, and what else gossip has to say, that wait for a peer which reads slower than they come. One is some
/// hundred KiB at most; what is over this is dropped, and the peer pays.
const WAITING_FOR_PEER: usize = 32;

/// What a message that does not decompress is replaced by, followed by its sha256: no decided value begins with it, for
/// those begin with an offset of 8. So it reaches the place where the sender is charged.
const BROKEN: [u8; 4] = [0xff; 4];

/// The topic of a chain.
fn topic(genesis_id: &Bytes32) -> IdentTopic {
    IdentTopic::new(announcement::topic(genesis_id))
}

fn message_id(message: &Message) -> MessageId {
    id_of(&message.topic, &message.data)
}

fn id_of(topic: &TopicHash, uncompressed: &[u8]) -> MessageId {
    MessageId::new(&announcement::message_id(topic.as_str(), uncompressed))
}

/// Announcements of one chain: its topic, and what was announced lately.
#[derive(Debug)]
pub(crate) struct Announcements {
    topic: IdentTopic,
    recent: Recent,
}

impl Announcements {
    pub(crate) fn new(genesis_id: &Bytes32) -> Self {
        Self { topic: topic(genesis_id), recent: Recent::default() }
    }

    /// Builds the behaviour, subscribed to the topic.
    pub(crate) fn behaviour(&self, registry: &mut Registry) -> Result<Gossip, StartError> {
        behaviour(&self.topic, registry)
    }

    /// Notes that a message has come.
    pub(crate) fn note(&mut self, id: MessageId) {
        self.recent.insert(id);
    }

    /// Publishes one decided value, unless that was done, by whomever.
    pub(crate) fn publish(
        &mut self,
        gossip: &mut Gossip,
        decided: Vec<u8>,
    ) -> Result<Announcement, gossipsub::PublishError> {
        let topic = self.topic.hash();
        let id = id_of(&topic, &decided);
        // Gossip knows as well, but warns of it.
        if self.recent.contains(&id) {
            return Ok(Announcement::Known);
        }
        let published = match gossip.publish(topic, decided) {
            Ok(_) => Announcement::Sent,
            Err(gossipsub::PublishError::Duplicate) => Announcement::Known,
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => return Ok(Announcement::NoPeers),
            Err(error) => return Err(error),
        };
        self.recent.insert(id);
        Ok(published)
    }
}

/// Ids that are kept of messages that came or went; many more than there are heights in the minute for which gossip
/// remembers them.
const RECENT: usize = 1024;

/// The newest ids, oldest first.
#[derive(Debug, Default)]
struct Recent {
    ids: HashSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl Recent {
    fn contains(&self, id: &MessageId) -> bool {
        self.ids.contains(id)
    }

    fn insert(&mut self, id: MessageId) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

fn behaviour(topic: &IdentTopic, registry: &mut Registry) -> Result<Gossip, StartError> {
    let bounds = Method::DecidedValuesByRange.response_bounds();
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(message_id)
        .max_transmit_size(compressed_bound(bounds.max()) + ENVELOPE)
        .connection_handler_queue_len(WAITING_FOR_PEER)
        .build()
        .map_err(|_| StartError::Gossip("inconsistent configuration"))?;
    let filter = WhitelistSubscriptionFilter([topic.hash()].into());
    let mut gossip =
        Behaviour::new_with_subscription_filter_and_transform(MessageAuthenticity::Anonymous, config, filter, Snappy)
            .map_err(StartError::Gossip)?
            .with_metrics(registry.sub_registry_with_prefix("gossipsub"), gossipsub::MetricsConfig::default());
    gossip.subscribe(topic).map_err(|_| StartError::Gossip("subscription refused"))?;
    Ok(gossip)
}

/// Decodes a message. `None`: no correct node sends it.
pub(crate) fn decode(message: &Message) -> Option<Box<DecidedValue>> {
    ssz::decode(&message.data).ok().map(Box::new)
}

/// The compression of announcements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snappy;

impl DataTransform for Snappy {
    fn inbound_transform(&self, raw: RawMessage) -> Result<Message, io::Error> {
        let data = announcement::decompress(&raw.data).unwrap_or_else(|_| {
            let mut broken = BROKEN.to_vec();
            broken.extend_from_slice(&Sha256::digest(&raw.data));
            broken
        });
        Ok(Message { source: raw.source, data, sequence_number: raw.sequence_number, topic: raw.topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> Result<Vec<u8>, io::Error> {
        announcement::compress(&data).map_err(io::Error::other)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests;
