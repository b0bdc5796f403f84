//! Single parts of an archive, as an index tells where they are.
//!
//! What comes out is what somebody wrote: it goes through the gates that answers of peers go through.

use lapis_protocol_spec::{
    BlobSidecar, Height, PayloadEnvelope,
    archive::{ArchiveError, ArchiveFault, Compression, Decoder, Event, SidecarPart},
};

use super::{
    ReadError,
    read::{BodyReader, Frames, Source},
};

/// The payload out of `bytes`, which are the payload part of `height` as it is stored, whole and nothing else.
///
/// Memory: the largest item of the part, twice while it is decoded, and a zstd window of at most 8 MiB, however far the
/// bytes would inflate. Sets and value that stand before the payload are read strictly and dropped: the index has them.
///
/// # Errors
/// [`ReadError::Archive`] and [`ReadError::Compression`] if the bytes are not such a part: the fault of who wrote, kept
/// or carried them, or of the index. [`ReadError::Io`] if there is no memory to decompress them.
pub fn read_payload_part(bytes: &[u8], compression: Compression, height: Height) -> Result<PayloadEnvelope, ReadError> {
    let mut payload = None;
    read_part(bytes, compression, Decoder::of_payload_part(height), &mut |event| match event {
        Event::Payload(envelope) => payload = Some(envelope),
        Event::Height(_)
        | Event::ValidatorSet(_)
        | Event::Decided(_)
        | Event::Sidecar(_)
        | Event::HeightEnd(_)
        | Event::End(_) => {}
    })?;
    // No part is complete without one.
    let fault = ArchiveFault::Truncated;
    payload.ok_or_else(|| ArchiveError { offset: bytes.len() as u64, height: Some(height), fault }.into())
}

/// The sidecars out of `bytes`, which are `part` of the record of `height` as it is stored, whole and nothing else: as
/// many as the part has, their indices ascending from its first.
///
/// Memory: the sidecars, one item twice while it is decoded, and a zstd window of at most 8 MiB, however far the bytes
/// would inflate.
///
/// # Errors
/// As [`read_payload_part`].
pub fn read_sidecar_part(
    bytes: &[u8],
    compression: Compression,
    height: Height,
    part: SidecarPart,
) -> Result<Vec<BlobSidecar>, ReadError> {
    let mut sidecars = Vec::with_capacity(part.count());
    read_part(bytes, compression, Decoder::of_sidecar_part(height, part), &mut |event| match event {
        Event::Sidecar(sidecar) => sidecars.push(sidecar),
        Event::Height(_)
        | Event::ValidatorSet(_)
        | Event::Decided(_)
        | Event::Payload(_)
        | Event::HeightEnd(_)
        | Event::End(_) => {}
    })?;
    Ok(sidecars)
}

fn read_part(
    bytes: &[u8],
    compression: Compression,
    decoder: Decoder,
    take: &mut dyn FnMut(Event),
) -> Result<(), ReadError> {
    let mut body = BodyReader::new(Source::new(bytes, compression, Frames::One)?, decoder);
    while let Some(event) = body.next_event()? {
        take(event);
    }
    Ok(())
}
