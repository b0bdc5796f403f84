//! Import into an execution client, which a server with scripted answers stands for.

mod answers;
mod behind;
mod blobs;
mod checks;
mod failures;

use std::sync::Arc;

use lapis_node::{devnet::spec::DevnetParams, status::NodeStatus};
use lapis_tests::{EngineServer, Home, TestChain, TestNode};

/// A chain that goes from Cancun to Prague, with blobs here and there.
fn chain_of(heights: u64) -> Arc<TestChain> {
    let params = DevnetParams::new(4);
    let params = DevnetParams { prague_time: params.genesis_time + 4, ..params };
    Arc::new(TestChain::new(&params, (0..heights).map(|height| [0, 2, 0, 1][usize::try_from(height % 4).unwrap()])))
}

/// A node that holds the whole chain and has imported nothing.
async fn node_with(chain: &Arc<TestChain>, client: &EngineServer) -> TestNode {
    Home::holding(chain, chain.blocks()).start(client.setup()).await
}

/// Waits until the engine's state has this name.
async fn engine_is(node: &TestNode, kind: &str) -> NodeStatus {
    node.status(&format!("the engine is {kind}"), |status| status.engine.kind == kind).await
}

/// Waits until everything is imported, and holds the client against the chain.
async fn all_imported(node: &TestNode, chain: &TestChain, client: &EngineServer) {
    node.imported(chain.last()).await;
    assert_eq!(client.head(), Some(chain.last()));
    assert_eq!(client.complaints(), Vec::<String>::new());
}
