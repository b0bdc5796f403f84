//! An execution client for tests: the Engine API over real HTTP on the loopback interface.
//!
//! Left alone it behaves as a client does that executes nothing: it takes blocks whose parent it has, holds every parameter
//! against the chain, moves its head, forgets what it is told to forget. Any call can be ordered to be answered in any
//! other way ([`Reaction`]). Its HTTP is written by hand, so that it can be wrong in every way, and its connections are
//! cut when a test says so.

mod http;
mod model;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use lapis_node::execution::engine_api::JwtSecret;
use lapis_protocol_spec::Height;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use self::model::Model;
use crate::{PATIENCE, Setup, TestChain};

/// What is done with a call instead of answering it properly.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// This result.
    Result(Json),
    /// A JSON-RPC error with this code and message.
    Error(i64, &'static str),
    /// This HTTP status and body.
    Http(u16, &'static str),
    /// Nothing, for ever.
    Silence,
    /// The connection is closed without an answer.
    Cut,
    /// A body that does not end.
    Endless,
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct ReceivedCall {
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Json,
    /// The claim `iat` of its token; `None` if the token is not signed with the secret.
    pub issued_at: Option<u64>,
    /// Which connection it came on.
    pub connection: u64,
}

/// What stands between a call and its proper answer.
#[derive(Clone, Debug)]
struct Order {
    method: &'static str,
    reaction: Reaction,
    /// How often; `None` until it is lifted.
    left: Option<usize>,
}

struct State {
    model: Model,
    orders: Vec<Order>,
    /// Close the connection after each answer, without announcing it.
    closes_connections: bool,
    secret: JwtSecret,
    connections: u64,
}

/// The client. It is gone when it is dropped.
#[derive(Debug)]
pub struct EngineServer {
    dir: TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    calls: watch::Sender<Vec<ReceivedCall>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl EngineServer {
    /// A client that has the chain's first block and nothing else.
    pub async fn start(chain: &Arc<TestChain>) -> Self {
        let dir = TempDir::new().unwrap();
        let digits = "5a".repeat(32);
        std::fs::write(dir.path().join("jwt.hex"), &digits).unwrap();
        let state = State {
            model: Model::new(chain),
            orders: Vec::new(),
            closes_connections: false,
            secret: JwtSecret::from_hex(&digits).unwrap(),
            connections: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), calls: watch::Sender::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listening = Some(tokio::spawn(http::listen(listener, Arc::clone(&shared))));
        Self { dir, address, shared, listening }
    }

    /// `setup` with this client as its engine, and with waits that suit a test.
    pub fn engine_of(&self, mut setup: Setup) -> Setup {
        let engine = &mut setup.config.engine;
        engine.kind = lapis_node::config::EngineKind::EngineApi;
        engine.url = Some(format!("http://{}", self.address));
        engine.jwt_secret = Some(self.jwt_path());
        engine.longest_retry = std::time::Duration::from_millis(50);
        engine.check_interval = std::time::Duration::from_millis(100);
        setup
    }

    /// A node without peers, whose engine this is.
    pub fn setup(&self) -> Setup {
        self.engine_of(Setup::default())
    }

    /// The file with the secret.
    pub fn jwt_path(&self) -> PathBuf {
        self.dir.path().join("jwt.hex")
    }

    /// Answers the next `times` calls of `method` with `reaction`. Orders for a method are followed one after the other.
    pub fn order(&self, method: &'static str, times: usize, reaction: Reaction) {
        self.with(|state| state.orders.push(Order { method, reaction, left: Some(times) }));
    }

    /// Answers all calls of `method` with `reaction` until [`EngineServer::behave`].
    pub fn order_always(&self, method: &'static str, reaction: Reaction) {
        self.with(|state| state.orders.push(Order { method, reaction, left: None }));
    }

    /// Takes all orders back.
    pub fn behave(&self) {
        self.with(|state| state.orders.clear());
    }

    /// Closes connections after each answer from now on, without announcing it.
    pub fn close_connections(&self) {
        self.with(|state| state.closes_connections = true);
    }

    /// Answers with ACCEPTED where it would with SYNCING.
    pub fn say_accepted(&self) {
        self.with(|state| state.model.says_accepted = true);
    }

    /// Writes hex in capitals.
    pub fn write_capitals(&self) {
        self.with(|state| state.model.writes_capitals = true);
    }

    /// Forgets every block above `height`.
    pub fn forget_above(&self, height: Height) {
        self.with(|state| state.model.forget_above(height));
    }

    /// Puts its head on a block that is not of the chain, above `height`.
    pub fn fork_off_at(&self, height: Height) {
        self.with(|state| state.model.fork_off_at(height));
    }

    /// Has another first block.
    pub fn change_genesis(&self) {
        self.with(|state| state.model.change_genesis());
    }

    /// Has these blobs, by height and index, in its pool from now on, and says that it gives blobs.
    pub fn hold_blobs(&self, which: impl Fn(Height, u64) -> bool) {
        self.with(|state| state.model.hold_blobs(which));
    }

    /// Changes a bit of every blob that it gives.
    pub fn spoil_blobs(&self) {
        self.with(|state| state.model.spoils_blobs = true);
    }

    /// Has all blocks up to `height`, as if from peers of its own.
    pub fn acquire(&self, height: Height) {
        self.with(|state| state.model.acquire(height));
    }

    /// Height of its head; `None` if that is not a block of the chain.
    pub fn head(&self) -> Option<Height> {
        self.with(|state| state.model.head_height())
    }

    /// Faults that it found in parameters.
    pub fn complaints(&self) -> Vec<String> {
        self.with(|state| state.model.complaints.clone())
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<ReceivedCall> {
        self.shared.calls.borrow().clone()
    }

    /// Names of all calls so far, without `engine_`.
    pub fn methods(&self) -> Vec<String> {
        self.calls().iter().map(|call| call.method.trim_start_matches("engine_").to_owned()).collect()
    }

    /// Number of calls of `method` so far.
    pub fn count(&self, method: &str) -> usize {
        self.shared.calls.borrow().iter().filter(|call| call.method == method).count()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.shared.calls.send_replace(Vec::new());
    }

    /// Waits until the calls are as `wanted`.
    pub async fn until(&self, what: &str, mut wanted: impl FnMut(&[ReceivedCall]) -> bool) {
        let mut calls = self.shared.calls.subscribe();
        let found = tokio::time::timeout(PATIENCE, calls.wait_for(|calls| wanted(calls))).await.is_ok();
        assert!(found, "waited {PATIENCE:?} in vain: {what}; calls: {:?}", self.methods());
    }

    /// Waits until `method` was called `times` in all.
    pub async fn called(&self, method: &str, times: usize) {
        let count = |calls: &[ReceivedCall]| calls.iter().filter(|call| call.method == method).count();
        self.until(&format!("{times} calls of {method}"), |calls| count(calls) >= times).await;
    }

    /// Stops answering: connections are cut, and new ones refused.
    pub async fn stop(&mut self) {
        if let Some(task) = self.listening.take() {
            task.abort();
            // It was aborted, which is what it says.
            let _ = task.await;
        }
    }

    /// Answers again, at the same address, with what it has.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listening = Some(tokio::spawn(http::listen(listener, Arc::clone(&self.shared))));
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state.lock().unwrap())
    }
}

impl Drop for EngineServer {
    fn drop(&mut self) {
        if let Some(task) = &self.listening {
            task.abort();
        }
    }
}

impl Shared {
    fn connected(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        state.connections += 1;
        state.connections
    }

    /// What is to be done with a call, and whether the connection is closed afterwards.
    fn react(&self, token: &str, connection: u64, body: &[u8]) -> (Json, Reaction, bool) {
        let call: Json = serde_json::from_slice(body).expect("calls are JSON");
        let method = call["method"].as_str().unwrap().to_owned();
        let mut state = self.state.lock().unwrap();
        let issued_at = state.secret.issued_at(token);
        let ordered = state.orders.iter_mut().find(|order| order.method == method).map(|order| {
            if let Some(left) = &mut order.left {
                *left -= 1;
            }
            order.reaction.clone()
        });
        state.orders.retain(|order| order.left != Some(0));
        let reaction = match ordered {
            Some(reaction) => reaction,
            None if issued_at.is_none() => Reaction::Http(401, "token signature is invalid"),
            None => state.model.answer(&method, &call["params"]),
        };
        let closes = state.closes_connections;
        drop(state);
        let received = ReceivedCall { method, params: call["params"].clone(), issued_at, connection };
        self.calls.send_modify(|calls| calls.push(received));
        (call["id"].clone(), reaction, closes)
    }
}

/// A payload status as a result.
pub fn status(name: &str) -> Json {
    json!({ "status": name, "latestValidHash": null, "validationError": null })
}

/// The result of a forkchoice update.
pub fn forkchoice(name: &str) -> Json {
    json!({ "payloadStatus": status(name), "payloadId": null })
}
