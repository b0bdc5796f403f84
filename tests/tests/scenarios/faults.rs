//! One of three peers misbehaves, for each way of misbehaving: the node finishes from the other two, stores nothing
//! wrong, knows whose fault it was, and blames nobody else.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use lapis_node::{config::ByteSize, devnet::spec::DevnetParams};
use lapis_p2p::{Offence, PeerInfo};
use lapis_tests::{
    Fault, Home, ScriptedPeer, Setup, TestChain, assert_holds,
    peer::fault::{BlobFault, Data, PayloadFault, StreamFault, ValueFault},
};

/// Validators of which some have exactly two thirds of the power.
static CHAIN: LazyLock<Arc<TestChain>> = LazyLock::new(|| {
    let params = DevnetParams { powers: vec![2, 2, 1, 1], ..DevnetParams::new(4) };
    Arc::new(TestChain::new(&params, [2, 0, 6, 1, 3, 0, 1, 2]))
});

/// Longest wait for the first chunk: what a silent peer costs a test.
const FIRST_CHUNK: Duration = Duration::from_secs(5);

/// What the peer is known for afterwards.
#[derive(Clone, Copy, Debug)]
enum Blame {
    /// It is banned.
    Ban(Offence),
    /// It is charged, with one of these.
    Charge(&'static [Offence]),
    /// Nothing: what it does is no fault.
    None,
}

impl Blame {
    fn is_for_time(self) -> bool {
        matches!(self, Self::Charge(offences) if offences.contains(&Offence::Timeout))
    }

    fn fits(self, info: &PeerInfo) -> bool {
        let offence = info.last_fault.map(|fault| fault.offence);
        match self {
            Self::Ban(expected) => info.banned_for.is_some() && offence == Some(expected),
            Self::Charge(expected) => {
                let charged = offence.is_some_and(|offence| expected.contains(&offence));
                charged && info.score < 0.0
            }
            Self::None => offence.is_none() && info.score == 0.0 && info.banned_for.is_none(),
        }
    }
}

/// The faulty peer comes first, so that it certainly has its occasion, and the honest ones when it has had it.
async fn one_of_three(fault: Fault, blame: Blame) {
    let chain = Arc::clone(&CHAIN);
    let faulty = ScriptedPeer::with(&chain, fault).await;
    let honest = ScriptedPeer::honest(&chain).await;
    let other = Home::holding(&chain, chain.blocks()).start(Setup::default()).await;
    other.imported(chain.last()).await;

    let mut setup = Setup::peers([faulty.address()]).first_chunk_timeout(FIRST_CHUNK);
    if blame.is_for_time() {
        // Somebody else would be asked before the time is up, and nobody be blamed.
        setup.config.sync.hedge_bytes = ByteSize(0);
    }
    let node = Home::new(&chain).start(setup).await;
    faulty.log().misbehaved().await;
    node.dial(honest.address()).await;
    node.dial(other.address()).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());

    node.knows(&format!("{blame:?}"), faulty.peer_id(), |info| blame.fits(info)).await;
    node.assert_unblemished(honest.peer_id()).await;
    node.assert_unblemished(other.peer_id()).await;
    other.assert_unblemished(node.peer_id()).await;
    node.stop().await;
    other.stop().await;
}

macro_rules! one_of_three {
    ($($name:ident: $fault:expr => $blame:expr;)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            one_of_three($fault, $blame).await;
        }
    )+};
}

const INVALID: Blame = Blame::Ban(Offence::InvalidData);
const UNREQUESTED: Blame = Blame::Charge(&[Offence::Unrequested]);
const MALFORMED: Blame = Blame::Charge(&[Offence::Malformed]);
const OVERSIZED: Blame = Blame::Charge(&[Offence::Oversized]);
const TOO_MANY: Blame = Blame::Charge(&[Offence::TooManyChunks]);
const TRUNCATED: Blame = Blame::Charge(&[Offence::Truncated]);
const TIMEOUT: Blame = Blame::Charge(&[Offence::Timeout]);

mod blobs {
    use super::*;

