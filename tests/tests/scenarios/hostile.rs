//! The `hostile-peer` program: what it writes, and that it does what it is told.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use lapis_node::genesis_file;
use lapis_tests::{Home, ScriptedPeer, Setup, TestChain, assert_holds, peer::fault::catalog};
use libp2p::{Multiaddr, multiaddr::Protocol};
use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hostile-peer");

/// Killed when it is dropped.
struct Playing(Child);

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_fault_has_a_name_of_its_own_and_unknown_ones_are_refused() {
    let output = Command::new(PROGRAM).arg("list").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<&str> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names.len(), catalog().len() + 1);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), catalog().len() + 1);
    let output = Command::new(PROGRAM).args(["play", "blob/right-proof"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hostile-peer list"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_plays_a_fault_against_a_node_that_has_its_genesis() {
    let chain = Arc::new(TestChain::of_four([2; 6]));
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("genesis.json");
    assert!(Command::new(PROGRAM).args(["genesis", "--out"]).arg(&file).status().unwrap().success());
    assert_eq!(genesis_file::load(&file).unwrap().id(), *chain.chain().id());

    let node = Home::new(&chain).start(Setup::default()).await;
    let mut command = Command::new(PROGRAM);
    command.args(["play", "blob/wrong-proof", "--heights", "6", "--blobs", "2", "--dial", &node.address().to_string()]);
    let mut playing = Playing(command.stdout(Stdio::piped()).spawn().unwrap());
    let stdout: Box<dyn Read + Send> = Box::new(playing.0.stdout.take().unwrap());
    let line = tokio::task::spawn_blocking(|| BufReader::new(stdout).lines().next().unwrap().unwrap()).await.unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let address: Multiaddr = said["address"].as_str().unwrap().parse().unwrap();
    let Some(Protocol::P2p(hostile)) = address.iter().last() else { panic!("{address} names nobody") };
    node.knows("a ban", hostile, |info| info.banned_for.is_some()).await;

    let honest = ScriptedPeer::honest(&chain).await;
    node.dial(honest.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    node.stop().await;
}
