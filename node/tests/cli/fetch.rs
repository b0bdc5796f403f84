//! `lapis fetch` where it cannot work.

use crate::place::{Place, lapis};

#[test]
fn what_makes_no_sense_is_told_on_one_line() {
    let place = Place::new();
    let (out, hash) = (place.path("out"), "01".repeat(32));
    let always = ["fetch", "--out", out.as_str()];
    let peer = ["--peer", "/ip4/127.0.0.1/tcp/9"];
    let cases: [(&[&str], &str); 5] = [
        (&["--dir", "d"], "--range"),
        (&["--range", "1..2"], "--dir"),
        (&["--dir", "d", "--range", "1..2", "--hash", &hash], "--hash"),
        (&["--dir", "d", "--hash", "01"], "versioned hash"),
        (&["--dir", "d", "--range", "2..1"], "two heights"),
    ];
    for (words, expected) in cases {
        let line = place.refused(&[&always[..], &peer[..], words].concat());
        assert!(line.contains(expected), "{words:?}: {line}");
    }
    let line = place.refused(&[&always[..], &["--peer", "nowhere", "--dir", "d", "--range", "1..2"]].concat());
    assert!(line.contains("--peer"), "{line}");
}

#[test]
fn a_peer_that_is_not_there_is_a_failure() {
    let place = Place::new();
    // Nobody listens on a port that was given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    let out = tempfile::tempdir().unwrap();
    let mut command = lapis(&["fetch", "--range", "1..2", "--peer", &address, "--genesis", &place.path("chain.json")]);
    let line = place.fails_with(command.arg("--out").arg(out.path()), 1);
    assert!(line.contains("cannot reach"), "{line}");
}
