//! One exchange, from its request to the end of the response.

use std::{sync::Arc, time::Instant};

use lapis_protocol_spec::{Request, Status, encode, framing::ErrorCode};
use libp2p::PeerId;

use super::{
    Context, Notice,
    admission::{Admission, Entry, Refusal},
    class::Head,
    request::{self, RequestFault},
    write::{self, Patience, WriteFault},
};
use crate::{
    ItemSource, Offence, ServeError,
    limiter::Class,
    metrics::ExchangeRecord,
    permits::KeyedPermit,
    provider::ChunkBuffer,
    streams::{Channel, Inbound},
};

/// The task of one exchange.
pub(super) struct Answer {
    context: Context,
    peer: PeerId,
    channel: Channel,
    out: ChunkBuffer,
    patience: Patience,
    record: ExchangeRecord,
}

impl Answer {
    pub(super) fn new(context: Context, inbound: Inbound, record: ExchangeRecord) -> Self {
        let Inbound { peer, method, channel } = inbound;
        let patience = Patience::new(&context.timeouts);
        Self { context, peer, channel, out: ChunkBuffer::new(method), patience, record }
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
                    tracing::debug!(peer = %self.peer, method = self.out.method().name(), "reader too slow");
                    self.record.outcome("slow_reader");
                    self.charge(Offence::SlowReader).await;
                }
            }
        }
    }

    /// Tells the client that there is no room. What it asks for is read, so that it does not see its request refused.
    pub(super) async fn turn_away(mut self, _turn: KeyedPermit<PeerId>) {
        let closed = self.channel.closed();
        let told = async {
            let (method, limit) = (self.out.method(), self.context.timeouts.request);
            let _ = request::read(&mut self.channel, method, limit, &self.record).await;
            self.refuse_entry(Refusal::NoRoom).await
        };
        let outcome = tokio::select! {
            () = closed.cancelled() => "disconnected",
            told = told => told.unwrap_or("client_gone"),
        };
        self.record.outcome(outcome);
    }

    async fn exchange(&mut self, entry: Entry) -> Result<&'static str, WriteFault> {
        let method = self.out.method();
        let limit = self.context.timeouts.request;
        let request = match request::read(&mut self.channel, method, limit, &self.record).await {
            Ok(request) => request,
            Err(fault) => return self.refuse_fault(&fault).await,
        };
        let class = self.head().class_of(&request);
        let admitted = entry.admit(self.peer, method, class, self.context.timeouts.overlap);
        let admission = match self.channel.unless_broken(admitted).await? {
            Ok(admission) => admission,
            Err(refusal) => return self.refuse_entry(refusal).await,
        };
        let limiter = self.context.limiter.clone();
        self.channel.unless_broken(limiter.request(self.peer, class)).await?;
        match request {
            Request::Status(theirs) => self.status(theirs).await,
            Request::Ping(_) => {
                let sequence = self.context.own_status.borrow().sequence;
                self.only(&encode(&sequence)).await
            }
            Request::Goodbye(reason) => {
                self.end().await?;
                self.tell(Notice::Goodbye(self.peer, reason)).await;
                Ok("complete")
            }
            request @ (Request::DecidedValuesByRange(_)
            | Request::ValidatorSetByRoot(_)
            | Request::PayloadsByRange(_)
            | Request::PayloadsByRoot(_)
            | Request::BlobsByRange(_)
            | Request::BlobsByRoot(_)) => self.data(request, class, &admission).await,
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
                self.end().await?;
                Ok("complete")
            }
            Err(error) => self.refuse_error(&error).await,
        }
    }

    /// Answers from the provider, item by item, each paid for before it is read.
    async fn data(
        &mut self,
        request: Request,
        class: Class,
        admission: &Arc<Admission>,
    ) -> Result<&'static str, WriteFault> {
        let (provider, peer) = (self.context.provider.clone(), self.peer);
        let begun = self.blocking(admission, move |_| provider.0.serve(peer, &request)).await;
        let mut source = match begun {
            Ok(source) => source,
            Err(error) => return self.refuse_error(&error).await,
        };
        // By root, what is asked for may turn out to be old.
        let mut old = None;
        loop {
            let cost = source.next_cost();
            let class = source.next_height().map_or(class, |height| self.head().class(height));
            if class == Class::CatchUp && old.is_none() {
                old = match admission.catch_up() {
                    Ok(place) => Some(place),
                    Err(refusal) => return self.refuse_entry(refusal).await,
                };
            }
            self.pay(class, cost, 0).await?;
            let (returned, more) = self.read(admission, source, cost).await;
            source = returned;
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.refuse_error(&error).await,
            }
            self.pay(class, self.out.bytes().len(), cost).await?;
            self.write().await?;
        }
        self.end().await?;
        Ok("complete")
    }

    /// Waits until `bytes` may be sent, of which `charged` are paid for.
    async fn pay(&mut self, class: Class, bytes: usize, charged: usize) -> Result<(), WriteFault> {
        let limiter = self.context.limiter.clone();
        Ok(self.channel.unless_broken(limiter.egress(self.peer, class, bytes, charged)).await?)
    }

    /// Puts the next item of `source`, of some `bytes` bytes, into the chunk buffer.
    async fn read(
        &mut self,
        admission: &Arc<Admission>,
        mut source: Box<dyn ItemSource>,
        bytes: usize,
    ) -> (Box<dyn ItemSource>, Result<bool, ServeError>) {
        let times = self.context.read_times.clone();
        let read = move |out: &mut ChunkBuffer| {
            let start = Instant::now();
            let more = source.next(out).map(|encoded| encoded.is_some());
            times.record(start.elapsed());
            (source, more)
        };
        if self.context.read_times.in_place(bytes) {
            // What was written before has woken the connection's task on this very thread: it goes first.
            tokio::task::yield_now().await;
            read(&mut self.out)
        } else {
            self.blocking(admission, read).await
        }
    }

    fn head(&self) -> Head {
        let decided = self.context.own_status.borrow().status.decided_height;
        Head { decided, near: self.context.near_head_heights }
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
        write::chunk(&mut self.channel, self.out.bytes(), &mut self.patience).await?;
        self.record.sent(self.out.bytes().len());
        self.record.chunk();
        self.out.clear();
        Ok(())
    }

    async fn refuse(&mut self, code: ErrorCode, text: &str, outcome: &'static str) -> Result<&'static str, WriteFault> {
        self.out.encode_error(code, text);
        self.write().await?;
        self.end().await?;
        Ok(outcome)
    }

    async fn end(&mut self) -> Result<(), WriteFault> {
        write::end(&mut self.channel, &self.context.timeouts).await
    }

    async fn refuse_entry(&mut self, refusal: Refusal) -> Result<&'static str, WriteFault> {
        let (text, outcome) = match refusal {
            Refusal::TooManyOfPeer => {
                self.charge(Offence::TooManyStreams).await;
                self.context.metrics.denied("too_many_streams");
                ("too many concurrent requests of this protocol", "rate_limited")
            }
            Refusal::NoRoom => {
                self.context.metrics.denied("no_room");
                ("all places are taken, ask later", "no_room")
            }
        };
        self.refuse(ErrorCode::RateLimited, text, outcome).await
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
