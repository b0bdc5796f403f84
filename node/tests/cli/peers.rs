//! Peers of a running node, and bans by hand.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::Value;

use crate::{
    place::{Place, lapis},
    running::Running,
};

const PEER: &str = "12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo";
const ADMIN: [(&str, &str); 2] = [("LAPIS_HTTP__ADMIN", "true"), ("LAPIS_HTTP__ADMIN_LISTEN", "127.0.0.1:0")];

fn peers(place: &Place, node: &Running) -> Vec<Value> {
    let json = place.succeed(&["peers", "--http", node.http(), "--json"]);
    assert_eq!(json.lines().count(), 1, "{json}");
    serde_json::from_str(&json).unwrap()
}

/// Peers that are banned, as soon as they are `expected`: what is shown is renewed twice in a second.
fn banned(place: &Place, node: &Running, expected: &[&str]) {
    for _ in 0..600 {
        let shown = peers(place, node);
        let banned = shown.iter().filter(|peer| peer["banned_for_seconds"].is_u64());
        if banned.map(|peer| peer["peer_id"].as_str().unwrap()).eq(expected.iter().copied()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("not {expected:?}: {:?}", peers(place, node));
}

#[test]
fn a_ban_by_hand_survives_a_restart_until_it_is_lifted() {
    let place = Place::new();
    place.init();
    let node = Running::start_with(&place.node(), &ADMIN);
    assert_eq!(place.succeed(&["peers", "--http", node.http()]), "no peers\n");
    let said = place.succeed(&["peers", "ban", PEER, "--for", "2h", "--admin", node.admin()]);
    assert_eq!(said, format!("{PEER} is banned for 2h\n"));
    banned(&place, &node, &[PEER]);
    let table = place.succeed(&["peers", "--http", node.http()]);
    assert!(table.contains(PEER) && table.contains("gone"), "{table}");
    node.stop();

    let node = Running::start_with(&place.node(), &ADMIN);
    banned(&place, &node, &[PEER]);
    let left = peers(&place, &node)[0]["banned_for_seconds"].as_u64().unwrap();
    assert!((6000..=7201).contains(&left), "{left}");
    let said = place.succeed(&["peers", "unban", PEER, "--admin", node.admin()]);
    assert_eq!(said, format!("{PEER} is not banned any more\n"));
    let line = place.fails_with(&mut lapis(&["peers", "unban", PEER, "--admin", node.admin()]), 1);
    assert!(line.contains("the node refuses: this peer is not banned"), "{line}");
    node.stop();

    let node = Running::start_with(&place.node(), &ADMIN);
    banned(&place, &node, &[]);
    node.stop();
}

#[test]
fn a_damaged_peer_store_is_set_aside() {
    let place = Place::new();
    place.init();
    let path = format!("{}/peers.json", place.node());
    std::fs::write(&path, "{ \"version\": 1, ").unwrap();
    let node = Running::start(&place.node());
    assert_eq!(std::fs::read_to_string(format!("{path}.damaged")).unwrap(), "{ \"version\": 1, ");
    node.stop();
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(written["version"], 1);
}

fn answer(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(!response.to_lowercase().contains("access-control-"), "{response}");
    (response.split(' ').nth(1).unwrap().parse().unwrap(), response)
}

#[test]
fn administration_answers_programs_of_this_machine_and_no_pages() {
    let place = Place::new();
    place.init();
    let node = Running::start_with(&place.node(), &ADMIN);
    let admin = node.admin();
    let port = admin.rsplit_once(':').unwrap().1;
    let ban = format!("/peers/{PEER}/ban");
    let post = |path: &str, headers: &str| answer(admin, &format!("POST {path} HTTP/1.1\r\n{headers}\r\n"));
    let host = format!("Host: {admin}\r\n");
    for (path, headers, code) in [
        (ban.as_str(), format!("Host: evil.example:{port}\r\n"), 403),
        (&ban, "Host: 127.0.0.1\r\n".to_owned(), 403),
        (&ban, format!("{host}Host: {admin}\r\n"), 403),
        (&ban, format!("{host}Origin: http://evil.example\r\n"), 403),
        (&ban, format!("{host}Origin: null\r\n"), 403),
        (&ban, format!("{host}Sec-Fetch-Site: cross-site\r\n"), 403),
        (&ban, format!("{host}Content-Length: 5\r\n"), 413),
        ("/peers/nobody/ban", host.clone(), 400),
        (&format!("{ban}?for=ever"), host.clone(), 400),
        (&format!("{ban}?for=400days"), host.clone(), 400),
        (&format!("{ban}?until=1h"), host.clone(), 400),
        (&format!("/peers/{PEER}/unban"), host.clone(), 404),
        ("/peers", host.clone(), 404),
    ] {
        let (found, response) = post(path, &headers);
        assert_eq!(found, code, "{path} {headers:?}: {response}");
        assert!(response.contains("{\"error\":"), "{path} {headers:?}: {response}");
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let (code, response) = answer(admin, &format!("{method} {ban} HTTP/1.1\r\n{host}\r\n"));
        assert_eq!(code, 405, "{response}");
    }
    banned(&place, &node, &[]);
    let (code, response) = post(&format!("{ban}?for=1h"), &format!("Host: localhost:{port}\r\n"));
    assert!(code == 200 && response.contains("\"banned_for_seconds\":3600"), "{response}");
    // What can be looked at changes nothing.
    let shown = answer(node.http(), &format!("POST {ban} HTTP/1.1\r\nHost: {}\r\n\r\n", node.http()));
    assert_eq!(shown.0, 404);
    node.stop();
}

#[test]
fn administration_is_off_unless_asked_for_and_never_beyond_this_machine() {
    let place = Place::new();
    place.init();
    let node = Running::start(&place.node());
    assert!(node.log_of_start()["admin"].is_null());
    node.stop();
    for address in ["0.0.0.0:9652", "10.0.0.1:9652"] {
        place.set_config(&format!("[http]\nadmin = true\nadmin_listen = \"{address}\"\n"));
        let line = place.refused(&["run", "--dir", &place.node()]);
        assert!(line.contains("http.admin_listen") && line.contains("loopback"), "{line}");
    }
    let line = place.refused(&["peers", "ban", "nobody"]);
    assert!(line.contains("must be a peer id"), "{line}");
}
