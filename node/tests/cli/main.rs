//! The real program, as a person or a script meets it: exit codes, one clear line on standard error, and nothing changed
//! on disk when the input makes no sense.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod archive;
mod bench;
mod chain;
mod fetch;
mod peers;
mod place;
mod running;
mod upkeep;

use std::{fs, net::TcpListener, process::Command};

use place::{Place, lapis};
use running::Running;

#[test]
fn init_makes_what_the_other_commands_read() {
    let place = Place::new();
    let made = place.init();
    assert!(made.contains("peer id") && made.contains("example-1"), "{made}");

    let key = place.succeed(&["key", "show", "--dir", &place.node()]);
    let peer_id = key.lines().find_map(|line| line.strip_prefix("peer id")).unwrap().trim();
    assert!(peer_id.starts_with("12D3KooW"), "{key}");
    assert!(made.contains(peer_id), "{made}");
    assert!(key.lines().any(|line| line.starts_with("public key") && line.contains("0x")), "{key}");

    let shown = place.succeed(&["config", "show", "--dir", &place.node()]);
    assert!(shown.contains("[sync]\nmax_buffered_bytes = \"64 MiB\"  # default"), "{shown}");
}

#[test]
fn config_show_tells_where_values_come_from() {
    let place = Place::new();
    place.init();
    place.set_config("[verify]\nbatch = 16\n");
    let mut command = lapis(&["config", "show", "--dir", &place.node()]);
    let output = command.env("LAPIS_LOG__FORMAT", "json").output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(&format!("batch = 16  # {}/config.toml:2", place.node())), "{shown}");
    assert!(shown.contains("format = \"json\"  # environment variable LAPIS_LOG__FORMAT"), "{shown}");
}

#[test]
fn help_version_and_completions_go_to_standard_output() {
    let place = Place::new();
    for words in
        [&["--help"][..], &["run", "--help"], &["--version"], &["completions", "bash"], &["completions", "zsh"]]
    {
        assert!(place.succeed(words).contains("lapis"), "{words:?}");
    }
}

#[test]
fn a_directory_that_is_not_there_is_bad_input() {
    let place = Place::new();
    for words in [&["run"][..], &["key", "show"], &["config", "show"]] {
        let mut words = words.to_vec();
        let node = place.node();
        words.extend(["--dir", &node]);
        let line = place.refused(&words);
        assert!(line.contains("no such directory") && line.contains(&place.node()), "{line}");
    }
}

#[test]
fn a_directory_without_a_configuration_is_bad_input() {
    let place = Place::new();
    fs::create_dir(place.path("node")).unwrap();
    let line = place.refused(&["run", "--dir", &place.node()]);
    assert!(line.contains("not initialised") && line.contains("lapis init"), "{line}");
}

#[test]
fn a_genesis_that_is_not_there_is_bad_input() {
    let place = Place::new();
    let missing = place.path("nowhere.json");
    let line = place.refused(&["init", "--dir", &place.node(), "--genesis", &missing]);
    assert!(line.contains("nowhere.json") && line.contains("No such file"), "{line}");
}

#[test]
fn a_malformed_genesis_is_bad_input() {
    let place = Place::new();
    for (text, part) in [
        ("{", "EOF"),
        ("[]", "an object with the fields of a genesis"),
        ("{ \"chain\": 1 }", "unknown field `chain`"),
        (&Place::GENESIS.replace("\"power\": 1", "\"power\": 0"), "power 0"),
        (&Place::GENESIS.replace("\"max_blobs_per_block\": 6", "\"max_blobs_per_block\": 5000"), "5000"),
    ] {
        fs::write(place.path("bad.json"), text).unwrap();
        let line = place.refused(&["init", "--dir", &place.node(), "--genesis", &place.path("bad.json")]);
        assert!(line.contains("bad.json") && line.contains(part), "{line}");
    }
}

#[test]
fn init_on_a_directory_in_use_is_bad_input() {
    let place = Place::new();
    place.init();
    let words = ["init", "--dir", &place.node(), "--genesis", &place.path("chain.json")];
    assert!(place.refused(&words).contains("initialised already"));

    let other = place.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(format!("{other}/thesis.txt"), "years of work").unwrap();
    let words = ["init", "--dir", &other, "--genesis", &place.path("chain.json")];
    assert!(place.refused(&words).contains("thesis.txt"));
}

#[test]
fn a_damaged_configuration_is_bad_input() {
    let place = Place::new();
    place.init();
    for (text, part) in [
        ("[sync\n", "config.toml:1: not valid TOML"),
        ("[sync]\nmax_bufered_bytes = 1\n", "did you mean sync.max_buffered_bytes?"),
        ("[sync]\nprogress_timeout = \"30 parsecs\"\n", "sync.progress_timeout is \"30 parsecs\""),
        ("[sync]\nmax_buffered_bytes = \"1 KiB\"\n", "at least 32.0 MiB"),
        ("[retention]\nblob_heights = 1\n", "at least 1000 heights"),
    ] {
        place.set_config(text);
        for words in [&["run"][..], &["config", "show"]] {
            let mut words = words.to_vec();
            let node = place.node();
            words.extend(["--dir", &node]);
            let line = place.refused(&words);
            assert!(line.contains(part), "{line}");
        }
    }
}

