//! The EIP-7685 commitment over a block's execution requests.
//!
//! A request is one type byte and its data. The hash covers requests in ascending order of type, each type at most once
//! and none without data (<https://eips.ethereum.org/EIPS/eip-7685>). Lists that break these rules are refused and not
//! tidied up first: tidying would let many lists share one hash, and the same decided value would then have many
//! envelopes.

use alloy_primitives::B256;
use sha2::{Digest, Sha256};

use super::{fork::Fork, payload::ExpectedBlock};

/// Why a list of execution requests does not belong to a decided value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestsFault {
    /// A request needs a type byte and at least one byte of data.
    #[error("execution request {index} is {length} bytes long, which leaves no data after the type byte")]
    NoData {
        /// Place in the list.
        index: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// Types must ascend strictly.
    #[error("execution request {index} has type {kind}, not above the one before it")]
    Order {
        /// Place in the list.
        index: usize,
        /// Its type byte.
        kind: u8,
    },
    /// Cancun blocks have no requests.
    #[error("{count} execution requests in a block of the Cancun fork")]
    BeforePrague {
        /// Length of the list.
        count: usize,
    },
    /// The list is well formed and is not the certified one.
    #[error("execution requests hash to {got}, the decided value says {expected}")]
    Hash {
        /// What the decided value commits to.
        expected: B256,
        /// What the list hashes to.
        got: B256,
    },
}

/// `sha256(sha256(request_0) || sha256(request_1) || ...)`; of an empty list, the SHA-256 of nothing.
///
/// # Errors
/// [`RequestsFault::NoData`] and [`RequestsFault::Order`], found before anything is hashed.
pub fn requests_hash<R: AsRef<[u8]>>(requests: &[R]) -> Result<B256, RequestsFault> {
    let mut previous = None;
    for (index, request) in requests.iter().enumerate() {
        let request = request.as_ref();
        let kind = match request {
            [kind, _, ..] => *kind,
            _ => return Err(RequestsFault::NoData { index, length: request.len() }),
        };
        if previous.is_some_and(|previous| kind <= previous) {
            return Err(RequestsFault::Order { index, kind });
        }
        previous = Some(kind);
    }
    let mut hash = Sha256::new();
    for request in requests {
        hash.update(Sha256::digest(request.as_ref()));
    }
    Ok(B256::new(hash.finalize().into()))
}

/// Checks a block's requests against the decided value.
///
/// # Errors
/// Every [`RequestsFault`].
pub fn check_requests<R: AsRef<[u8]>>(requests: &[R], expected: &ExpectedBlock) -> Result<(), RequestsFault> {
    if expected.fork == Fork::Cancun && !requests.is_empty() {
        return Err(RequestsFault::BeforePrague { count: requests.len() });
    }
    let got = requests_hash(requests)?;
    if got == expected.requests_hash {
        Ok(())
    } else {
        Err(RequestsFault::Hash { expected: expected.requests_hash, got })
    }
}

#[cfg(test)]
mod tests {
    use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
    use alloy_primitives::b256;

    use super::*;

    #[test]
    fn no_requests_hash_to_the_sha256_of_nothing() {
        assert_eq!(requests_hash::<&[u8]>(&[]), Ok(EMPTY_REQUESTS_HASH));
    }

    #[test]
    fn the_hash_is_of_the_single_hashes_in_order() {
        // printf '\x00\xaa' | sha256sum, printf '\x02\xbb' | sha256sum, both digests concatenated and hashed again.
        let got = requests_hash(&[[0x00, 0xaa], [0x02, 0xbb]]);
        assert_eq!(got, Ok(b256!("aaa4decc38366645458d6ff4a137b25f4527360b924fb6dd4ba9407031414393")));
    }

    #[test]
    fn lists_that_only_tidying_would_make_right_are_refused() {
        let short: [&[u8]; 2] = [&[0, 1], &[1]];
        assert_eq!(requests_hash(&short), Err(RequestsFault::NoData { index: 1, length: 1 }));
        let empty: [&[u8]; 1] = [&[]];
        assert_eq!(requests_hash(&empty), Err(RequestsFault::NoData { index: 0, length: 0 }));
        assert_eq!(requests_hash(&[[2, 1], [1, 1]]), Err(RequestsFault::Order { index: 1, kind: 1 }));
        assert_eq!(requests_hash(&[[1, 1], [1, 2]]), Err(RequestsFault::Order { index: 1, kind: 1 }));
    }
}