    one_of_three! {
        wrong_blob: Fault::Blob(BlobFault::WrongBlob) => INVALID;
        not_a_field_element: Fault::Blob(BlobFault::NotAFieldElement) => INVALID;
        wrong_proof: Fault::Blob(BlobFault::WrongProof) => INVALID;
        proof_not_a_point: Fault::Blob(BlobFault::ProofNotAPoint) => INVALID;
        last_proof_of_many_wrong: Fault::Blob(BlobFault::LastProofWrong) => INVALID;
        blob_of_another_place: Fault::Blob(BlobFault::OtherBlob) => UNREQUESTED;
        wrong_commitment: Fault::Blob(BlobFault::WrongCommitment) => UNREQUESTED;
        duplicate_sidecar: Fault::Blob(BlobFault::Duplicate) => UNREQUESTED;
        out_of_order: Fault::Blob(BlobFault::Swapped) => UNREQUESTED;
        index_gap: Fault::Blob(BlobFault::Gap) => UNREQUESTED;
        first_index_missing: Fault::Blob(BlobFault::FirstMissing) => UNREQUESTED;
        unrequested_height: Fault::Blob(BlobFault::OtherHeight) => UNREQUESTED;
        index_beyond_the_value: Fault::Blob(BlobFault::IndexBeyond) => UNREQUESTED;
        half_a_height_then_the_end: Fault::Blob(BlobFault::HalfAHeight) => TRUNCATED;
        more_than_asked: Fault::Blob(BlobFault::MoreThanAsked) => UNREQUESTED;
    }
}

mod values {
    use super::*;

    one_of_three! {
        forged_value: Fault::Value(ValueFault::Forged) => INVALID;
        forged_value_with_its_id_in_the_certificate: Fault::Value(ValueFault::ForgedWithCertificate) => INVALID;
        broken_parent_link: Fault::Value(ValueFault::BrokenLink) => INVALID;
        no_signatures: Fault::Value(ValueFault::NoSignatures) => INVALID;
        one_signature: Fault::Value(ValueFault::OneSignature) => INVALID;
        exactly_two_thirds: Fault::Value(ValueFault::TwoThirds) => INVALID;
        wrong_signature: Fault::Value(ValueFault::WrongSignature) => INVALID;
        duplicate_signer: Fault::Value(ValueFault::DuplicateSigner) => INVALID;
        unknown_signer: Fault::Value(ValueFault::UnknownSigner) => INVALID;
        prevotes_for_precommits: Fault::Value(ValueFault::Prevotes) => INVALID;
        signatures_of_another_chain: Fault::Value(ValueFault::OtherChain) => INVALID;
        signatures_of_another_round: Fault::Value(ValueFault::OtherRound) => INVALID;
        values_out_of_order: Fault::Value(ValueFault::Swapped) => UNREQUESTED;
        gap_between_values: Fault::Value(ValueFault::Gap) => UNREQUESTED;
        more_values_than_asked: Fault::Value(ValueFault::MoreThanAsked) => TOO_MANY;
    }
}

mod payloads {
    use super::*;

    one_of_three! {
        wrong_payload: Fault::Payload(PayloadFault::WrongByte) => INVALID;
        short_payload: Fault::Payload(PayloadFault::Short) => INVALID;
        payload_of_another_height: Fault::Payload(PayloadFault::OfAnotherHeight) => INVALID;
        uncertified_execution_request: Fault::Payload(PayloadFault::ExtraRequest) => INVALID;
        payload_of_another_value: Fault::Payload(PayloadFault::OtherValueId) => UNREQUESTED;
        payloads_out_of_order: Fault::Payload(PayloadFault::Swapped) => UNREQUESTED;
        duplicate_payload: Fault::Payload(PayloadFault::Duplicate) => UNREQUESTED;
        more_payloads_than_asked: Fault::Payload(PayloadFault::MoreThanAsked) => TOO_MANY;
    }
}

mod streams {
    use super::*;

