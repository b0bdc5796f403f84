//! Which execution fork is in force at a timestamp.

use lapis_protocol_spec::Genesis;

/// An execution fork whose payloads this node understands.
///
/// Both use `ExecutionPayloadV3`; they differ in what the block header commits to and in the transactions they allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// Blobs (EIP-4844) and the parent beacon block root (EIP-4788).
    Cancun,
    /// Cancun, with execution requests committed to by the header (EIP-7685) and set-code transactions (EIP-7702).
    Prague,
}

/// The block is older than the oldest fork that carries blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timestamp {timestamp} is before Cancun, which starts at {cancun_time}")]
pub struct UnsupportedFork {
    /// The block's timestamp, in seconds.
    pub timestamp: u64,
    /// When Cancun starts, in seconds.
    pub cancun_time: u64,
}

/// When each fork starts, as the chain's genesis says it. Seconds since the Unix epoch, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkSchedule {
    /// First timestamp of Cancun.
    pub cancun_time: u64,
    /// First timestamp of Prague; `u64::MAX` for a chain that has not scheduled it.
    pub prague_time: u64,
}

impl From<&Genesis> for ForkSchedule {
    fn from(genesis: &Genesis) -> Self {
        Self { cancun_time: genesis.cancun_time, prague_time: genesis.prague_time }
    }
}

impl ForkSchedule {
    /// The fork in force at `timestamp`.
    ///
    /// # Errors
    /// [`UnsupportedFork`] before Cancun, whatever `prague_time` says.
    pub fn fork_at(&self, timestamp: u64) -> Result<Fork, UnsupportedFork> {
        Fork::at(timestamp, self.cancun_time, self.prague_time)
    }
}

impl Fork {
    /// The fork in force at `timestamp`, all in seconds.
    ///
    /// # Errors
    /// [`UnsupportedFork`] before Cancun, whatever `prague_time` says.
    pub fn at(timestamp: u64, cancun_time: u64, prague_time: u64) -> Result<Self, UnsupportedFork> {
        if timestamp < cancun_time {
            Err(UnsupportedFork { timestamp, cancun_time })
        } else if timestamp < prague_time {
            Ok(Self::Cancun)
        } else {
            Ok(Self::Prague)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_starts_at_its_own_second() {
        let forks = ForkSchedule { cancun_time: 10, prague_time: 20 };
        assert_eq!(forks.fork_at(9), Err(UnsupportedFork { timestamp: 9, cancun_time: 10 }));
        assert_eq!(forks.fork_at(10), Ok(Fork::Cancun));
        assert_eq!(forks.fork_at(19), Ok(Fork::Cancun));
        assert_eq!(forks.fork_at(20), Ok(Fork::Prague));
        assert_eq!(forks.fork_at(u64::MAX), Ok(Fork::Prague));
    }

    #[test]
    fn both_at_genesis_is_prague_and_prague_does_not_precede_cancun() {
        assert_eq!(Fork::at(0, 0, 0), Ok(Fork::Prague));
        assert!(Fork::at(5, 10, 0).is_err());
    }
}
