//! Asking a running node over HTTP.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};

use super::CliError;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read: a status has some two thousand, all peers that can be known some millions.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nobody answered.
    #[error("no answer from {url}")]
    Unreachable {
        /// Where it was asked.
        url: Url,
        /// Why not.
        source: reqwest::Error,
    },
    /// Something else than a node answered.
    #[error("{url} answered {code}, it is no Lapis node")]
    Code {
        /// Where it was asked.
        url: Url,
        /// The answer.
        code: StatusCode,
    },
    /// The node does not do it.
    #[error("the node refuses: {error}")]
    Refused {
        /// Why, as the node says.
        error: String,
    },
    /// The answer has no end.
    #[error("{url} answered more than {MAX_ANSWER_BYTES} bytes, it is no Lapis node")]
    TooLong {
        /// Where it was asked.
        url: Url,
    },
    /// The answer is not of the form expected.
    #[error("{url} did not answer as a Lapis node does")]
    Content {
        /// Where it was asked.
        url: Url,
        /// Why not.
        source: serde_json::Error,
    },
}

/// What a node says when it does not do something.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// A client that asks the address it is given, and no proxy.
pub(super) fn client() -> Result<Client, CliError> {
    Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(CliError::failed)
}

/// `http://ADDR/path`, if ADDR is a host with a port and nothing else. `flag` is where it was given.
pub(super) fn url(flag: &'static str, address: &str, path: &str) -> Result<Url, CliError> {
    let bad = || CliError::Address { flag, address: address.to_owned() };
    let plain = address.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0));
    if !plain || !has_port {
        return Err(bad());
    }
    Url::parse(&format!("http://{address}/{path}")).map_err(|_| bad())
}

/// Looks at `url`.
pub(super) async fn look<T: DeserializeOwned>(client: &Client, url: &Url) -> Result<T, AskError> {
    let response = client.get(url.clone()).send().await.map_err(|error| unreachable(url, error))?;
    if response.status() != StatusCode::OK {
        return Err(AskError::Code { url: url.clone(), code: response.status() });
    }
    content(url, &body(url, response).await?)
}

/// Asks for something to be done.
pub(super) async fn act<T: DeserializeOwned>(client: &Client, url: &Url) -> Result<T, AskError> {
    let response = client.post(url.clone()).send().await.map_err(|error| unreachable(url, error))?;
    let code = response.status();
    let body = body(url, response).await?;
    if code == StatusCode::OK {
        return content(url, &body);
    }
    match serde_json::from_slice(&body) {
        Ok(Refusal { error }) => Err(AskError::Refused { error }),
        Err(_) => Err(AskError::Code { url: url.clone(), code }),
    }
}

fn unreachable(url: &Url, source: reqwest::Error) -> AskError {
    AskError::Unreachable { url: url.clone(), source: source.without_url() }
}

async fn body(url: &Url, mut response: Response) -> Result<Vec<u8>, AskError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(url, error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(AskError::TooLong { url: url.clone() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn content<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, AskError> {
    serde_json::from_slice(body).map_err(|source| AskError::Content { url: url.clone(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_are_hosts_with_ports() {
        for good in ["127.0.0.1:9651", "[::1]:9651", "localhost:1", "lapis-0.lapis:9651"] {
            assert_eq!(url("--http", good, "status").unwrap().as_str(), format!("http://{good}/status"));
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
            assert!(matches!(url("--http", bad, "status"), Err(CliError::Address { .. })), "{bad}");
        }
    }
}
