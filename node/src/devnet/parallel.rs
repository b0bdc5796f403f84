//! Work on many items spread over this machine's cores.

use std::{
    num::NonZeroUsize,
    panic::resume_unwind,
    thread::{available_parallelism, scope},
};

/// Fewest items that are worth a thread of their own.
const MIN_ITEMS_PER_THREAD: usize = 8;

/// Applies `work` to contiguous parts of `items`, one part per core, and joins the results in order.
///
/// Returns when all parts are done. A panic in `work` is passed on.
pub(super) fn in_parts<T, R>(items: Vec<T>, work: impl Fn(Vec<T>) -> Vec<R> + Sync) -> Vec<R>
where
    T: Send,
    R: Send,
{
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    let part = items.len().div_ceil(cores).max(MIN_ITEMS_PER_THREAD);
    if items.len() <= part {
        return work(items);
    }
    let work = &work;
    scope(|scope| {
        let threads: Vec<_> = split(items, part).into_iter().map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Cuts `items` into parts of `length`, the last one possibly shorter.
fn split<T>(mut items: Vec<T>, length: usize) -> Vec<Vec<T>> {
    let mut parts = Vec::with_capacity(items.len().div_ceil(length));
    while items.len() > length {
        let rest = items.split_off(length);
        parts.push(std::mem::replace(&mut items, rest));
    }
    parts.push(items);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        for count in [0_u32, 1, 7, 8, 9, 16, 17, 1000] {
            let doubled = in_parts((0..count).collect(), |part| part.into_iter().map(|item| item * 2).collect());
            assert_eq!(doubled, (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
