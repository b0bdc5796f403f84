//! Storing decisions that may come from two sides at once: a local consensus engine, and peers.

use lapis_protocol_spec::{DecidedValue, Verified};
use lapis_storage::{Decided, Store, StoreError};

/// Stores `values`, which are in order. Those that the other side has stored meanwhile are no news.
///
/// # Errors
/// As [`Store::mark_decided`]; a conflict only if the store holds another decision, or not yet the one before.
pub(crate) fn store_decided(store: &Store, values: &[Verified<DecidedValue>]) -> Result<Decided, StoreError> {
    let mut news = values;
    loop {
        match store.mark_decided(news) {
            Err(StoreError::Conflict(conflict)) => {
                let rest = without_known(store, news)?;
                if rest.len() == news.len() {
                    return Err(conflict.into());
                }
                news = rest;
            }
            result => return result,
        }
    }
}

/// `values` from the first one on that is not in the store as it is.
fn without_known<'a>(
    store: &Store,
    values: &'a [Verified<DecidedValue>],
) -> Result<&'a [Verified<DecidedValue>], StoreError> {
    let reader = store.reader()?;
    let mut known = 0;
    for value in values {
        match reader.identified_value(value.height())? {
            Some(held) if held.id() == value.value_id() => known += 1,
            Some(_) | None => break,
        }
    }
    Ok(values.get(known..).unwrap_or_default())
}
