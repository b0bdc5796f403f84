//! What follows the chain, and what catches up. Pure.

use lapis_protocol_spec::{Height, Request};

use crate::limiter::Class;

/// The newest decided heights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) decided: Height,
    /// How many heights are near it.
    pub(super) near: u64,
}

impl Head {
    /// The class of what belongs to `height`.
    pub(super) const fn class(self, height: Height) -> Class {
        if height.saturating_add(self.near) > self.decided { Class::NearHead } else { Class::CatchUp }
    }

    /// The class of a request, before anything is read for it. What is asked for by root says nothing of its height, and
    /// is mostly not decided yet.
    pub(super) const fn class_of(self, request: &Request) -> Class {
        match request {
            Request::DecidedValuesByRange(range) | Request::PayloadsByRange(range) | Request::BlobsByRange(range) => {
                self.class(range.start_height)
            }
            Request::Status(_)
            | Request::Ping(_)
            | Request::Goodbye(_)
            | Request::ValidatorSetByRoot(_)
            | Request::PayloadsByRoot(_)
            | Request::BlobsByRoot(_) => Class::NearHead,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use lapis_protocol_spec::HeightRange;

    use super::*;

    #[test]
    fn the_newest_heights_and_those_to_come_are_near_the_head() {
        let head = Head { decided: 1000, near: 64 };
        for (height, class) in [
            (1, Class::CatchUp),
            (936, Class::CatchUp),
            (937, Class::NearHead),
            (1000, Class::NearHead),
            (u64::MAX, Class::NearHead),
        ] {
            assert_eq!(head.class(height), class, "{height}");
            let range = HeightRange::new(height, 1);
            assert_eq!(head.class_of(&Request::BlobsByRange(range)), class, "{height}");
        }
        assert_eq!(head.class_of(&Request::Ping(1)), Class::NearHead);
        assert_eq!(Head { decided: 0, near: 0 }.class(1), Class::NearHead, "an empty chain has no past");
        assert_eq!(Head { decided: 5, near: 0 }.class(5), Class::CatchUp, "nothing decided is near");
    }
}
