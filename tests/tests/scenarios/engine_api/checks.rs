//! What is found before a client is called.

use lapis_node::execution::{
    ExecutionEngine, ForkSchedule, ImportBlock, InvalidBlock, PayloadStatus,
    engine_api::{CallObserver, ClientEngine, EngineApi, EngineApiSettings, JwtSecret},
};
use lapis_protocol_spec::{PayloadEnvelope, Value};
use lapis_storage::Batch;
use lapis_tests::{EngineServer, Home, TestChain};

use super::{all_imported, chain_of};

fn engine(chain: &TestChain, client: &EngineServer) -> ClientEngine {
    let config = client.setup().config.engine;
    let settings = EngineApiSettings {
        url: config.url.unwrap().parse().unwrap(),
        secret: JwtSecret::from_file(&client.jwt_path()).unwrap(),
        payload_timeout: config.payload_timeout,
        call_timeout: config.call_timeout,
        max_blobs: 1024,
    };
    ClientEngine::new(EngineApi::new(settings, CallObserver::default()).unwrap(), forks(chain))
}

fn forks(chain: &TestChain) -> ForkSchedule {
    ForkSchedule::from(chain.spec().genesis())
}

fn value(chain: &TestChain, height: u64) -> Value {
    Value::clone(chain.block(height).value.value())
}

fn envelope(chain: &TestChain, height: u64) -> PayloadEnvelope {
    PayloadEnvelope::clone(&chain.block(height).payload)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_the_certified_block_reaches_the_client() {
    let chain = chain_of(6);
    let client = EngineServer::start(&chain).await;
    let mut engine = engine(&chain, &client);
    let mut offer = async |value: &Value, envelope: &PayloadEnvelope| {
        let block = ImportBlock::new(value, envelope, forks(&chain)).unwrap();
        engine.new_payload(&block).await
    };
    // A payload of another height.
    let status = offer(&value(&chain, 2), &envelope(&chain, 6)).await;
    assert!(matches!(status, PayloadStatus::Uncertified(_)), "{status:?}");
    // Versioned hashes in another order than the transactions have them: the chain decided what cannot be valid.
    let mut swapped = value(&chain, 2);
    let (first, second) = (swapped.blob_kzg_commitments[0], swapped.blob_kzg_commitments[1]);
    swapped.blob_kzg_commitments[0] = second;
    swapped.blob_kzg_commitments[1] = first;
    let status = offer(&swapped, &envelope(&chain, 2)).await;
    assert!(matches!(status, PayloadStatus::Invalid(InvalidBlock::Fault(_))), "{status:?}");
    // One blob fewer, another block hash, another parent, another time.
    let changes: [fn(&mut Value); 4] = [
        |value| {
            value.blob_kzg_commitments.pop();
        },
        |value| value.block_hash.0[0] ^= 1,
        |value| value.parent_block_hash.0[0] ^= 1,
        |value| value.timestamp += 1,
    ];
    for change in changes {
        let mut changed = value(&chain, 2);
        change(&mut changed);
        let status = offer(&changed, &envelope(&chain, 2)).await;
        assert!(matches!(status, PayloadStatus::Invalid(InvalidBlock::Fault(_))), "{status:?}");
    }
    assert_eq!(client.methods(), Vec::<String>::new());
    // The same without a change does.
    let status = offer(&value(&chain, 1), &envelope(&chain, 1)).await;
    assert!(matches!(status, PayloadStatus::Valid { .. }), "{status:?}");
    assert_eq!(client.methods(), ["newPayloadV3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_height_without_its_blobs_is_not_offered() {
    let chain = chain_of(8);
    let client = EngineServer::start(&chain).await;
    let home = Home::holding_except(&chain, chain.blocks(), |height, index| height == 6 && index == 1);
    let node = home.start(client.setup()).await;
    node.imported(5).await;
    assert_eq!(client.head(), Some(5));
    let blobs = chain.block(6).blobs[1..].to_vec();
    assert!(client.calls().iter().all(|call| call.params[0]["blockNumber"] != "0x6"), "{:?}", client.methods());
    node.store().insert(Batch { payloads: Vec::new(), blobs }).unwrap();
    node.handle().feed.refresh();
    all_imported(&node, &chain, &client).await;
    node.stop().await;
}
