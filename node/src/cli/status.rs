//! `lapis status`: asks a node over HTTP and shows what it says.

use std::{io::IsTerminal, time::Duration};

use reqwest::{Client, StatusCode, Url};

use super::{
    CliError, StatusArgs,
    dispatch::{print, table},
};
use crate::status::{ArchiverStatus, NodeStatus};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two questions of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Most bytes of an answer that are read; a status has about two thousand.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Clears a terminal.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Why there is no status to show.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    /// Nobody answered.
    #[error("no answer from {url}")]
    Unreachable {
        /// Where the status was looked for.
        url: Url,
        /// Why not.
        source: reqwest::Error,
    },
    /// Something else than a node answered.
    #[error("{url} answered {code}, it is no Lapis node")]
    Code {
        /// Where the status was looked for.
        url: Url,
        /// The answer.
        code: StatusCode,
    },
    /// The answer has no end.
    #[error("{url} answered more than {MAX_ANSWER_BYTES} bytes, it is no Lapis node")]
    TooLong {
        /// Where the status was looked for.
        url: Url,
    },
    /// The answer is no status.
    #[error("{url} did not answer with a status")]
    Content {
        /// Where the status was looked for.
        url: Url,
        /// Why not.
        source: serde_json::Error,
    },
}

/// Shows the status once, or again and again until interrupted.
pub(super) async fn run(args: StatusArgs) -> Result<(), CliError> {
    let url = url(&args.http)?;
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(CliError::failed)?;
    let clear = if args.watch && !args.json && std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        let status = tokio::select! {
            status = fetch(&client, &url) => status.map_err(CliError::failed)?,
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

/// `http://ADDR/status`, if ADDR is a host with a port and nothing else.
fn url(address: &str) -> Result<Url, CliError> {
    let bad = || CliError::Address(address.to_owned());
    let plain = address.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0));
    if !plain || !has_port {
        return Err(bad());
    }
    Url::parse(&format!("http://{address}/status")).map_err(|_| bad())
}

async fn fetch(client: &Client, url: &Url) -> Result<NodeStatus, StatusError> {
    let unreachable =
        |source: reqwest::Error| StatusError::Unreachable { url: url.clone(), source: source.without_url() };
    let mut response = client.get(url.clone()).send().await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(StatusError::Code { url: url.clone(), code: response.status() });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(StatusError::TooLong { url: url.clone() });
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).map_err(|source| StatusError::Content { url: url.clone(), source })
}

fn compact(status: &NodeStatus) -> Result<String, CliError> {
    let mut line = serde_json::to_string(status).map_err(CliError::failed)?;
    line.push('\n');
    Ok(line)
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
    fn addresses_are_hosts_with_ports() {
        for good in ["127.0.0.1:9651", "[::1]:9651", "localhost:1", "lapis-0.lapis:9651"] {
            assert_eq!(url(good).unwrap().as_str(), format!("http://{good}/status"));
        }
        for bad in [
            "",
            "127.0.0.1",
            "127.0.0.1:",
            ":9651",
            "127.0.0.1:0",
            "127.0.0.1:70000",
            "http://h:1",
            "u@h:1",
            "h:1/x",
            "::1:x",
            "[::1:5",
        ] {
            assert!(matches!(url(bad), Err(CliError::Address(_))), "{bad}");
        }
    }

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
