//! Serving: one task per stream.

use std::{io, sync::Arc, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt};
use lapis_protocol_spec::{Height, Item, Method, Request, encode};
use libp2p::{PeerId, Stream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    allowance::Allowance,
    answer::answer,
    fault::Fault,
    log::Recorder,
    spoil::{Step, spoil},
    streams::Inbound,
};
use crate::{TestChain, wire};

/// Most bytes of a request that are read: all hashes that may be asked for, and some.
const MAX_REQUEST: u64 = 64 * 1024;
/// Time between two bytes of a drip.
const DRIP: Duration = Duration::from_secs(1);

/// What a peer goes by.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) chain: Arc<TestChain>,
    pub(super) fault: Option<Fault>,
    /// Up to here it knows the chain.
    pub(super) visible: watch::Receiver<Height>,
    /// Up to here it holds payloads and blobs.
    pub(super) undecided: watch::Receiver<Height>,
    pub(super) allowance: Allowance,
    pub(super) log: Recorder,
    pub(super) end: CancellationToken,
}

/// Serves all streams until the script's end.
pub(super) async fn serve(script: Script, mut inbound: mpsc::Receiver<Inbound>) {
    let end = script.end.clone();
    while let Some(Some((peer, method, stream))) = end.run_until_cancelled(inbound.recv()).await {
        let (script, end) = (script.clone(), end.clone());
        tokio::spawn(async move {
            // Whoever hangs up has a reason; the log says what was sent before.
            let _ = end.run_until_cancelled(exchange(script, method, peer, stream)).await;
        });
    }
}

async fn exchange(script: Script, method: Method, peer: PeerId, mut stream: Stream) -> io::Result<()> {
    let mut bytes = Vec::new();
    (&mut stream).take(MAX_REQUEST).read_to_end(&mut bytes).await?;
    let body = wire::take_prefixed(&mut bytes.as_slice())?;
    let request = Request::decode(method, &body).map_err(io::Error::other)?;
    script.log.asked(peer, request.clone());
    let visible = *script.visible.borrow();
    let held = visible.max(*script.undecided.borrow());
    let steps = match answer(&script.chain, (visible, held), script.fault, &request) {
        Ok(items) => {
            let spoilt = script.fault.and_then(|fault| spoil(fault, &script.chain, &request, &items));
            if spoilt.is_some() {
                script.log.misbehaved();
            }
            spoilt.unwrap_or_else(|| items.into_iter().map(Step::Item).collect())
        }
        Err((code, text)) => vec![Step::Bytes(wire::chunk(code, text.as_bytes()))],
    };
    for step in steps {
        if !take(&script, &mut stream, step).await? {
            return Ok(());
        }
    }
    stream.close().await
}

/// Takes one step. Whether others follow; if not, the stream is dropped without being closed.
async fn take(script: &Script, stream: &mut Stream, step: Step) -> io::Result<bool> {
    match step {
        Step::Item(item) => send(script, stream, &item).await?,
        Step::Bytes(bytes) => write(stream, &bytes).await?,
        Step::Forever(item) => loop {
            send(script, stream, &item).await?;
        },
        Step::Drip(bytes) => {
            let mut beat = tokio::time::interval(DRIP);
            for byte in bytes {
                beat.tick().await;
                write(stream, &[byte]).await?;
            }
        }
        Step::Silence => std::future::pending::<()>().await,
        Step::Reset => return Ok(false),
    }
    Ok(true)
}

async fn send(script: &Script, stream: &mut Stream, item: &Item) -> io::Result<()> {
    if let Item::Blob(_) = item {
        script.allowance.take().await;
    }
    write(stream, &wire::chunk(0, &body(item))).await?;
    script.log.sent(item);
    Ok(())
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// SSZ of an item.
pub(super) fn body(item: &Item) -> Vec<u8> {
    match item {
        Item::Status(status) => encode(status),
        Item::Pong(number) => encode(number),
        Item::DecidedValue(decided) => encode(&**decided),
        Item::ValidatorSet(set) => encode(set),
        Item::Payload(envelope) => encode(envelope),
        Item::Blob(sidecar) => encode(sidecar),
    }
}
