//! Archives, put together here frame by frame as the text says, without the library's own writer.

use lapis_protocol_spec::{
    Bytes32, ChainLink, Genesis, ValidatorSet,
    archive::{Compression, Encoder, Header},
    encode,
};
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{Failure, hex, objects};

/// Kind and content. Lengths of records and checksums are not part of it.
pub(super) type Frame = (u8, Vec<u8>);

/// Bytes of a height frame: head, height, length.
const HEIGHT_FRAME: usize = 5 + 16;

pub(super) struct Archive {
    pub(super) genesis: Genesis,
    frames: Vec<Frame>,
    pub(super) last: u64,
}

/// `archives.json`.
pub(crate) fn file() -> Result<Json, Failure> {
    let (archive, written) = archive()?;
    let good = archive.seal(0);
    if good != written {
        return Err("the library writes another archive".into());
    }
    let frames: Vec<Json> =
        archive.frames.iter().map(|(kind, content)| json!({ "kind": kind, "content": hex(content) })).collect();
    let bad = [headers(&archive)?, bodies(&archive)?].concat();
    Ok(json!({
        "good": [{
            "name": "three heights without blobs, the set changes after the first",
            "first": 1, "last": archive.last, "genesis_id": hex(archive.genesis.id()),
            "frames": frames,
            "archive": hex(&good),
        }],
        "bad": bad,
    }))
}

/// Three heights without blobs, and what the library's writer makes of them.
pub(super) fn archive() -> Result<(Archive, Vec<u8>), Failure> {
    let sets: Vec<ValidatorSet> = [&[(1, 10), (2, 20)][..], &[(3, 5)]]
        .into_iter()
        .map(|powers| objects::set_of(&objects::members(powers)))
        .collect::<Result<_, _>>()?;
    let [start, later] = sets.as_slice() else { return Err("two sets".into()) };
    let genesis = objects::genesis(start.clone())?;
    let header = Header::new(Compression::None, 1, 3, genesis.clone())?;
    let (mut encoder, mut written) = (Encoder::new(&header), header.encode());
    let mut tip = ChainLink::genesis(&genesis);
    let mut frames: Vec<Frame> = Vec::new();
    for height in 1..=3_u64 {
        let value = objects::successor(&tip, later, 0)?;
        let payload = encode(&objects::envelope(&value)?);
        let powers: &[(u8, u64)] = if height == 1 { &[(1, 10), (2, 20)] } else { &[(3, 5)] };
        let decided = objects::decide(genesis.id(), value, 0, &objects::members(powers))?;
        tip = ChainLink::after(&decided.value, decided.certificate.value_id);
        let known: &[ValidatorSet] = if height == 1 { &sets } else { &[] };
        encoder.height(known, &decided, payload.len(), &mut written)?;
        encoder.payload(&[&payload], &mut written)?;
        frames.push((1, height.to_le_bytes().to_vec()));
        frames.extend(known.iter().map(|set| (2, encode(set))));
        frames.extend([(3, encode(&decided)), (4, payload), (6, Vec::new())]);
    }
    encoder.finish(&mut written)?;
    frames.push((7, end(3, tip.value_id)));
    Ok((Archive { genesis, frames, last: 3 }, written))
}

fn end(records: u64, value_id: Bytes32) -> Vec<u8> {
    [records.to_le_bytes().as_slice(), value_id.as_slice()].concat()
}

impl Archive {
    /// The bytes up to the body.
    pub(super) fn header(&self, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let genesis = encode(&self.genesis);
        let mut header = b"\x89LAPIS\r\n\x01\x00\x00\x00".to_vec();
        header.extend(1_u64.to_le_bytes());
        header.extend(self.last.to_le_bytes());
        header.extend(self.genesis.id().as_slice());
        header.extend((genesis.len() as u64).to_le_bytes().iter().take(4));
        header.extend(genesis);
        change(&mut header);
        let checksum = xxh3_64(&header);
        header.extend(checksum.to_le_bytes());
        header
    }

    /// The frames of each record.
    pub(super) fn records(&self) -> impl Iterator<Item = &[Frame]> {
        self.frames.split_inclusive(|(kind, _)| *kind == 6).filter(|frames| frames.len() > 1)
    }

    /// The whole archive; each record says that it is `skew` bytes longer than it is.
    fn seal(&self, skew: u64) -> Vec<u8> {
        let body = body(&self.frames, skew);
        [self.header(|_| ()), body].concat()
    }

    fn with(&self, change: impl FnOnce(&mut Vec<Frame>)) -> Vec<u8> {
        let mut frames = self.frames.clone();
        change(&mut frames);
        [self.header(|_| ()), body(&frames, 0)].concat()
    }
}

