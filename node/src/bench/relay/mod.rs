//! A network with delay and rate inside the process: TCP relays between a client and its servers.
//!
//! What comes from one side is held for as long as the link takes and then given to the other: bytes, nothing is looked
//! into. `link` decides when, the loops here only read, wait and write. All relays of a [`Network`] share one rate in
//! each direction, as the access link of the client would.

mod link;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU64,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::link::Profile;
use self::link::{Flight, Rate};

/// Bytes of one read.
const READ: usize = 64 * 1024;
/// What the system may hold of a connection at each end of a relay. Large buffers there would be a queue of their own.
const SOCKET_BUFFER: u32 = 256 * 1024;
/// Connections of one relay at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 16;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 16;
/// Pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a peer behind a relay does to the bytes that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends them as its link does.
    Good,
    /// Has a link of its own that carries so many bytes per second.
    Slow(NonZeroU64),
    /// Falls silent after so many bytes; its connections stay open.
    DeadAfter(u64),
}

/// The rate of a direction, shared by the connections over it.
type SharedRate = Arc<Mutex<Rate>>;

/// The client's access link. Relays made from it share it; they stop when it is dropped.
#[derive(Debug)]
pub struct Network {
    profile: Profile,
    up: SharedRate,
    down: SharedRate,
    stop: CancellationToken,
    _stops: DropGuard,
}

impl Network {
    /// A link with this profile.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        let stop = CancellationToken::new();
        let rate = || shared(profile.bytes_per_second);
        Self { profile, up: rate(), down: rate(), _stops: stop.clone().drop_guard(), stop }
    }

    /// Listens on a port of the loopback interface and relays whatever connects to `server`; where it listens.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn relay(&self, server: SocketAddr, manner: Manner) -> io::Result<SocketAddr> {
        let socket = TcpSocket::new_v4()?;
        // Accepted connections have the buffers of their listener.
        limit_buffers(&socket)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let down = match manner {
            Manner::Slow(rate) => shared(Some(rate)),
            Manner::Good | Manner::DeadAfter(_) => Arc::clone(&self.down),
        };
        let silent_after = match manner {
            Manner::DeadAfter(bytes) => Some(bytes),
            Manner::Good | Manner::Slow(_) => None,
        };
        let path = Path { server, profile: self.profile, up: Arc::clone(&self.up), down, silent_after };
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(path.accept(listener)));
        Ok(address)
    }
}

fn shared(bytes_per_second: Option<NonZeroU64>) -> SharedRate {
    Arc::new(Mutex::new(Rate::new(bytes_per_second)))
}

fn limit_buffers(socket: &TcpSocket) -> io::Result<()> {
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)
}

/// The way to one server.
#[derive(Clone, Debug)]
struct Path {
    server: SocketAddr,
    profile: Profile,
    up: SharedRate,
    down: SharedRate,
    silent_after: Option<u64>,
}

impl Path {
    async fn accept(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((client, _)) => {
                        connections.spawn(self.clone().carry(client));
                    }
                    // Out of descriptors, say: no reason to ask again at once.
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                // A connection that broke is closed on both sides: that is what the other side is to see.
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn carry(self, client: TcpStream) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        limit_buffers(&socket)?;
        let server = socket.connect(self.server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let flight = || Flight::new(&self.profile);
        let up = Direction { flight: flight(), rate: self.up, left: None }.pump(from_client, to_server);
        let down = Direction { flight: flight(), rate: self.down, left: self.silent_after };
        tokio::try_join!(up, down.pump(from_server, to_client)).map(|_| ())
    }
}

/// One direction of one connection.
struct Direction {
    flight: Flight,
    rate: SharedRate,
    /// Bytes that are still let through; `None` for all.
    left: Option<u64>,
}

impl Direction {
    async fn pump(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; READ];
        let mut ended = false;
        while !(ended && self.flight.next_arrival().is_none()) {
            let room = self.flight.room().min(READ);
            let arrival = self.flight.next_arrival();
            tokio::select! {
                read = from.read(buffer.get_mut(..room).unwrap_or_default()), if room > 0 && !ended => {
                    let count = read?;
                    ended = count == 0;
                    if let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) {
                        self.take(bytes);
                    }
                }
                () = at(arrival), if arrival.is_some() => self.deliver(&mut to).await?,
            }
        }
        to.shutdown().await
    }

    fn take(&mut self, bytes: &[u8]) {
        let departure = self.rate.lock().unwrap_or_else(PoisonError::into_inner).departure(bytes.len(), Instant::now());
        self.flight.push(bytes.to_vec(), departure);
    }

    async fn deliver(&mut self, to: &mut OwnedWriteHalf) -> io::Result<()> {
        while let Some(bytes) = self.flight.pop(Instant::now()) {
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(bytes.len() as u64);
                if *left == 0 {
                    // Silent until the connection or the network is dropped.
                    return std::future::pending().await;
                }
            }
            to.write_all(&bytes).await?;
        }
        Ok(())
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// 50 ms from here to there and back.
pub const ROUND_TRIP_50_MS: Profile = Profile { one_way: Duration::from_millis(25), bytes_per_second: None };

#[cfg(test)]
mod tests;
