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
/// bytes would inflate; a payload whose envelope takes more than `max_bytes` is not read. Sets and value that stand before the payload are read strictly and dropped: the index has them.
///
/// # Errors
/// [`ReadError::Archive`] and [`ReadError::Compression`] if the bytes are not such a part: the fault of who wrote, kept
/// or carried them, or of the index. [`ReadError::Io`] if there is no memory to decompress them.
pub fn read_payload_part(
    bytes: &[u8],
    compression: Compression,
    height: Height,
    max_bytes: usize,
) -> Result<PayloadEnvelope, ReadError> {
    let mut payload = None;
    let source = Source::new(bytes, compression, Frames::One)?;
    let body = BodyReader::new(source, Decoder::of_payload_part(height)).with_payload_limit(max_bytes);
    read_part(body, &mut |event| match event {
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
    let source = Source::new(bytes, compression, Frames::One)?;
    read_part(BodyReader::new(source, Decoder::of_sidecar_part(height, part)), &mut |event| match event {
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

fn read_part(mut body: BodyReader<&[u8]>, take: &mut dyn FnMut(Event)) -> Result<(), ReadError> {
    while let Some(event) = body.next_event()? {
        take(event);
    }
    Ok(())
}
