//! From an honest answer to a faulty one.

use lapis_protocol_spec::{
    BYTES_PER_BLOB, Blob, BlobSidecar, ByteList, Bytes32, Bytes48, Item, Method, PayloadEnvelope, Request, ValidatorSet,
};

use super::{
    exchange::body,
    fault::{BlobFault, ClaimFault, Data, Fault, PayloadFault, StreamFault, ValidatorSetFault},
    forge::forge,
};
use crate::{TestChain, wire};

/// One step of a response.
#[derive(Debug)]
pub(super) enum Step {
    /// Send this item in a chunk.
    Item(Item),
    /// Send these bytes as they are.
    Bytes(Vec<u8>),
    /// Send this item again and again.
    Forever(Item),
    /// Send these bytes slowly.
    Drip(Vec<u8>),
    /// Send nothing and keep the stream.
    Silence,
    /// Drop the stream.
    Reset,
}

/// What a peer with `fault` sends instead of `items`; `None` if this request gives it no occasion.
pub(super) fn spoil(fault: Fault, chain: &TestChain, request: &Request, items: &[Item]) -> Option<Vec<Step>> {
    let steps = |items: Vec<Item>| items.into_iter().map(Step::Item).collect();
    let method = request.method();
    match fault {
        Fault::Claim(fault) => spoil_claim(fault, method, items),
        Fault::Stream(data, fault) if data.is_of(method) => spoil_stream(fault, items),
        fault => spoil_items(fault, chain, method, items).map(steps),
    }
}

/// What comes instead of `items`, which `method` asks for; `None` if they give this fault no occasion.
pub(crate) fn spoil_items(fault: Fault, chain: &TestChain, method: Method, items: &[Item]) -> Option<Vec<Item>> {
    match fault {
        Fault::Value(fault) if Data::Values.is_of(method) => forge(fault, chain, items),
        Fault::ValidatorSet(fault) if method == Method::ValidatorSetByRoot => spoil_set(fault, items),
        Fault::Payload(fault) if Data::Payloads.is_of(method) => spoil_payloads(fault, chain, items),
        Fault::Blob(fault) if Data::Blobs.is_of(method) => spoil_blobs(fault, items),
        _ => None,
    }
}

impl Data {
    fn is_of(self, method: Method) -> bool {
        match self {
            Self::Values => method == Method::DecidedValuesByRange,
            Self::Payloads => matches!(method, Method::PayloadsByRange | Method::PayloadsByRoot),
            Self::Blobs => matches!(method, Method::BlobsByRange | Method::BlobsByRoot),
        }
    }
}

/// The lie itself is in the status.
fn spoil_claim(fault: ClaimFault, method: Method, items: &[Item]) -> Option<Vec<Step>> {
    match (fault, method) {
        (_, Method::Status) => Some(items.iter().cloned().map(Step::Item).collect()),
        (_, Method::Ping | Method::Goodbye) => None,
        (ClaimFault::LyingHeightAndNothingServed, _) => Some(Vec::new()),
        (ClaimFault::OtherGenesis | ClaimFault::LyingHeight, _) => None,
    }
}

fn spoil_set(fault: ValidatorSetFault, items: &[Item]) -> Option<Vec<Item>> {
    let [Item::ValidatorSet(set)] = items else { return None };
    let ValidatorSetFault::OtherSet = fault;
    let members = set.validators.iter().skip(1).cloned().collect();
    Some(vec![Item::ValidatorSet(ValidatorSet::new(members).unwrap())])
}

fn spoil_payloads(fault: PayloadFault, chain: &TestChain, items: &[Item]) -> Option<Vec<Item>> {
    let mut items = items.to_vec();
    let several = items.len() > 1;
    let Some(Item::Payload(first)) = items.first_mut() else { return None };
    match fault {
        PayloadFault::WrongByte => with_payload(first, |bytes| *bytes.last_mut().unwrap() ^= 1),
        PayloadFault::Short => with_payload(first, |bytes| bytes.truncate(bytes.len() - 1)),
        PayloadFault::OfAnotherHeight => first.payload = chain.block(first.height + 1).payload.payload.clone(),
        PayloadFault::ExtraRequest => {
            first.execution_requests = vec![ByteList::new(vec![0, 1, 2]).unwrap()].try_into().unwrap();
        }
        PayloadFault::OtherValueId => first.value_id = Bytes32::from([7; 32]),
        PayloadFault::Swapped if !several => return None,
        PayloadFault::Swapped => items.swap(0, 1),
        PayloadFault::Duplicate => items.insert(0, items[0].clone()),
        PayloadFault::MoreThanAsked => items.push(items[0].clone()),
    }
    Some(items)
}

fn with_payload(envelope: &mut PayloadEnvelope, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = envelope.payload.to_vec();
    change(&mut bytes);
    envelope.payload = ByteList::new(bytes).unwrap();
}

