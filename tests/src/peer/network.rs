//! The swarm of a scripted peer: TCP, noise, yamux, streams and announcements.

use std::collections::HashMap;

use futures::StreamExt;
use lapis_protocol_spec::{Bytes32, DecidedValue, decode, encode};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode},
    identity::Keypair,
    multiaddr::Protocol,
    noise,
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    log::Recorder,
    streams::{self, Acceptor, Inbound},
};

#[derive(NetworkBehaviour)]
struct Behaviour {
    accept: Acceptor,
    open: libp2p_stream::Behaviour,
    gossip: gossipsub::Behaviour,
}

/// Something for the swarm to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Connect; completed when that is done.
    Dial(Multiaddr, oneshot::Sender<()>),
    Announce(Box<DecidedValue>),
}

pub(super) struct Network {
    swarm: Swarm<Behaviour>,
    topic: IdentTopic,
    dials: HashMap<PeerId, oneshot::Sender<()>>,
}

impl Network {
    /// The network, and where streams of others arrive.
    pub(super) fn new(genesis_id: &Bytes32) -> (Self, mpsc::Receiver<Inbound>) {
        let topic = topic(genesis_id);
        let (accept, inbound) = streams::acceptor();
        let swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
            .with_tokio()
            .with_tcp(tcp::Config::new().nodelay(true), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|_| Behaviour { accept, open: libp2p_stream::Behaviour::new(), gossip: gossip(&topic) })
            .unwrap()
            // Streams come and go; a connection without any is still one.
            .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::MAX))
            .build();
        (Self { swarm, topic, dials: HashMap::new() }, inbound)
    }

    pub(super) fn peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    pub(super) fn control(&self) -> libp2p_stream::Control {
        self.swarm.behaviour().open.new_control()
    }

    /// Listens on the loopback interface; the address.
    pub(super) async fn listen(&mut self) -> Multiaddr {
        self.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = self.swarm.select_next_some().await {
                return address.with(Protocol::P2p(self.peer_id()));
            }
        }
    }

    /// Runs until `end`.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        subscribers: watch::Sender<usize>,
        log: Recorder,
        end: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = end.cancelled() => return,
                Some(command) = commands.recv() => self.carry_out(command),
                event = self.swarm.select_next_some() => match event {
                    SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. })) => {
                        log.announced(height_of(&message.data));
                    }
                    SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
                        subscribers.send_modify(|count| *count += 1);
                    }
                    SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                        if let Some(connected) = self.dials.remove(&peer_id) {
                            // A test that gave up does not wait any more.
                            let _ = connected.send(());
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Dial(address, connected) => {
                let peer = peer_of(&address).expect("an address with a peer id");
                self.dials.insert(peer, connected);
                self.swarm.dial(DialOpts::peer_id(peer).addresses(vec![address]).build()).expect("a dial begins");
            }
            Command::Announce(decided) => {
                let message = snap::raw::Encoder::new().compress_vec(&encode(&*decided)).unwrap();
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.publish(self.topic.hash(), message).expect("an announcement goes out");
            }
        }
    }
}

/// The peer that an address names.
pub(super) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    address.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}

/// The topic of a chain's announcements.
fn topic(genesis_id: &Bytes32) -> IdentTopic {
    let chain: String = genesis_id.0[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    IdentTopic::new(format!("/lapis/{chain}/decided_value/ssz_snappy"))
}

/// Accepts and passes on whatever comes: judging is for others.
fn gossip(topic: &IdentTopic) -> gossipsub::Behaviour {
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(message_id)
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap();
    gossip.subscribe(topic).unwrap();
    gossip
}

/// The first 20 bytes of the sha256 of topic and uncompressed message.
fn message_id(message: &gossipsub::Message) -> MessageId {
    let plain = snap::raw::Decoder::new().decompress_vec(&message.data).unwrap_or_default();
    let hash = Sha256::new().chain_update(message.topic.as_str()).chain_update(plain).finalize();
    MessageId::new(&hash[..20])
}

/// The height that an announcement is about, 0 if it is none.
fn height_of(message: &[u8]) -> u64 {
    let plain = snap::raw::Decoder::new().decompress_vec(message).unwrap_or_default();
    decode::<DecidedValue>(&plain).map_or(0, |decided| decided.value.height)
}
