//! `lapis peers`: whom a running node knows, and bans by hand.

use std::time::Duration;

use serde::Deserialize;

use super::{
    BanArgs, CliError, PeersArgs, PeersCommand, UnbanArgs, ask,
    dispatch::{compact, print},
};
use crate::status::PeerView;

/// What is said of a ban.
#[derive(Deserialize)]
struct Banned {
    banned_for_seconds: Option<u64>,
}

/// Shows peers, or bans one.
pub(super) async fn run(args: PeersArgs) -> Result<(), CliError> {
    match args.command {
        Some(PeersCommand::Ban(ban)) => self::ban(ban).await,
        Some(PeersCommand::Unban(unban)) => self::unban(unban).await,
        None => {
            let url = ask::url("--http", &args.http, "peers")?;
            let peers: Vec<PeerView> = ask::look(&ask::client()?, &url).await.map_err(CliError::failed)?;
            print(&if args.json { compact(&peers)? } else { for_people(&peers) })
        }
    }
}

async fn ban(args: BanArgs) -> Result<(), CliError> {
    let BanArgs { peer, time, admin } = args;
    let mut url = ask::url("--admin", &admin, &format!("peers/{peer}/ban"))?;
    url.query_pairs_mut().append_pair("for", &humantime::format_duration(time).to_string());
    let Banned { banned_for_seconds } = ask::act(&ask::client()?, &url).await.map_err(CliError::failed)?;
    let time = Duration::from_secs(banned_for_seconds.unwrap_or_default());
    print(&format!("{peer} is banned for {}\n", humantime::format_duration(time)))
}

async fn unban(args: UnbanArgs) -> Result<(), CliError> {
    let UnbanArgs { peer, admin } = args;
    let url = ask::url("--admin", &admin, &format!("peers/{peer}/unban"))?;
    let _: Banned = ask::act(&ask::client()?, &url).await.map_err(CliError::failed)?;
    print(&format!("{peer} is not banned any more\n"))
}

/// Titles of the columns.
const TITLES: [&str; 11] =
    ["peer", "state", "from", "trust", "rate", "window", "claims", "received", "sent", "banned for", "last fault"];

/// One line per peer: those that are connected first.
fn for_people(peers: &[PeerView]) -> String {
    if peers.is_empty() {
        return "no peers\n".to_owned();
    }
    let mut sorted: Vec<_> = peers.iter().collect();
    sorted.sort_by_key(|peer| (!peer.connected, peer.peer_id));
    let rows = std::iter::once(TITLES.map(str::to_owned)).chain(sorted.into_iter().map(row));
    columns(&rows.collect::<Vec<_>>())
}

fn row(peer: &PeerView) -> [String; TITLES.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let capacity = peer.capacity.as_ref();
    let rate = capacity.and_then(|capacity| capacity.bytes_per_second).map(|rate| format!("{}/s", bytes(rate)));
    [
        peer.peer_id.to_string(),
        peer.state.as_str().to_owned(),
        if peer.connected { peer.direction.as_str().to_owned() } else { "-".to_owned() },
        if peer.trusted { "trusted".to_owned() } else { format!("{:.1}", peer.score) },
        or_dash(rate),
        or_dash(capacity.map(|capacity| bytes(capacity.window_bytes))),
        or_dash(peer.claims.map(|claims| {
            format!(
                "{} ({} whole, from {})",
                claims.decided_height, claims.available_height, claims.earliest_blob_height
            )
        })),
        bytes(peer.bytes_in),
        bytes(peer.bytes_out),
        or_dash(peer.banned_for_seconds.map(|left| humantime::format_duration(Duration::from_secs(left)).to_string())),
        or_dash(peer.last_fault.as_ref().map(|fault| last_fault(peer, fault))),
    ]
}

fn last_fault(peer: &PeerView, fault: &str) -> String {
    let why = peer.last_fault_why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let ago = peer.last_fault_seconds_ago.map(Duration::from_secs);
    let ago = ago.map(|ago| format!(", {} ago", humantime::format_duration(ago))).unwrap_or_default();
    format!("{fault}{why}{ago}")
}

/// Rows under one another, two spaces between columns.
fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use libp2p::PeerId;

    use super::*;
    use crate::status::{CapacityView, Direction, PeerClaims, PeerStateView};

    fn view(state: PeerStateView) -> PeerView {
        PeerView {
            peer_id: PeerId::random(),
            connected: state != PeerStateView::Gone,
            state,
            addresses: Vec::new(),
            direction: Direction::Outbound,
            agent: String::new(),
            claims: None,
            capacity: None,
            score: 0.0,
            trusted: false,
            last_fault: None,
            last_fault_why: None,
            last_fault_seconds_ago: None,
            banned_for_seconds: None,
            round_trip_ms: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    #[test]
    fn people_see_trust_capacity_claims_bytes_and_the_last_fault() {
        let claims = PeerClaims {
            decided_height: 840,
            available_height: 839,
            earliest_value_height: 1,
            earliest_payload_height: 1,
            earliest_blob_height: 700,
        };
        let good = PeerView {
            claims: Some(claims),
            capacity: Some(CapacityView {
                bytes_per_second: Some(10 << 20),
                window_bytes: 4 << 20,
                in_flight_bytes: 0,
            }),
            bytes_in: 3 << 20,
            ..view(PeerStateView::Ready)
        };
        let bad = PeerView {
            score: -100.0,
            last_fault: Some("invalid_data".to_owned()),
            last_fault_why: Some("sent data that does not hold".to_owned()),
            last_fault_seconds_ago: Some(61),
            banned_for_seconds: Some(3600),
            ..view(PeerStateView::Gone)
        };
        let text = for_people(&[bad.clone(), good.clone()]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(TITLES.iter().all(|title| lines[0].contains(title)), "{text}");
        for part in [&good.peer_id.to_string(), "ready", "outbound", "10.0 MiB/s", "840 (839 whole, from 700)"] {
            assert!(lines[1].contains(part), "{part} is not in {text}");
        }
        for part in ["gone", "-100.0", "1h", "invalid_data: sent data that does not hold, 1m 1s ago"] {
            assert!(lines[2].contains(part), "{part} is not in {text}");
        }
        let column = |line: &str, part: &str| line.find(part).unwrap();
        assert_eq!(column(lines[0], "state"), column(lines[1], "ready"));
        assert_eq!(column(lines[0], "state"), column(lines[2], "gone"));
        assert_eq!(for_people(&[]), "no peers\n");
    }
}
