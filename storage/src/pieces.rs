//! Blobs and payloads in pieces. Owns how data is cut so that redb's rounding costs nothing, and its checksums.
//!
//! redb gives a value that does not share a page a power of two of pages. Pieces are therefore cut to just under such a
//! size, with room for the page's header and the key; what is left in the end is short and goes into a metadata row,
//! where it shares its page with others.

use lapis_protocol_spec::{BlobSidecar, Bytes32, Height, PayloadEnvelope, encode};
use redb::{AccessGuard, ReadableTable};

use crate::{
    StoreError, TableName,
    error::Damage,
    rows::{BlobRow, PayloadRow, checksum, seal, seal_key, unseal},
    tables::{PIECE_BYTES, Tables, WriteTables},
};

/// Piece sizes of payloads: 64, 32, 16, 8 and 4 KiB, less 36 bytes for page header, offsets and key.
const PAYLOAD_PIECES: [usize; 5] = [PIECE_BYTES, 32_732, 16_348, 8_156, 4_060];

/// A blob as it lies in the pages of a snapshot, checked.
pub(crate) struct StoredBlob<'a> {
    pub(crate) row: BlobRow,
    pieces: [AccessGuard<'a, &'static [u8]>; 2],
}

impl StoredBlob<'_> {
    /// The blob's bytes in order.
    pub(crate) fn slices(&self) -> [&[u8]; 3] {
        let [first, second] = &self.pieces;
        [first.value(), second.value(), &self.row.tail]
    }
}

/// A payload envelope as it lies in the pages of a snapshot, checked.
pub(crate) struct StoredPayload<'a> {
    row: PayloadRow,
    pieces: Vec<AccessGuard<'a, &'static [u8]>>,
}

impl StoredPayload<'_> {
    /// The SSZ envelope's bytes in order.
    pub(crate) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(AccessGuard::value).chain([self.row.tail.as_slice()])
    }

    /// Bytes of the SSZ envelope.
    pub(crate) fn size(&self) -> u64 {
        self.row.size
    }
}

/// The row of a blob that is held. `damage` says where it is wanted.
pub(crate) fn blob_row(tables: &impl Tables, hash: &Bytes32, damage: Damage) -> Result<Option<BlobRow>, StoreError> {
    let Some(row) = tables.blobs().get(&hash.0)? else { return Ok(None) };
    let row = unseal(row.value(), seal_key(&hash.0)).and_then(BlobRow::decode).ok_or(damage)?;
    Ok(Some(row))
}

/// The blob with this versioned hash, if it is held, with its checksum verified.
pub(crate) fn read_blob<'a>(
    tables: &'a impl Tables,
    hash: &Bytes32,
    height: Height,
    index: u64,
) -> Result<Option<StoredBlob<'a>>, StoreError> {
    let damage = Damage { table: TableName::Blobs, height, index };
    let Some(row) = blob_row(tables, hash, damage)? else { return Ok(None) };
    let first = tables.blob_pieces().get((row.number, 0))?.ok_or(damage)?;
    let second = tables.blob_pieces().get((row.number, 1))?.ok_or(damage)?;
    let blob = StoredBlob { row, pieces: [first, second] };
    if checksum(blob.slices(), seal_key(&hash.0)) != row.checksum {
        return Err(damage.into());
    }
    Ok(Some(blob))
}

/// Writes a blob that is not held. One copy, into the database's pages.
pub(crate) fn write_blob(
    tables: &mut WriteTables<'_>,
    number: u64,
    hash: &Bytes32,
    sidecar: &BlobSidecar,
) -> Result<(), StoreError> {
    let bytes = sidecar.blob.as_array();
    let (first, rest) = bytes.split_at(PIECE_BYTES);
    let (second, last) = rest.split_at(PIECE_BYTES);
    let mut tail = [0; crate::rows::TAIL_BYTES];
    tail.copy_from_slice(last);
    let row = BlobRow {
        number,
        commitment: sidecar.kzg_commitment,
        proof: sidecar.kzg_proof,
        checksum: checksum([bytes.as_slice()], seal_key(&hash.0)),
        tail,
    };
    tables.blob_pieces.insert((number, 0), first)?;
    tables.blob_pieces.insert((number, 1), second)?;
    tables.blobs.insert(&hash.0, seal(row.encode(), seal_key(&hash.0)).as_slice())?;
    Ok(())
}

