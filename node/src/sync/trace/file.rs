//! A trace on disk: written by a thread of its own, so that the sync never waits for it, and of a bounded size.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread::JoinHandle,
};

use super::TraceSink;

/// Lines that wait for the disk. If it falls behind by more the trace ends.
const QUEUE_LINES: usize = 4096;

/// A file that takes lines until it is full. Dropping it writes what waits.
#[derive(Debug)]
pub struct TraceFile {
    queue: Option<SyncSender<String>>,
    writer: Option<JoinHandle<()>>,
    /// Bytes that it still takes.
    left: u64,
}

impl TraceFile {
    /// Creates the file at `path`, or empties it. It takes whole lines, `max_bytes` in all.
    ///
    /// # Errors
    /// If the file cannot be created, or there is no thread for it.
    pub fn create(path: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        let (queue, lines) = mpsc::sync_channel(QUEUE_LINES);
        let writer = std::thread::Builder::new().name("lapis-trace".to_owned()).spawn(move || write(file, &lines))?;
        Ok(Self { queue: Some(queue), writer: Some(writer), left: max_bytes })
    }

    fn send(&mut self, line: &str) -> Result<(), &'static str> {
        let bytes = line.len() as u64 + 1;
        self.left = self.left.checked_sub(bytes).ok_or("it has the size that it may have")?;
        let queue = self.queue.as_ref().ok_or("it has ended")?;
        queue.try_send(line.to_owned()).map_err(|error| match error {
            TrySendError::Full(_) => "the disk is too slow for it",
            TrySendError::Disconnected(_) => "it cannot be written",
        })
    }
}

impl TraceSink for TraceFile {
    fn line(&mut self, line: &str) -> bool {
        match self.send(line) {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(reason, "the trace ends here");
                false
            }
        }
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // It has said what went wrong, if anything did.
            let _ = writer.join();
        }
    }
}

fn write(mut file: BufWriter<File>, lines: &Receiver<String>) {
    let mut write = || -> io::Result<()> {
        for line in lines {
            file.write_all(line.as_bytes())?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    if let Err(error) = write() {
        tracing::warn!(%error, "the trace cannot be written");
    }
}
