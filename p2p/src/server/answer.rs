//! One exchange, from its request to the end of the response.

use std::sync::Arc;

use lapis_protocol_spec::{Request, Status, encode, framing::ErrorCode};
use libp2p::PeerId;

use super::{
    Admission, Context, Entry, Notice,
    request::{self, RequestFault},
    write::{self, WriteFault},
};
use crate::{
    ItemSource, Offence, ServeError, metrics::ExchangeRecord, provider::ChunkBuffer, streams::Channel, streams::Inbound,
};

/// The task of one exchange.
pub(super) struct Answer {
    context: Context,
    peer: PeerId,
    channel: Channel,
    out: ChunkBuffer,
    record: ExchangeRecord,
}

impl Answer {
    pub(super) fn new(context: Context, inbound: Inbound, record: ExchangeRecord) -> Self {
        let Inbound { peer, method, channel } = inbound;
        Self { context, peer, channel, out: ChunkBuffer::new(method), record }
    }

    /// Runs until the response has ended or the connection is gone.
    pub(super) async fn run(mut self, entry: Entry) {
        let closed = self.channel.closed();
        tokio::select! {
            () = closed.cancelled() => self.record.outcome("disconnected"),
            ended = self.exchange(entry) => match ended {
                Ok(outcome) => self.record.outcome(outcome),
                Err(WriteFault::Gone(error)) => {
                    tracing::debug!(peer = %self.peer, method = self.out.method().name(), %error, "client gone");
                    self.record.outcome("client_gone");
                }
                Err(WriteFault::TooSlow) => {
                    self.record.outcome("slow_reader");
                    self.charge(Offence::SlowReader).await;
                }
            }
        }
    }

    async fn exchange(&mut self, entry: Entry) -> Result<&'static str, WriteFault> {
        let method = self.out.method();
        let request = match request::read(&mut self.channel, method, self.context.timeouts.request).await {
            Ok(request) => request,
            Err(fault) => return self.refuse_fault(&fault).await,
        };
        let Some(admission) = entry.admit(self.peer, method, self.context.timeouts.overlap).await else {
            self.charge(Offence::TooManyStreams).await;
            let text = "too many concurrent requests of this protocol";
            return self.refuse(ErrorCode::RateLimited, text, "rate_limited").await;
        };
        self.context.limiter.request(self.peer).await;
        match request {
            Request::Status(theirs) => self.status(theirs).await,
            Request::Ping(_) => {
                let sequence = self.context.own_status.borrow().sequence;
                self.only(&encode(&sequence)).await
            }
            Request::Goodbye(reason) => {
                write::end(&mut self.channel, &self.context.timeouts).await?;
                self.tell(Notice::Goodbye(self.peer, reason)).await;
                Ok("complete")
            }
            request @ (Request::DecidedValuesByRange(_)
            | Request::ValidatorSetByRoot(_)
            | Request::PayloadsByRange(_)
            | Request::PayloadsByRoot(_)
            | Request::BlobsByRange(_)
            | Request::BlobsByRoot(_)) => self.data(request, &admission).await,
        }
    }

    async fn status(&mut self, theirs: Status) -> Result<&'static str, WriteFault> {
        let ours = self.context.own_status.borrow().status;
        let outcome = self.only(&encode(&ours)).await?;
        self.tell(Notice::Status(self.peer, theirs)).await;
        Ok(outcome)
    }

    /// Answers with one item that needs no provider.
    async fn only(&mut self, item: &[u8]) -> Result<&'static str, WriteFault> {
        match self.out.encode(&[item]) {
            Ok(_) => {
                self.write().await?;
                write::end(&mut self.channel, &self.context.timeouts).await?;
                Ok("complete")
            }
            Err(error) => self.refuse_error(&error).await,
        }
    }

    /// Answers from the provider, item by item.
    async fn data(&mut self, request: Request, admission: &Arc<Admission>) -> Result<&'static str, WriteFault> {
        let (provider, peer) = (self.context.provider.clone(), self.peer);
        let begun = self.blocking(admission, move |_| provider.0.serve(peer, &request)).await;
        let mut source = match begun {
            Ok(source) => source,
            Err(error) => return self.refuse_error(&error).await,
        };
        loop {
            let cost = source.next_cost();
            self.context.limiter.egress(peer, cost).await;
            let (returned, more) = self.blocking(admission, move |out| next_of(source, out)).await;
            source = returned;
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.refuse_error(&error).await,
            }
            let uncharged = self.out.bytes().len().saturating_sub(cost);
            self.context.limiter.egress(peer, uncharged).await;
            self.write().await?;
        }
        write::end(&mut self.channel, &self.context.timeouts).await?;
        Ok("complete")
    }

    /// Runs `work` with the chunk buffer on a thread that may block. The exchange stays admitted until it is done, even
    /// if the client has gone meanwhile.
    async fn blocking<T: Send + 'static>(
        &mut self,
        admission: &Arc<Admission>,
        work: impl FnOnce(&mut ChunkBuffer) -> T + Send + 'static,
    ) -> T {
        let admission = admission.clone();
        let empty = ChunkBuffer::new(self.out.method());
        let mut out = std::mem::replace(&mut self.out, empty);
        let task = tokio::task::spawn_blocking(move || {
            let result = work(&mut out);
            drop(admission);
            (out, result)
        });
        match task.await {
            Ok((out, result)) => {
                self.out = out;
                result
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }

    async fn write(&mut self) -> Result<(), WriteFault> {
        write::chunk(&mut self.channel, self.out.bytes(), &self.context.timeouts).await?;
        self.record.bytes(self.out.bytes().len());
        self.record.chunk();
        self.out.clear();
        Ok(())
    }

    async fn refuse(&mut self, code: ErrorCode, text: &str, outcome: &'static str) -> Result<&'static str, WriteFault> {
        self.out.encode_error(code, text);
        self.write().await?;
        write::end(&mut self.channel, &self.context.timeouts).await?;
        Ok(outcome)
    }

    async fn refuse_fault(&mut self, fault: &RequestFault) -> Result<&'static str, WriteFault> {
        if let Some(offence) = fault.offence() {
            self.charge(offence).await;
        }
        if !fault.is_answered() {
            return Ok("client_gone");
        }
        self.refuse(ErrorCode::InvalidRequest, &fault.to_string(), "invalid_request").await
    }

    async fn refuse_error(&mut self, error: &ServeError) -> Result<&'static str, WriteFault> {
        let outcome = match error {
            ServeError::InvalidRequest(_) => {
                self.charge(Offence::InvalidRequest).await;
                "invalid_request"
            }
            ServeError::Unavailable(_) => "unavailable",
            ServeError::Local(_) => "local",
        };
        self.refuse(error.code(), error.message(), outcome).await
    }

    async fn charge(&mut self, offence: Offence) {
        self.tell(Notice::Offence(self.peer, offence)).await;
    }

    async fn tell(&mut self, notice: Notice) {
        // Nobody listens any more when the service ends.
        let _ = self.context.notices.send(notice).await;
    }
}

fn next_of(mut source: Box<dyn ItemSource>, out: &mut ChunkBuffer) -> (Box<dyn ItemSource>, Result<bool, ServeError>) {
    let more = source.next(out).map(|encoded| encoded.is_some());
    (source, more)
}