/// `None` where the fault needs several blobs and the answer has one.
fn spoil_blobs(fault: BlobFault, items: &[Item]) -> Option<Vec<Item>> {
    let mut items = items.to_vec();
    let several = items.len() > 1;
    let last = items.iter().rev().find_map(sidecar).cloned()?;
    let first = items.iter_mut().find_map(sidecar_mut)?;
    match fault {
        // The last byte of the first field element: the number stays below the modulus.
        BlobFault::WrongBlob => with_blob(first, |bytes| bytes[31] ^= 1),
        BlobFault::NotAFieldElement => with_blob(first, |bytes| bytes[..32].fill(0xff)),
        BlobFault::WrongProof => first.kzg_proof = first.kzg_commitment,
        BlobFault::ProofNotAPoint => first.kzg_proof = Bytes48::from([0xff; 48]),
        BlobFault::OtherHeight => first.height += 1_000_000,
        BlobFault::IndexBeyond => first.index = 4000,
        _ if !several => return None,
        BlobFault::OtherBlob => *first = BlobSidecar { height: first.height, index: first.index, ..last },
        BlobFault::WrongCommitment => first.kzg_commitment = last.kzg_commitment,
        BlobFault::LastProofWrong => {
            let last = items.iter_mut().rev().find_map(sidecar_mut)?;
            last.kzg_proof = last.kzg_commitment;
        }
        BlobFault::Duplicate => items.insert(0, items[0].clone()),
        BlobFault::Swapped => items.swap(0, 1),
        BlobFault::Gap => drop(items.remove(1)),
        BlobFault::FirstMissing => drop(items.remove(0)),
        BlobFault::HalfAHeight => return half_a_height(items),
        BlobFault::MoreThanAsked => items.push(items[0].clone()),
    }
    Some(items)
}

fn sidecar_mut(item: &mut Item) -> Option<&mut BlobSidecar> {
    match item {
        Item::Blob(sidecar) => Some(sidecar),
        _ => None,
    }
}

fn sidecar(item: &Item) -> Option<&BlobSidecar> {
    match item {
        Item::Blob(sidecar) => Some(sidecar),
        _ => None,
    }
}

fn with_blob(sidecar: &mut BlobSidecar, change: impl FnOnce(&mut [u8])) {
    let mut bytes = sidecar.blob.as_ref().to_vec();
    assert_eq!(bytes.len(), BYTES_PER_BLOB);
    change(&mut bytes);
    sidecar.blob = Blob::from_slice(&bytes).unwrap();
}

fn half_a_height(mut items: Vec<Item>) -> Option<Vec<Item>> {
    let second = items.iter().position(|item| sidecar(item).is_some_and(|sidecar| sidecar.index == 1))?;
    items.truncate(second);
    Some(items)
}

fn spoil_stream(fault: StreamFault, items: &[Item]) -> Option<Vec<Step>> {
    let first = items.first()?;
    let body = body(first);
    let whole = wire::chunk(0, &body);
    let prefix = [&[0][..], &wire::varint(body.len() as u64)].concat();
    let identifier = wire::frames(&[0])[..10].to_vec();
    let bytes = |parts: &[&[u8]]| vec![Step::Bytes(parts.concat())];
    let error = |code| bytes(&[&wire::chunk(code, b"ordered")]);
    Some(match fault {
        StreamFault::Silent => vec![Step::Silence],
        StreamFault::Drip => vec![Step::Drip(whole)],
        StreamFault::Empty => Vec::new(),
        StreamFault::Truncated => bytes(&[&whole[..whole.len() / 2]]),
        StreamFault::OnlyAResultByte => bytes(&[&[0]]),
        StreamFault::Reset => vec![Step::Item(first.clone()), Step::Reset],
        StreamFault::Endless => vec![Step::Forever(first.clone())],
        StreamFault::Garbage => bytes(&[&prefix, &[0x55; 64]]),
        StreamFault::BadChecksum => bytes(&[&with_wrong_checksum(&whole, prefix.len() + identifier.len())]),
        StreamFault::ReservedFrame => bytes(&[&prefix, &identifier, &[0x7f, 4, 0, 0, 1, 2, 3, 4]]),
        StreamFault::Padding => bytes(&[&prefix, &identifier, &[0xfe, 0, 0, 0].repeat(body.len())]),
        StreamFault::EndlessLength => bytes(&[&[0], &wire::varint(u64::MAX), &identifier]),
        StreamFault::LongPrefix => bytes(&[&[0], &long_varint(body.len() as u64), &wire::frames(&body)]),
        StreamFault::LengthTooLarge => bytes(&[&[0], &wire::varint(body.len() as u64 + 1), &wire::frames(&body)]),
        StreamFault::InvalidRequest => error(1),
        StreamFault::ServerError => error(2),
        StreamFault::ResourceUnavailable => error(3),
        StreamFault::RateLimited => error(139),
        StreamFault::UnknownError => error(77),
        StreamFault::ItemAfterError => bytes(&[&wire::chunk(2, b"ordered"), &whole]),
    })
}

/// The checksum follows the four bytes of the first frame's header.
fn with_wrong_checksum(chunk: &[u8], frame: usize) -> Vec<u8> {
    let mut bytes = chunk.to_vec();
    bytes[frame + 4] ^= 1;
    bytes
}

/// The same number with a last group of zero.
fn long_varint(value: u64) -> Vec<u8> {
    let mut bytes = wire::varint(value);
    *bytes.last_mut().unwrap() |= 0x80;
    bytes.push(0);
    bytes
}