/// Deletes a blob. If its row is damaged, its pieces cannot be named and stay behind.
pub(crate) fn delete_blob(tables: &mut WriteTables<'_>, hash: &Bytes32) -> Result<(), StoreError> {
    let number = match tables.blobs.remove(&hash.0)? {
        Some(row) => unseal(row.value(), seal_key(&hash.0)).and_then(BlobRow::decode).map(|row| row.number),
        None => None,
    };
    if let Some(number) = number {
        tables.blob_pieces.remove((number, 0))?;
        tables.blob_pieces.remove((number, 1))?;
    }
    Ok(())
}

/// The row of a payload that is held.
pub(crate) fn payload_row(tables: &impl Tables, number: u64, height: Height) -> Result<Option<PayloadRow>, StoreError> {
    let Some(row) = tables.payloads().get(number)? else { return Ok(None) };
    let damage = Damage { table: TableName::Payloads, height, index: 0 };
    Ok(Some(unseal(row.value(), number).and_then(PayloadRow::decode).ok_or(damage)?))
}

/// The payload of the value `number`, if it is held, with its checksum verified.
pub(crate) fn read_payload<'a>(
    tables: &'a impl Tables,
    number: u64,
    height: Height,
) -> Result<Option<StoredPayload<'a>>, StoreError> {
    let Some(row) = payload_row(tables, number, height)? else { return Ok(None) };
    let mut pieces = Vec::new();
    for piece in tables.payload_pieces().range((number, 0)..=(number, u16::MAX))? {
        pieces.push(piece?.1);
    }
    let payload = StoredPayload { row, pieces };
    let size: u64 = payload.slices().map(|slice| slice.len() as u64).sum();
    if size != payload.row.size || checksum(payload.slices(), number) != payload.row.checksum {
        return Err(Damage { table: TableName::Payloads, height, index: 0 }.into());
    }
    Ok(Some(payload))
}

/// Writes a payload that is not held; returns its bytes.
pub(crate) fn write_payload(
    tables: &mut WriteTables<'_>,
    number: u64,
    envelope: &PayloadEnvelope,
) -> Result<u64, StoreError> {
    let bytes = encode(envelope);
    let mut rest = bytes.as_slice();
    let mut piece = 0_u16;
    for size in PAYLOAD_PIECES {
        while let Some((head, tail)) = rest.split_at_checked(size) {
            tables.payload_pieces.insert((number, piece), head)?;
            piece += 1;
            rest = tail;
        }
    }
    let size = bytes.len() as u64;
    let row = PayloadRow { size, checksum: checksum([bytes.as_slice()], number), tail: rest.to_vec() };
    tables.payloads.insert(number, seal(row.encode(), number).as_slice())?;
    Ok(size)
}

/// How many pieces a payload of `size` bytes is cut into.
pub(crate) fn payload_pieces(size: u64) -> u64 {
    let mut rest = size;
    let mut pieces = 0;
    for piece in PAYLOAD_PIECES {
        pieces += rest / piece as u64;
        rest %= piece as u64;
    }
    pieces
}

/// Deletes a payload, damaged or not.
pub(crate) fn delete_payload(tables: &mut WriteTables<'_>, number: u64) -> Result<(), StoreError> {
    tables.payloads.remove(number)?;
    tables.payload_pieces.retain_in((number, 0)..=(number, u16::MAX), |_, _| false)?;
    Ok(())
}
