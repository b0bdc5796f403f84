//! HTTP/1.1 as far as one client needs it: requests with a length, connections that stay open.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{Reaction, Shared};

/// Takes connections until it is aborted, which cuts them.
pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let connection = shared.connected();
    let mut stream = BufReader::new(stream);
    while let Some((token, body)) = request(&mut stream).await {
        let (id, reaction, closes) = shared.react(&token, connection, &body);
        let proper = |member: &str, content: Json| {
            let body = json!({ "jsonrpc": "2.0", "id": id, member: content }).to_string();
            response(200, &body)
        };
        let bytes = match reaction {
            Reaction::Result(result) => proper("result", result),
            Reaction::Error(code, message) => proper("error", json!({ "code": code, "message": message })),
            Reaction::Http(status, body) => response(status, body),
            Reaction::Cut => return,
            Reaction::Silence => return until_closed(&mut stream).await,
            Reaction::Endless => return endless(&mut stream).await,
        };
        // The other side may have gone by now.
        if stream.write_all(&bytes).await.is_err() || closes {
            return;
        }
    }
}

/// The token and the body of the next request; `None` when the other side has gone.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut token, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => token = value.trim().trim_start_matches("Bearer ").to_owned(),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((token, body))
}

fn response(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Any\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

async fn until_closed(stream: &mut BufReader<TcpStream>) {
    let mut rest = Vec::new();
    // However it ends, it is over.
    let _ = stream.read_to_end(&mut rest).await;
}

async fn endless(stream: &mut BufReader<TcpStream>) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000));
    let mut sent = stream.write_all(head.as_bytes()).await;
    while sent.is_ok() {
        sent = stream.write_all(chunk.as_bytes()).await;
    }
}
