//! Writing chunks to readers that may be slow.

use std::{
    io,
    time::{Duration, Instant},
};

use futures::AsyncWriteExt;

use crate::{Timeouts, streams::Channel};

/// Why a chunk was not written.
#[derive(Debug)]
pub(super) enum WriteFault {
    /// The reader is gone.
    Gone(io::Error),
    /// The reader is slower than the minimum rate.
    TooSlow,
}

impl From<io::Error> for WriteFault {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

/// How long a reader may still keep a response waiting: what it reads at the minimum rate costs it nothing, pauses up to
/// the grace are borne, and what is read faster makes up for them. Time in which nothing is written to it does not count.
/// Pure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    grace: Duration,
    minimum_rate: f64,
    left: Duration,
}

impl Patience {
    pub(super) const fn new(limits: &Timeouts) -> Self {
        Self { grace: limits.grace, minimum_rate: limits.minimum_rate.get() as f64, left: limits.grace }
    }

    /// The longest that writing `bytes` bytes may take now.
    fn allowance(&self, bytes: usize) -> Duration {
        self.left + Duration::from_secs_f64(bytes as f64 / self.minimum_rate)
    }

    /// Writing `bytes` bytes took `time`.
    fn written(&mut self, bytes: usize, time: Duration) {
        self.left = self.allowance(bytes).saturating_sub(time).min(self.grace);
    }
}

/// Writes and flushes one chunk.
pub(super) async fn chunk(channel: &mut Channel, bytes: &[u8], patience: &mut Patience) -> Result<(), WriteFault> {
    let start = Instant::now();
    let written = tokio::time::timeout(patience.allowance(bytes.len()), async {
        channel.write_all(bytes).await?;
        channel.flush().await
    });
    match written.await {
        Ok(Ok(())) => {
            patience.written(bytes.len(), start.elapsed());
            Ok(())
        }
        Ok(Err(error)) => Err(WriteFault::Gone(error)),
        Err(_) => Err(WriteFault::TooSlow),
    }
}

/// Ends the response.
pub(super) async fn end(channel: &mut Channel, limits: &Timeouts) -> Result<(), WriteFault> {
    match tokio::time::timeout(limits.grace, channel.close()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(WriteFault::Gone(error)),
        Err(_) => Err(WriteFault::TooSlow),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        let limits = Timeouts {
            grace: Duration::from_secs(10),
            minimum_rate: NonZeroU32::new(1000).unwrap(),
            ..Timeouts::default()
        };
        Patience::new(&limits)
    }

    /// Chunks of `bytes`, each written in `time`, until the reader is cut.
    fn chunks_until_cut(bytes: usize, time: Duration) -> Option<usize> {
        let mut patience = patience();
        (0..1_000_000).find(|_| {
            let cut = time > patience.allowance(bytes);
            patience.written(bytes, time);
            cut
        })
    }

    #[test]
    fn a_chunk_gets_the_grace_and_its_size_at_the_minimum_rate() {
        assert_eq!(patience().allowance(0), SECOND * 10);
        assert_eq!(patience().allowance(131_000), SECOND * 141);
    }

    #[test]
    fn a_reader_of_one_byte_a_second_is_cut_whatever_the_size_of_its_chunks() {
        assert_eq!(chunks_until_cut(131_184, SECOND * 131_184), Some(0));
        assert_eq!(chunks_until_cut(9, SECOND * 9), Some(1), "small chunks do not bring a grace each");
    }

    #[test]
    fn a_reader_at_the_minimum_rate_is_never_cut() {
        assert_eq!(chunks_until_cut(1000, SECOND), None);
        assert_eq!(chunks_until_cut(400, SECOND / 1000 * 400), None);
    }

    #[test]
    fn a_short_pause_is_borne_and_made_up_for() {
        let mut patience = patience();
        for _ in 0..1000 {
            assert!(patience.allowance(1000) > SECOND * 9, "a pause of nine seconds");
            patience.written(1000, SECOND * 9);
            for _ in 0..9 {
                patience.written(1000, Duration::ZERO);
            }
        }
        assert_eq!(patience.left, SECOND * 10, "no more than the grace is saved up");
    }
}