    one_of_three! {
        silent: Fault::Stream(Data::Blobs, StreamFault::Silent) => TIMEOUT;
        silent_about_values: Fault::Stream(Data::Values, StreamFault::Silent) => TIMEOUT;
        drip_of_one_byte_a_second: Fault::Stream(Data::Blobs, StreamFault::Drip) => TIMEOUT;
        empty_blob_answers: Fault::Stream(Data::Blobs, StreamFault::Empty) => Blame::None;
        empty_value_answers: Fault::Stream(Data::Values, StreamFault::Empty) => Blame::None;
        empty_payload_answers: Fault::Stream(Data::Payloads, StreamFault::Empty) => Blame::None;
        truncated_chunk: Fault::Stream(Data::Blobs, StreamFault::Truncated) => TRUNCATED;
        truncated_value: Fault::Stream(Data::Values, StreamFault::Truncated) => TRUNCATED;
        only_a_result_byte: Fault::Stream(Data::Blobs, StreamFault::OnlyAResultByte) => TRUNCATED;
        reset_after_the_first_chunk: Fault::Stream(Data::Blobs, StreamFault::Reset) =>
            Blame::Charge(&[Offence::Reset, Offence::Truncated]);
        endless_blobs: Fault::Stream(Data::Blobs, StreamFault::Endless) => UNREQUESTED;
        endless_values: Fault::Stream(Data::Values, StreamFault::Endless) => UNREQUESTED;
        garbage_framing: Fault::Stream(Data::Blobs, StreamFault::Garbage) => MALFORMED;
        garbage_framing_of_values: Fault::Stream(Data::Values, StreamFault::Garbage) => MALFORMED;
        wrong_checksum: Fault::Stream(Data::Blobs, StreamFault::BadChecksum) => MALFORMED;
        reserved_frame: Fault::Stream(Data::Blobs, StreamFault::ReservedFrame) => MALFORMED;
        padding_beyond_the_bound: Fault::Stream(Data::Values, StreamFault::Padding) => MALFORMED;
        endless_length: Fault::Stream(Data::Payloads, StreamFault::EndlessLength) => OVERSIZED;
        length_prefix_not_minimal: Fault::Stream(Data::Blobs, StreamFault::LongPrefix) => MALFORMED;
        length_of_a_fixed_type_too_large: Fault::Stream(Data::Blobs, StreamFault::LengthTooLarge) => OVERSIZED;
        length_of_a_value_too_large: Fault::Stream(Data::Values, StreamFault::LengthTooLarge) => TRUNCATED;
        resource_unavailable: Fault::Stream(Data::Blobs, StreamFault::ResourceUnavailable) => Blame::None;
        server_error: Fault::Stream(Data::Blobs, StreamFault::ServerError) => Blame::None;
        invalid_request: Fault::Stream(Data::Blobs, StreamFault::InvalidRequest) => Blame::None;
        rate_limited: Fault::Stream(Data::Blobs, StreamFault::RateLimited) => Blame::None;
        unknown_error_code: Fault::Stream(Data::Blobs, StreamFault::UnknownError) => Blame::None;
        item_after_an_error: Fault::Stream(Data::Blobs, StreamFault::ItemAfterError) => Blame::None;
    }
}

/// All three at once, in whatever order the node asks them: the faulty one is found out exactly if it had an occasion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_peer_among_honest_ones_from_the_start() {
    let chain = Arc::clone(&CHAIN);
    let faulty = ScriptedPeer::with(&chain, Fault::Blob(BlobFault::WrongBlob)).await;
    let first = ScriptedPeer::honest(&chain).await;
    let second = ScriptedPeer::honest(&chain).await;
    let node = Home::new(&chain).start(Setup::peers([&faulty, &first, &second].map(ScriptedPeer::address))).await;
    node.imported(chain.last()).await;
    assert_holds(node.store(), chain.blocks());
    for honest in [&first, &second] {
        node.knows("an honest peer", honest.peer_id(), |info| Blame::None.fits(info)).await;
    }
    if faulty.log().now().faults > 0 {
        node.knows("a ban", faulty.peer_id(), |info| INVALID.fits(info)).await;
    }
    node.stop().await;
}