fn body(frames: &[Frame], skew: u64) -> Vec<u8> {
    let mut body = Vec::new();
    for record in frames.split_inclusive(|(kind, _)| *kind >= 6) {
        let mut bytes = Vec::new();
        let rest: usize = record.iter().skip(1).map(|frame| 5 + content_bytes(frame)).sum();
        for frame @ (kind, content) in record {
            bytes.push(*kind);
            bytes.extend((content_bytes(frame) as u64).to_le_bytes().iter().take(4));
            bytes.extend(content);
            match kind {
                1 => bytes.extend((rest as u64 + skew).to_le_bytes()),
                6 | 7 => bytes.extend(xxh3_64(&bytes).to_le_bytes()),
                _ => {}
            }
        }
        body.extend(bytes);
    }
    body
}

/// Bytes of a frame's content with the length or checksum that is added to it.
pub(super) fn content_bytes((kind, content): &Frame) -> usize {
    content.len() + if matches!(kind, 1 | 6 | 7) { 8 } else { 0 }
}

fn case(name: &str, archive: &[u8], expected: &str) -> Json {
    json!({ "name": name, "archive": hex(archive), "expected": expected })
}

/// Headers that are wrong, with a checksum that is right unless that is what is wrong.
fn headers(archive: &Archive) -> Result<Vec<Json>, Failure> {
    let set =
        |at: usize, byte: u8| move |header: &mut Vec<u8>| header.iter_mut().skip(at).take(1).for_each(|b| *b = byte);
    let mut damaged = archive.header(|_| ());
    *damaged.last_mut().ok_or("empty header")? ^= 1;
    Ok(vec![
        case("another magic", &archive.header(set(3, b'X')), "NotAnArchive"),
        case("nothing at all", &[], "NotAnArchive"),
        case("version 2", &archive.header(set(8, 2)), "Version"),
        case("an unknown compression", &archive.header(set(10, 2)), "Compression"),
        case("a reserved byte that is not zero", &archive.header(set(11, 1)), "Reserved"),
        case("heights from 0 on", &archive.header(set(12, 0)), "Range"),
        case("the last height below the first", &archive.header(set(12, 4)), "Range"),
        case("the id of another genesis", &archive.header(set(28, 0xff)), "GenesisId"),
        case("a genesis longer than any", &archive.header(set(63, 1)), "GenesisLength"),
        case("a damaged header", &damaged, "Checksum"),
        case("cut off in the header", archive.header(|_| ()).get(..100).ok_or("short header")?, "Truncated"),
        case("cut off behind the header", &archive.header(|_| ()), "Truncated"),
    ])
}

/// Bodies that are wrong, with checksums that are right unless they are what is wrong.
fn bodies(archive: &Archive) -> Result<Vec<Json>, Failure> {
    let good = archive.seal(0);
    let last_byte = good.len().checked_sub(1).ok_or("empty archive")?;
    let mut damaged = good.clone();
    let in_first = archive.header(|_| ()).len() + HEIGHT_FRAME + 20;
    damaged.iter_mut().skip(in_first).take(1).for_each(|byte| *byte ^= 1);
    let longer = [good.as_slice(), &[0]].concat();
    // The first record has six frames, the others four each; the end is the last.
    let second = 6;
    Ok(vec![
        case("one bit of a validator set flipped", &damaged, "Checksum"),
        case("the last byte missing", good.get(..last_byte).ok_or("short")?, "Truncated"),
        case("a byte behind the end", &longer, "AfterEnd"),
        case("records that say they are a byte longer", &archive.seal(1), "RecordLength"),
        case("the second record left out", &archive.with(|f| drop(f.drain(second..second + 4))), "Height"),
        case("the last record left out", &archive.with(|f| drop(f.drain(second + 4..second + 8))), "Frame"),
        case("payload before value", &archive.with(|f| f.swap(second + 1, second + 2)), "Frame"),
        case("no payload", &archive.with(|f| drop(f.remove(second + 2))), "Frame"),
        case("a frame of a kind that is not one", &archive.with(|f| f.insert(second, (9, vec![0; 16]))), "Frame"),
        case("three sets", &archive.with(repeat_set), "Frame"),
        case("a set of three bytes", &archive.with(|f| f.insert(second + 1, (2, vec![0; 3]))), "Length"),
        case("a set that is not SSZ", &archive.with(|f| f.insert(second + 1, (2, vec![0; 44]))), "Ssz"),
        case("an end that counts two records", &archive.with(|f| recount(f, 2)), "Trailer"),
    ])
}

fn recount(frames: &mut [Frame], records: u8) {
    if let Some(count) = frames.last_mut().and_then(|(_, content)| content.first_mut()) {
        *count = records;
    }
}

fn repeat_set(frames: &mut Vec<Frame>) {
    let set = frames.get(1).cloned();
    frames.splice(1..1, set);
}
