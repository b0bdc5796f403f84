//! What a client may answer.

use std::time::{Duration, SystemTime};

use lapis_tests::EngineServer;

use super::{all_imported, chain_of, engine_is, node_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_height_is_offered_in_order_and_made_the_head() {
    let chain = chain_of(8);
    let client = EngineServer::start(&chain).await;
    let node = node_with(&chain, &client).await;
    all_imported(&node, &chain, &client).await;
    let numbers: Vec<_> = client
        .calls()
        .iter()
        .filter(|call| call.method.starts_with("engine_newPayload"))
        .map(|call| (call.method.clone(), call.params[0]["blockNumber"].as_str().unwrap().to_owned()))
        .collect();
    let expected: Vec<_> = (1..=8)
        .map(|height| {
            let version = if height < 4 { 3 } else { 4 };
            (format!("engine_newPayloadV{version}"), format!("{height:#x}"))
        })
        .collect();
    assert_eq!(numbers, expected);
    assert_eq!(client.methods()[..2], ["exchangeCapabilities", "eth_getBlockByNumber"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    for call in client.calls() {
        let issued = Duration::from_secs(call.issued_at.expect("every call is signed"));
        assert!(now.abs_diff(issued) < Duration::from_secs(60), "{call:?}");
    }
    engine_is(&node, "idle").await;
    node.stop().await;
}
