//! The chains of the cases. Each is built by a client when it is first wanted, and kept.

use std::{collections::HashMap, fmt, sync::Arc};

use lapis_node::devnet::execution_genesis::ExecutionGenesis;
use lapis_tests::{
    TestChain,
    execution::{ClientChain, Kind, Programs},
};
use tokio::sync::{Mutex, OnceCell};

/// EIP-155 id.
const CHAIN_ID: u64 = 1337;
/// Timestamp of block 0.
const START: u64 = 1_700_000_000;
/// First height of Prague where a chain comes to it.
const CROSSING: u64 = 8;

/// The execution forks that a chain goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Forks {
    /// Cancun alone.
    Cancun,
    /// Prague alone.
    Prague,
    /// From Cancun to Prague.
    Both,
}

impl Forks {
    pub(crate) const ALL: [Self; 3] = [Self::Cancun, Self::Prague, Self::Both];

    /// The genesis of such a chain. The timestamp of a height is `START` and as many seconds.
    pub(crate) fn genesis(self) -> ExecutionGenesis {
        let prague_time = match self {
            Self::Cancun => u64::MAX,
            Self::Prague => 0,
            Self::Both => START + CROSSING,
        };
        ExecutionGenesis::new(CHAIN_ID, START, prague_time)
    }

    /// Blobs by height: none, and every number that the fork in force allows.
    pub(crate) fn blobs(self) -> Vec<u64> {
        match self {
            Self::Cancun => (0..=6).chain([0, 3]).collect(),
            Self::Prague => (0..=9).chain([0, 6]).collect(),
            Self::Both => (0..=6).chain((0..=9).rev()).collect(),
        }
    }
}

impl fmt::Display for Forks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancun => "Cancun",
            Self::Prague => "Prague",
            Self::Both => "Cancun to Prague",
        })
    }
}

/// A chain that is done.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) genesis: ExecutionGenesis,
    pub(crate) chain: Arc<TestChain>,
}

/// A chain that is built once.
type Once = Arc<OnceCell<Built>>;

/// Chains by who built them.
#[derive(Debug)]
pub(crate) struct Chains {
    programs: Programs,
    built: Mutex<HashMap<(Kind, Forks), Once>>,
}

impl Chains {
    pub(crate) fn new(programs: Programs) -> Self {
        Self { programs, built: Mutex::default() }
    }

    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The chain that a client of this kind has built, with a height for each of [`Forks::blobs`].
    pub(crate) async fn of(&self, kind: Kind, forks: Forks) -> Built {
        let cell = Arc::clone(self.built.lock().await.entry((kind, forks)).or_default());
        cell.get_or_init(|| self.build(kind, forks, forks.blobs())).await.clone()
    }

    /// A new chain with a height for each number of blobs.
    pub(crate) async fn build(&self, kind: Kind, forks: Forks, blobs: impl IntoIterator<Item = u64>) -> Built {
        let mut making = self.begin(kind, forks).await;
        making.extend(blobs).await;
        let head = making.client().head().await.expect("the client answers");
        let tip = making.maker().tip().execution;
        assert_eq!((head.hash, head.number), (tip.hash, tip.number), "the client follows the chain that it builds");
        Built { genesis: *making.genesis(), chain: Arc::new(making.so_far()) }
    }

    /// A chain at its start.
    pub(crate) async fn begin(&self, kind: Kind, forks: Forks) -> ClientChain {
        ClientChain::start(&self.programs, kind, &forks.genesis()).await
    }
}
