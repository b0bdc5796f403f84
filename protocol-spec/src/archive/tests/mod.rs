#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation
)]

mod damage;
mod layout;
mod part;

use std::sync::LazyLock;

use super::*;
use crate::{
    BlobSidecar, ByteList, Bytes32, ChainLink, DecidedValue, Genesis, Height, PayloadEnvelope, ValidatorSet, decode,
    encode,
    fixtures::{Committee, SIDECARS, genesis, successor},
};

/// One height of a chain, made up but for what is signed.
struct Made {
    sets: Vec<ValidatorSet>,
    decided: DecidedValue,
    payload: PayloadEnvelope,
    blobs: Vec<BlobSidecar>,
}

impl Made {
    fn next(tip: &mut ChainLink, genesis_id: Bytes32, committee: &Committee, blobs: usize) -> Self {
        let mut value = successor(tip, &committee.set);
        let sidecars = || SIDECARS.iter().cycle().take(blobs);
        let commitments: Vec<_> = sidecars().map(|sidecar| sidecar.kzg_commitment).collect();
        value.blob_kzg_commitments = commitments.try_into().unwrap();
        let decided = committee.decide(genesis_id, value, &[0, 1]);
        *tip = ChainLink::after(&decided.value, decided.certificate.value_id);
        let height = tip.height;
        let payload = PayloadEnvelope {
            height,
            value_id: tip.value_id,
            payload: ByteList::new(vec![height.to_le_bytes()[0]; 100]).unwrap(),
            ..PayloadEnvelope::default()
        };
        let place = |(index, sidecar): (u64, &BlobSidecar)| BlobSidecar { height, index, ..sidecar.clone() };
        let blobs = (0..).zip(sidecars()).map(place).collect();
        Self { sets: if height == 1 { vec![committee.set.clone()] } else { Vec::new() }, decided, payload, blobs }
    }

    fn write(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        let payload = encode(&self.payload);
        encoder.height(&self.sets, &self.decided, payload.len(), out).unwrap();
        let (start, end) = payload.split_at(7);
        encoder.payload(&[start, end], out).unwrap();
        self.blobs.iter().for_each(|blob| encoder.sidecar(&[&encode(blob)], out).unwrap());
    }

    fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Height(self.decided.value.height)];
        events.extend(self.sets.iter().cloned().map(Event::ValidatorSet));
        events.push(Event::Decided(Box::new(self.decided.clone())));
        events.push(Event::Payload(self.payload.clone()));
        events.extend(self.blobs.iter().cloned().map(Event::Sidecar));
        events.push(Event::HeightEnd(self.decided.value.height));
        events
    }
}

/// An archive and what is in it.
struct Archive {
    header: Header,
    heights: Vec<Made>,
    bytes: Vec<u8>,
}

impl Archive {
    /// Heights from 1 on with so many blobs each.
    fn new(blobs: &[usize]) -> Self {
        let committee = Committee::equal(2);
        let genesis: Genesis = genesis(&committee.set);
        let mut tip = ChainLink::genesis(&genesis);
        let header = Header::new(Compression::None, 1, blobs.len() as u64, genesis).unwrap();
        let heights: Vec<_> =
            blobs.iter().map(|blobs| Made::next(&mut tip, *header.genesis_id(), &committee, *blobs)).collect();
        let mut bytes = header.encode();
        let mut encoder = Encoder::new(&header);
        heights.iter().for_each(|height| height.write(&mut encoder, &mut bytes));
        encoder.finish(&mut bytes).unwrap();
        Self { header, heights, bytes }
    }

    fn events(&self) -> Vec<Event> {
        let mut events: Vec<_> = self.heights.iter().flat_map(Made::events).collect();
        let last_value_id = self.heights.last().unwrap().decided.certificate.value_id;
        events.push(Event::End(Trailer { heights: self.heights.len() as u64, last_value_id }));
        events
    }
}

static WITHOUT_BLOBS: LazyLock<Archive> = LazyLock::new(|| Archive::new(&[0, 0, 0]));
static WITH_BLOBS: LazyLock<Archive> = LazyLock::new(|| Archive::new(&[2, 0, 1]));

/// What a reader gets out of `archive`, and how it ends.
struct Read {
    header: Option<Header>,
    events: Vec<Event>,
    error: Option<ArchiveError>,
}

fn read(archive: &[u8]) -> Read {
    let mut read = Read { header: None, events: Vec::new(), error: None };
    if let Err(error) = read_into(archive, &mut read) {
        read.error = Some(error);
    }
    read
}

