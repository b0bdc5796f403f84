//! Who may send how much: windows of streams, and the budgets that large windows are counted against. Pure.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::frame::Violation;

const KIB: u32 = 1024;

/// What every stream may send at first, in both directions, as the specification has it.
pub(super) const INITIAL: u32 = 256 * KIB;

/// The largest window that this side gives: 80 MiB/s on one stream over a way of 50 ms.
pub(super) const LARGEST: u32 = 4 * 1024 * KIB;

/// Bytes that were read before a window is raised: what is shorter needs no more than the first window.
const WORTH_RAISING: u32 = 64 * KIB;

/// By less than this no window is raised.
const LEAST_RAISE: u32 = 64 * KIB;

/// Bytes that windows may take together. What is taken is given back.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU32,
}

impl Budget {
    pub(crate) const fn new(bytes: u32) -> Self {
        Self { left: AtomicU32::new(bytes) }
    }

    /// As many of `most` bytes as are left, or 0 in place of less than `LEAST_RAISE`.
    fn take(&self, most: u32) -> u32 {
        let taken = |left: u32| Some(left.min(most)).filter(|taken| *taken >= LEAST_RAISE);
        // The counter guards no other memory.
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - taken(left)?));
        before.ok().and_then(taken).unwrap_or(0)
    }

    fn give_back(&self, bytes: u32) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }
}

/// The two budgets that a window counts against.
#[derive(Clone, Debug)]
pub(super) struct Budgets {
    pub(super) connection: Arc<Budget>,
    /// Of all connections together.
    pub(super) all: Arc<Budget>,
}

/// What one window has taken of both budgets; given back when it is dropped.
#[derive(Debug)]
struct Grant {
    bytes: u32,
    budgets: Budgets,
}

impl Grant {
    /// Takes up to `most` bytes more. Returns how many.
    fn grow(&mut self, most: u32) -> u32 {
        let of_connection = self.budgets.connection.take(most);
        if of_connection == 0 {
            return 0;
        }
        let of_all = self.budgets.all.take(of_connection);
        self.budgets.connection.give_back(of_connection - of_all);
        self.bytes += of_all;
        of_all
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.budgets.connection.give_back(self.bytes);
        self.budgets.all.give_back(self.bytes);
    }
}

/// What the other side may send on a stream. What it may still send, what has come and was not read, and what was read
/// and not yet told together make up the size.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    size: u32,
    /// Bytes that the other side may still send.
    credit: u32,
    /// Bytes that were read, of which the other side does not know.
    read: u32,
    /// Windows without one keep the first size.
    grant: Option<Grant>,
}

impl ReceiveWindow {
    /// A window that keeps its size.
    pub(super) const fn fixed() -> Self {
        Self { size: INITIAL, credit: INITIAL, read: 0, grant: None }
    }

    /// A window that is raised as far as `budgets` allow.
    pub(super) const fn growing(budgets: Budgets) -> Self {
        Self { size: INITIAL, credit: INITIAL, read: 0, grant: Some(Grant { bytes: 0, budgets }) }
    }

    /// `bytes` come. Returns whether they may.
    pub(super) const fn receive(&mut self, bytes: u32) -> bool {
        match self.credit.checked_sub(bytes) {
            Some(credit) => {
                self.credit = credit;
                true
            }
            None => false,
        }
    }

    /// `bytes` were read. Returns how many more the other side is to be told that it may send, 0 if it is not to be told
    /// yet.
    pub(super) fn consume(&mut self, bytes: u32) -> u32 {
        self.read = self.read.saturating_add(bytes);
        let half = self.read >= self.size / 2;
        let raise = if half || self.read >= WORTH_RAISING { self.raise() } else { 0 };
        if !half && raise == 0 {
            return 0;
        }
        let told = std::mem::take(&mut self.read) + raise;
        self.credit += told;
        told
    }

    /// Nothing is kept any more of what comes: gives back what was taken of the budgets. What the other side was told holds.
    pub(super) fn give_back(&mut self) {
        self.grant = None;
    }

    fn raise(&mut self) -> u32 {
        let missing = LARGEST - self.size;
        let raise = match &mut self.grant {
            Some(grant) if missing > 0 => grant.grow(missing),
            _ => 0,
        };
        self.size += raise;
        raise
    }
}

/// What this side may send on a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendWindow(u32);

impl SendWindow {
    pub(super) const fn new() -> Self {
        Self(INITIAL)
    }

    /// Takes up to `most` bytes.
    pub(super) fn take(&mut self, most: usize) -> usize {
        let taken = u32::try_from(most).unwrap_or(u32::MAX).min(self.0);
        self.0 -= taken;
        taken as usize
    }

    /// # Errors
    /// [`Violation::WindowOverflow`].
    pub(super) fn add(&mut self, bytes: u32, stream: u32) -> Result<(), Violation> {
        self.0 = self.0.checked_add(bytes).ok_or(Violation::WindowOverflow(stream))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
