//! Writing chunks to readers that may be slow.

use std::{io, time::Duration};

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

/// The longest that writing `length` bytes may take.
fn allowance(limits: &Timeouts, length: usize) -> Duration {
    limits.grace + Duration::from_secs_f64(length as f64 / f64::from(limits.minimum_rate.get()))
}

/// Writes and flushes one chunk.
pub(super) async fn chunk(channel: &mut Channel, bytes: &[u8], limits: &Timeouts) -> Result<(), WriteFault> {
    let written = tokio::time::timeout(allowance(limits, bytes.len()), async {
        channel.write_all(bytes).await?;
        channel.flush().await
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
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

    #[test]
    fn a_chunk_gets_the_grace_and_its_size_at_the_minimum_rate() {
        let limits = Timeouts {
            grace: Duration::from_secs(10),
            minimum_rate: NonZeroU32::new(1000).unwrap(),
            ..Timeouts::default()
        };
        assert_eq!(allowance(&limits, 0), Duration::from_secs(10));
        assert_eq!(allowance(&limits, 131_000), Duration::from_secs(141));
    }
}