fn read_into(mut archive: &[u8], read: &mut Read) -> Result<(), ArchiveError> {
    let mut take = |count: usize| {
        let (taken, rest) = archive.split_at(count.min(archive.len()));
        archive = rest;
        taken
    };
    let mut head = HeaderDecoder::new();
    let header = loop {
        if let Some(header) = head.accept(take(head.wants()))? {
            break header;
        }
    };
    let mut decoder = Decoder::new(&header);
    read.header = Some(header);
    while !decoder.is_complete() {
        read.events.extend(decoder.accept(take(decoder.wants()))?);
    }
    assert_eq!(decoder.accept(take(1))?, None);
    Ok(())
}

/// Replaces the checksum of the header at the start of `archive`, as if it had been written so.
fn seal_header(archive: &mut [u8], header: &Header) {
    let end = header.encode().len() - CHECKSUM_BYTES;
    let checksum = xxhash_rust::xxh3::xxh3_64(&archive[..end]);
    archive[end..end + CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

fn first_height(read: &Read) -> Option<Height> {
    read.events.iter().find_map(|event| match event {
        Event::Height(height) => Some(*height),
        _ => None,
    })
}

#[test]
fn what_is_written_is_read() {
    for archive in [&*WITHOUT_BLOBS, &*WITH_BLOBS] {
        let read = read(&archive.bytes);
        assert!(read.error.is_none(), "{:?}", read.error);
        assert_eq!(read.header.as_ref(), Some(&archive.header));
        assert!(read.events == archive.events());
        assert_eq!(first_height(&read), Some(1));
    }
}

#[test]
fn a_decoder_wants_one_item_at_a_time() {
    let archive = &*WITH_BLOBS;
    let mut decoder = Decoder::new(&archive.header);
    let mut rest = &archive.bytes[archive.header.encode().len()..];
    let mut most = 0;
    while !decoder.is_complete() {
        most = most.max(decoder.wants());
        let (taken, left) = rest.split_at(decoder.wants());
        rest = left;
        decoder.accept(taken).unwrap();
    }
    assert_eq!(most, BlobSidecar::BYTES);
    assert!(rest.is_empty());
}

#[test]
fn an_encoder_refuses_what_does_not_fit() {
    let archive = &*WITH_BLOBS;
    let [first, second, _] = archive.heights.as_slice() else { panic!("another archive") };
    let mut encoder = Encoder::new(&archive.header);
    let mut out = Vec::new();
    let due = |found, due| Err(EncodeError::Height { found, due });
    assert_eq!(encoder.height(&[], &second.decided, 100, &mut out), due(2, 1));
    assert_eq!(encoder.payload(&[], &mut out), Err(EncodeError::Order(FrameKind::Payload)));
    let sets = vec![first.sets[0].clone(); 3];
    assert_eq!(encoder.height(&sets, &first.decided, 100, &mut out), Err(EncodeError::Sets(3)));
    let short = EncodeError::Length { kind: FrameKind::Payload, length: 47 };
    assert_eq!(encoder.height(&[], &first.decided, 47, &mut out), Err(short));
    assert_eq!(encoder.finish(&mut out), Err(EncodeError::Order(FrameKind::End)));
    assert!(out.is_empty());

    encoder.height(&[], &first.decided, 100, &mut out).unwrap();
    let written = out.len();
    let blob = encode(&first.blobs[0]);
    assert_eq!(encoder.sidecar(&[&blob], &mut out), Err(EncodeError::Order(FrameKind::Sidecar)));
    let short = EncodeError::Length { kind: FrameKind::Payload, length: 99 };
    assert_eq!(encoder.payload(&[&[0; 99]], &mut out), Err(short));
    assert_eq!(out.len(), written);
    encoder.payload(&[&[0; 100]], &mut out).unwrap();
    let short = EncodeError::Length { kind: FrameKind::Sidecar, length: blob.len() - 1 };
    assert_eq!(encoder.sidecar(&[&blob[1..]], &mut out), Err(short));
    assert_eq!(encoder.height(&[], &second.decided, 100, &mut out), Err(EncodeError::Order(FrameKind::Height)));
}

#[test]
fn an_encoder_ends_where_its_header_says() {
    let archive = &*WITHOUT_BLOBS;
    let mut encoder = Encoder::new(&archive.header);
    let mut out = Vec::new();
    archive.heights.iter().for_each(|height| height.write(&mut encoder, &mut out));
    let last = &archive.heights[2].decided;
    assert_eq!(encoder.height(&[], last, 100, &mut out), Err(EncodeError::Order(FrameKind::Height)));
    encoder.finish(&mut out).unwrap();
    assert_eq!(encoder.finish(&mut out), Err(EncodeError::Order(FrameKind::End)));
}

#[test]
fn the_genesis_stands_in_the_header_as_it_is() {
    let archive = &*WITHOUT_BLOBS;
    let ssz = encode(archive.header.genesis());
    let stored = &archive.bytes[64..64 + ssz.len()];
    assert_eq!(decode::<Genesis>(stored).unwrap().id(), *archive.header.genesis_id());
}
