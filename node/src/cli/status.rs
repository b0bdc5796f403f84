//! `lapis status`: asks a node over HTTP and shows what it says.

use std::{io::IsTerminal, time::Duration};

use super::{
    CliError, StatusArgs, ask,
    dispatch::{compact, print, table},
};
use crate::status::{ArchiverStatus, NodeStatus};

/// Time between two questions of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Clears a terminal.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows the status once, or again and again until interrupted.
pub(super) async fn run(args: StatusArgs) -> Result<(), CliError> {
    let url = ask::url("--http", &args.http, "status")?;
    let client = ask::client()?;
    let clear = if args.watch && !args.json && std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let status: NodeStatus = tokio::select! {
            status = ask::look(&client, &url) => status.map_err(CliError::failed)?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let text = if args.json { compact(&status)? } else { for_people(&status) };
        print(&format!("{clear}{text}"))?;
        if !args.watch {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

fn for_people(status: &NodeStatus) -> String {
    let sync = &status.sync;
    let addresses: Vec<_> = status.addresses.iter().map(ToString::to_string).collect();
    table(&[
        ("chain", format!("{} ({})", status.chain_id, status.genesis_id)),
        ("peer id", status.peer_id.to_string()),
        ("version", status.version.clone()),
        ("up", humantime::format_duration(status.uptime()).to_string()),
        ("addresses", if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") }),
        ("ready", if status.ready { "yes".to_owned() } else { format!("no: {}", status.not_ready.join("; ")) }),
        ("stall", status.stall.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)),
        ("peers", status.peers.to_string()),
        ("target", status.target_height.to_string()),
        ("decided", status.decided_height.to_string()),
        ("decided value", status.decided_value_id.to_string()),
        ("available", status.available_height.to_string()),
        ("imported", status.imported_height.to_string()),
        ("pruned", status.pruned_height.to_string()),
        ("values from", status.earliest_value_height.to_string()),
        ("payloads from", status.earliest_payload_height.to_string()),
        ("blobs from", status.earliest_blob_height.to_string()),
        ("engine", format!("{}, {}", status.engine.name, status.engine.state)),
        ("archiver", status.archiver.as_ref().map_or_else(|| "none".to_owned(), archiver)),
        ("buffered", bytes(status.buffered_bytes)),
        ("received", bytes(sync.bytes_in)),
        ("sent", bytes(sync.bytes_out)),
        ("blobs verified", format!("{} ({} faulty)", sync.verified_blobs, sync.faulty_blobs)),
        ("blobs per second", sync.blobs_per_second.to_string()),
    ])
}

fn archiver(archiver: &ArchiverStatus) -> String {
    let ArchiverStatus { location, pending_heights, failure, failures, .. } = archiver;
    let trouble = failure.as_ref().map(|failure| format!("; {failures} attempts failed, the last one at {failure}"));
    format!("{location}, {pending_heights} heights pending{}", trouble.unwrap_or_default())
}

fn bytes(count: u64) -> String {
    bytesize::ByteSize(count).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lapis_protocol_spec::Bytes32;
    use libp2p::PeerId;

    use super::*;
    use crate::status::{Stall, StallReason};

    #[test]
    fn people_see_heights_readiness_and_the_stall() {
        let mut status = NodeStatus::starting(Bytes32::ZERO, "chain".to_owned(), PeerId::random());
        status.decided_height = 840;
        status.stall = Some(Stall::new(StallReason::NoPeerHasData, "no peer has 812..840"));
        let text = for_people(&status);
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!(value("decided"), "840");
        assert_eq!(value("stall"), "no_peer_has_data: no peer has 812..840");
        assert_eq!(value("ready"), "no: starting");
    }
}