#[test]
fn a_variable_that_makes_no_sense_is_bad_input() {
    let place = Place::new();
    place.init();
    let mut command = lapis(&["run", "--dir", &place.node()]);
    let line = place.refused_by(command.env("LAPIS_SYNC__PROGRESS_TIMEOUT", "soon"));
    assert!(
        line.contains("environment variable LAPIS_SYNC__PROGRESS_TIMEOUT: sync.progress_timeout is \"soon\""),
        "{line}"
    );
}

#[test]
fn a_damaged_key_is_bad_input() {
    let place = Place::new();
    place.init();
    fs::write(format!("{}/node.key", place.node()), "not a key\n").unwrap();
    for words in [&["run"][..], &["key", "show"]] {
        let mut words = words.to_vec();
        let node = place.node();
        words.extend(["--dir", &node]);
        let line = place.refused(&words);
        assert!(line.contains("node.key does not hold a key"), "{line}");
    }
}

#[test]
fn a_lost_genesis_is_bad_input() {
    let place = Place::new();
    place.init();
    fs::remove_file(format!("{}/genesis.json", place.node())).unwrap();
    let line = place.refused(&["run", "--dir", &place.node()]);
    assert!(line.contains("cannot read genesis file") && line.contains("genesis.json"), "{line}");
}

#[test]
fn flags_that_make_no_sense_are_bad_input() {
    let place = Place::new();
    place.init();
    for (words, part) in [
        (&["run", "--dir", "d", "--frob"][..], "'--frob'"),
        (&["run"], "--dir <DIR>"),
        (&["run", "--dir", "d", "--engine", "steam"], "embedded, engine-api, none"),
        (&["devnet", "--blobs", "4097"], "4097"),
        (&["devnet", "--block-time", "fast"], "such as 200ms"),
        (&["status", "--http", "nowhere"], "host and a port"),
        (&["frobnicate"], "'frobnicate'"),
        (&[], "a command is missing"),
    ] {
        let line = place.refused(words);
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_node_runs_answers_and_stops_in_order() {
    let place = Place::new();
    place.init();
    let node = Running::start(&place.node());
    let json = place.succeed(&["status", "--http", node.http(), "--json"]);
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    let key = place.succeed(&["key", "show", "--dir", &place.node()]);
    assert!(key.contains(status["peer_id"].as_str().unwrap()), "{status}");
    assert_eq!(status["imported_height"], 0);
    let table = place.succeed(&["status", "--http", node.http()]);
    assert!(table.contains("example-1"), "{table}");

    // A second node on the same directory is refused while the first one runs.
    let error = lapis(&Running::words(&place.node())).output().unwrap();
    assert_eq!(error.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&error.stderr).contains("already open"));

    assert_eq!(node.stop(), Some(0));
}

#[test]
fn an_execution_client_without_a_usable_secret_is_bad_input_before_anything_is_made() {
    let place = Place::new();
    place.init();
    let (node, secret) = (place.node(), place.path("jwt.hex"));
    let mut words = Running::words(&node).to_vec();
    words.extend(["--engine", "engine-api", "--engine-url", "http://127.0.0.1:1"]);
    assert!(place.refused(&words).contains("engine.jwt_secret"));
    words.extend(["--jwt-secret", &secret]);
    let line = place.refused(&words);
    assert!(line.contains("jwt.hex") && line.contains("No such file"), "{line}");
    fs::write(&secret, "not a secret\n").unwrap();
    let line = place.refused(&words);
    assert!(line.contains("jwt.hex") && line.contains("64 hex digits"), "{line}");
    assert!(!fs::exists(format!("{node}/store.redb")).unwrap(), "nothing was made");
    let line = place.refused(&["run", "--dir", &node, "--engine", "engine-api"]);
    assert!(line.contains("engine.url"), "{line}");
}

#[test]
fn a_port_in_use_is_bad_input() {
    let place = Place::new();
    place.init();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (node, http) = (place.node(), address.to_string());
    let free = "/ip4/127.0.0.1/tcp/0";
    let line = place.refused(&["run", "--dir", &node, "--listen", free, "--http", &http]);
    assert!(line.contains(&http) && line.contains("in use"), "{line}");
    let listen = format!("/ip4/127.0.0.1/tcp/{}", address.port());
    let line = place.refused(&["run", "--dir", &node, "--listen", &listen, "--http", "127.0.0.1:0"]);
    assert!(line.contains(&listen) && line.contains("in use"), "{line}");
}

#[test]
fn a_trusted_setup_that_is_not_the_configured_one_is_bad_input() {
    let place = Place::new();
    place.init();
    fs::write(place.path("setup.json"), "{}").unwrap();
    let hash = "11".repeat(32);
    place.set_config(&format!("[trusted_setup]\npath = \"{}\"\nsha256 = \"{hash}\"\n", place.path("setup.json")));
    let line = place.refused(&["run", "--dir", &place.node()]);
    assert!(line.contains("sha256") && line.contains(&hash), "{line}");
}

#[test]
fn a_node_that_does_not_answer_is_a_failure() {
    let place = Place::new();
    // Bound and closed again: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command: Command = lapis(&["status", "--http", &address]);
    let line = place.fails_with(&mut command, 1);
    assert!(line.contains(&format!("no answer from http://{address}/status")), "{line}");
}
