//! What is known of peers, and what follows from it. Pure: `now` and randomness are arguments, nothing here does IO.

mod dialer;
mod info;
mod offence;
mod record;
mod score;
mod table;

pub use info::{ConnectionInfo, Direction, LastFault, PeerInfo, PeerState};
pub use offence::Offence;
pub use score::{Score, ScoreRules, Verdict};

pub(crate) use dialer::{Dialer, Failure, peer_of};
pub(crate) use record::Link;
pub(crate) use table::{Expiry, StatusOutcome, Table, TableRules};
