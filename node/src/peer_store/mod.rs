//! What is known of peers, over restarts: a file that is read at the start and written while the node runs and at its
//! end.
//!
//! The network tells what is worth keeping and takes it up again; nothing here judges peers. The file is a help: one
//! that is damaged, of another version or of another chain is set aside with a warning, and the node begins without.

mod file;

use std::{
    collections::BTreeSet,
    convert::Infallible,
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use lapis_p2p::{Handle, Remembered};
use lapis_protocol_spec::Bytes32;
use libp2p::PeerId;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::file::{Damage, decode, encode};

/// How often bans are looked at: one made by hand is on disk after this.
const LOOK: Duration = Duration::from_secs(5);
/// How often the rest is written.
const SAVE: Duration = Duration::from_secs(120);
/// Most bytes of the file: four times what the network remembers at most.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// Reads what the last run kept at `path`. Never fails: without it a node begins as a new one. `half_life` is that of
/// scores, which heal while a node is down as well.
pub fn load(path: &Path, genesis_id: &Bytes32, half_life: Duration) -> Remembered {
    match read(path).and_then(|bytes| decode(&bytes, genesis_id, half_life, SystemTime::now())) {
        Ok(remembered) => remembered,
        Err(Damage::Io(error)) if error.kind() == io::ErrorKind::NotFound => Remembered::default(),
        Err(damage) => {
            let aside = beside(path, ".damaged");
            let moved = fs::rename(path, &aside);
            tracing::warn!(
                path = %path.display(),
                error = &damage as &dyn std::error::Error,
                aside = moved.is_ok().then(|| tracing::field::display(aside.display())),
                "what was known of peers cannot be used; the node begins without"
            );
            Remembered::default()
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Damage> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES { Err(Damage::TooLong) } else { Ok(bytes) }
}

/// Writes `remembered` at `path`: either all of it is there afterwards, or what was there before.
///
/// # Errors
/// What the operating system refused.
pub fn save(path: &Path, genesis_id: &Bytes32, remembered: &Remembered) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = fs::File::create(&new)?;
    file.write_all(&encode(remembered, genesis_id, SystemTime::now())?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) => fs::File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

/// `path` with `suffix` at the end of its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// The task that writes the file.
#[derive(Debug)]
pub(crate) struct PeerStore {
    pub(crate) path: PathBuf,
    pub(crate) genesis_id: Bytes32,
    pub(crate) network: Handle,
}

impl PeerStore {
    /// Writes every two minutes, soon after a ban was made or lifted, and at the end.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut saved, mut bans): (_, Option<BTreeSet<PeerId>>) = (Instant::now(), None);
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                _ = look.tick() => false,
            };
            // The network has stopped before it was asked to: nobody is left who knows anything.
            let Ok(remembered) = self.network.remembered().await else { return Ok(()) };
            let banned: BTreeSet<_> = remembered.banned.iter().map(|ban| ban.peer).collect();
            let changed = bans.as_ref().is_some_and(|bans| *bans != banned);
            if stopping || changed || saved.elapsed() >= SAVE {
                self.save(remembered).await;
                saved = Instant::now();
            }
            bans = Some(banned);
            if stopping {
                return Ok(());
            }
        }
    }

    async fn save(&self, remembered: Remembered) {
        let (path, genesis_id) = (self.path.clone(), self.genesis_id);
        let written = tokio::task::spawn_blocking(move || save(&path, &genesis_id, &remembered)).await;
        if let Err(error) = written.map_err(io::Error::other).and_then(|result| result) {
            let path = self.path.display();
            tracing::warn!(%path, error = &error as &dyn std::error::Error, "what is known of peers is not on disk");
        }
    }
}

#[cfg(test)]
mod tests;
