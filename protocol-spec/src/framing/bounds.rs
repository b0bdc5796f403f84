//! How long the payload of a type may be.

use super::FramingError;

/// The lengths, in bytes, that the encoding of one type can have: `min..=max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthBounds {
    min: usize,
    max: usize,
}

impl LengthBounds {
    /// A type of variable size. With `min > max` no length at all is within the bounds.
    #[must_use]
    pub const fn between(min: usize, max: usize) -> Self {
        Self { min, max }
    }

    /// A type that always takes exactly `length` bytes.
    #[must_use]
    pub const fn fixed(length: usize) -> Self {
        Self::between(length, length)
    }

    /// The smallest legal length in bytes.
    #[must_use]
    pub const fn min(self) -> usize {
        self.min
    }

    /// The largest legal length in bytes.
    #[must_use]
    pub const fn max(self) -> usize {
        self.max
    }

    /// The length as a size of this machine, if it is within the bounds.
    ///
    /// # Errors
    /// [`FramingError::LengthAboveMaximum`], [`FramingError::LengthBelowMinimum`].
    pub fn check(self, length: u64) -> Result<usize, FramingError> {
        match usize::try_from(length) {
            Ok(length) if length < self.min => Err(FramingError::LengthBelowMinimum { length, min: self.min }),
            Ok(length) if length <= self.max => Ok(length),
            Ok(_) | Err(_) => Err(FramingError::LengthAboveMaximum { length, max: self.max }),
        }
    }
}
