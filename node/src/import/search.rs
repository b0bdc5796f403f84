//! Which is the last height that an engine has? Pure: a binary search that says what to ask next.

use lapis_protocol_spec::Height;

/// Heights that the engine may have as its last one.
///
/// It rests on a block's being there only if its ancestors are. A client for which that does not hold answers the next
/// payload with SYNCING, and is fed from further below then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Lowest height that can be asked for.
    floor: Height,
    /// The engine has this one and all below. `None`: not even the floor is known to be there.
    has: Option<Height>,
    /// It has none from here on.
    lacks_from: Height,
    /// Whether the highest one was asked for: most often it is there.
    began: bool,
}

/// How a search goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SearchStep {
    /// Ask for this one.
    Ask(Height),
    /// The last one that the engine has.
    Found(Height),
    /// It has none of them.
    None,
}

impl Search {
    /// Looks from `floor` to `top`, both included.
    pub(super) fn new(floor: Height, top: Height) -> Self {
        Self { floor: floor.min(top), has: None, lacks_from: top.saturating_add(1), began: false }
    }

    pub(super) fn next(&self) -> SearchStep {
        if !self.began {
            return SearchStep::Ask(self.lacks_from.saturating_sub(1));
        }
        let lowest = self.has.map_or(self.floor, |has| has.saturating_add(1));
        match (lowest < self.lacks_from, self.has) {
            (true, _) => SearchStep::Ask(lowest.midpoint(self.lacks_from.saturating_sub(1))),
            (false, Some(has)) => SearchStep::Found(has),
            (false, None) => SearchStep::None,
        }
    }

    /// The engine has, or has not, what [`Search::next`] asked for.
    pub(super) fn told(&mut self, height: Height, has: bool) {
        self.began = true;
        if has {
            self.has = self.has.max(Some(height));
        } else {
            self.lacks_from = self.lacks_from.min(height);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(floor: Height, top: Height, last: Option<Height>) -> (SearchStep, u32) {
        let mut search = Search::new(floor, top);
        let mut questions = 0;
        loop {
            match search.next() {
                SearchStep::Ask(height) => {
                    assert!((floor..=top).contains(&height), "{height} is not in {floor}..={top}");
                    questions += 1;
                    search.told(height, last.is_some_and(|last| height <= last));
                }
                end => return (end, questions),
            }
        }
    }

    #[test]
    fn the_last_height_is_found_wherever_it_is() {
        for top in 0..40 {
            for floor in 0..=top {
                for last in floor..=top {
                    assert_eq!(find(floor, top, Some(last)).0, SearchStep::Found(last));
                }
                assert_eq!(find(floor, top, floor.checked_sub(1)).0, SearchStep::None);
            }
        }
    }

    #[test]
    fn an_engine_that_is_in_step_is_asked_once_and_a_long_chain_takes_few_questions() {
        assert_eq!(find(0, 1_000_000, Some(1_000_000)), (SearchStep::Found(1_000_000), 1));
        let (found, questions) = find(0, u64::MAX - 1, Some(7));
        assert_eq!(found, SearchStep::Found(7));
        assert!(questions <= 66, "{questions}");
    }
}
