//! The Lapis network over libp2p.
//!
//! One [`Service`] runs the network of a node. The node talks to it through a [`Handle`], hears of it through
//! [`Events`], and lends it a [`Provider`] from which requests of others are answered.
//!
//! - **Exchanges**: one stream per request, items one by one, paced by whoever reads ([`Exchange`]).
//! - **Peers**: a peer is ready when statuses were exchanged and the chain is the same ([`Event::PeerReady`]); offences
//!   cost it score, in the end the connection, and a ban ([`Offence`], [`ScoreRules`]). Trusted peers are only reported.
//! - **Discovery**: as many peers as wanted ([`Discovery`]), found through boot nodes, Kademlia, and what peers tell.
//!   What is known of peers is in memory: [`Handle::remembered`] tells what the next run should be given.
//! - **Announcements**: decided values by gossip, passed on only when the node has judged them.
//! - **Limits**: everything that a peer can make this node do is bounded ([`Limits`], [`Timeouts`]).
//!
//! The crate moves bytes and knows whose fault it is when that fails. It verifies no value, proof or certificate and
//! stores nothing.

mod config;
mod discovery;
mod error;
mod events;
mod exchange;
mod gossip;
mod handle;
mod limiter;
pub mod limits;
mod metrics;
mod peers;
mod permits;
mod provider;
mod server;
mod service;
mod streams;
mod transport;

pub use config::{Agent, Ban, Config, Dialing, Discovery, KnownPeer, Mdns, Redial, Remembered, Walks};
pub use error::{
    AnnounceError, BanError, DialError, ExchangeError, Fault, RequestError, ServiceError, Stall, StartError, Stopped,
};
pub use events::{AnnouncementId, Event, Events, GoneReason};
pub use exchange::Exchange;
pub use handle::{Acceptance, Announcement, Handle};
pub use limits::{
    ConnectionLimits, ExchangeLimits, Limits, LimitsError, Loopback, NearHead, QueueLength, Quota, RateLimits,
    RememberedPeers, Timeouts,
};
pub use peers::{ConnectionInfo, Direction, LastFault, Offence, PeerInfo, PeerState, Score, ScoreRules, Verdict};
pub use provider::{ChunkBuffer, Encoded, ItemSource, NoItems, Provider, ServeError};
pub use service::Service;
