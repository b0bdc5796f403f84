//! What the importer tells of itself.

use std::{fmt, path::PathBuf};

use lapis_protocol_spec::Height;

use crate::execution::Trouble;

/// What the importer is doing, or what it waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImportState {
    /// The engine has not been asked yet where it stands, or does not have to be asked.
    #[default]
    Connecting,
    /// All that is available is imported.
    Idle,
    /// Importing this height.
    Importing(Height),
    /// The engine lacks heights that were imported once: it is given them again from the store.
    Feeding {
        /// The height that it is given next.
        next: Height,
        /// The last one that was imported.
        last: Height,
    },
    /// The engine is itself syncing, or keeps what it was given for later.
    Syncing(Height),
    /// The height cannot be read from the store; what is damaged is fetched again.
    Unreadable(Height),
    /// The engine does not do what it is asked to.
    Unavailable {
        /// The height it is to take next.
        height: Height,
        /// What sort of failure it is.
        trouble: Trouble,
        /// What happened.
        detail: String,
    },
    /// The engine lacks heights that this node no longer has, or never had since it began above them.
    LacksHistory {
        /// Payloads from here on are held.
        earliest: Height,
    },
    /// The engine does not have the chain's first block.
    WrongChain {
        /// Hash of that block.
        genesis_hash: String,
    },
    /// The engine calls a decided payload invalid, or the payload is not what was certified.
    Halted {
        /// The height.
        height: Height,
        /// Why.
        reason: String,
        /// The file with all that is needed to look into it; `None` if it could not be written.
        evidence: Option<PathBuf>,
    },
}

impl ImportState {
    /// Names of all states, for metrics that show each of them.
    pub const NAMES: [&'static str; 17] = [
        "connecting",
        "idle",
        "importing",
        "feeding",
        "syncing",
        "store_damaged",
        "unreachable",
        "timed_out",
        "unauthorized",
        "failing",
        "incomprehensible",
        "refusing",
        "out_of_order",
        "stopping",
        "lacks_history",
        "wrong_chain",
        "halted",
    ];

    /// Whether import waits for somebody else than the store.
    pub fn is_held_up(&self) -> bool {
        !matches!(self, Self::Connecting | Self::Idle | Self::Importing(_))
    }

    /// Name in JSON, metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Idle => "idle",
            Self::Importing(_) => "importing",
            Self::Feeding { .. } => "feeding",
            Self::Syncing(_) => "syncing",
            Self::Unreadable(_) => "store_damaged",
            Self::Unavailable { trouble, .. } => trouble.as_str(),
            Self::LacksHistory { .. } => "lacks_history",
            Self::WrongChain { .. } => "wrong_chain",
            Self::Halted { .. } => "halted",
        }
    }
}

impl fmt::Display for ImportState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("asking the engine where it stands"),
            Self::Idle => f.write_str("idle"),
            Self::Importing(height) => write!(f, "importing height {height}"),
            Self::Feeding { next, last } => {
                write!(f, "giving the engine heights again that it lacks, {next} of {last}")
            }
            Self::Syncing(height) => write!(f, "syncing, asked for height {height}"),
            Self::Unreadable(height) => write!(f, "waiting for height {height}, which is damaged in the store"),
            Self::Unavailable { height, trouble, detail } => write!(f, "{trouble} at height {height}: {detail}"),
            Self::LacksHistory { earliest } => write!(
                f,
                "it lacks heights below {earliest}, which this node does not hold: let it sync from clients of its own, \
                 or restore its data"
            ),
            Self::WrongChain { genesis_hash } => {
                write!(f, "it does not have the chain's first block {genesis_hash}: it runs with another genesis")
            }
            Self::Halted { height, reason, evidence } => {
                write!(f, "halted at height {height}: {reason}")?;
                match evidence {
                    Some(path) => write!(f, "; evidence in {}", path.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_name_of_its_own_and_troubles_are_among_them() {
        let distinct: std::collections::HashSet<_> = ImportState::NAMES.into_iter().collect();
        assert_eq!(distinct.len(), ImportState::NAMES.len());
        for trouble in Trouble::ALL {
            let state = ImportState::Unavailable { height: 1, trouble, detail: String::new() };
            assert!(ImportState::NAMES.contains(&state.name()), "{}", state.name());
        }
        let halted = ImportState::Halted { height: 7, reason: "no".to_owned(), evidence: Some("/e/7.json".into()) };
        assert_eq!(halted.to_string(), "halted at height 7: no; evidence in /e/7.json");
    }
}
