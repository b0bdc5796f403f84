"""How requests and responses look on a stream: protocol-spec/spec/framing.md, with all of its refusals.

The reader pulls bytes from a `ByteSource`, so that the same code reads a libp2p stream and a test vector.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

import cramjam

SUCCESS = 0
INVALID_REQUEST = 1
SERVER_ERROR = 2
RESOURCE_UNAVAILABLE = 3
RATE_LIMITED = 139

MAX_ERROR_TEXT = 256
IDENTIFIER = bytes.fromhex("ff060000734e61507059")
MAX_FRAME_DATA = 65_536
MAX_PREFIX_BYTES = 10
CHECKSUM_BYTES = 4
FRAME_HEADER_BYTES = 4

COMPRESSED = 0x00
UNCOMPRESSED = 0x01
FIRST_SKIPPABLE = 0x80
IDENTIFIER_KIND = 0xFF


class WireFault(Exception):
    """The other side broke the framing. `name` is the fault's name in the specification."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Ended(Exception):
    """The stream ended properly, with fewer bytes than were asked for."""


class ByteSource(Protocol):
    """Bytes as they come."""

    async def take(self, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            Ended: the stream ends before them.
        """
        ...

    async def peek(self) -> int | None:
        """The next byte without taking it, None at the end of the stream."""
        ...


@dataclass(frozen=True)
class Bounds:
    """The smallest and the largest encoding of a type, in bytes."""

    low: int
    high: int


@dataclass(frozen=True)
class Chunk:
    """One chunk of a response."""

    result: int
    payload: bytes


def encode_payload(ssz: bytes) -> bytes:
    """A length and the snappy frames of `ssz`: a request, or a response chunk behind its result byte."""
    frames = cramjam.snappy.compress(ssz) if ssz else IDENTIFIER
    return encode_length(len(ssz)) + bytes(frames)


def encode_chunk(result: int, payload: bytes) -> bytes:
    """One chunk. It is to be written in one piece, and alone."""
    return bytes([result]) + encode_payload(payload)


def encode_error(result: int, text: str) -> bytes:
    """A chunk that says what went wrong. It is the last one of a response."""
    return encode_chunk(result, text.encode()[:MAX_ERROR_TEXT])


def encode_length(length: int) -> bytes:
    """The shortest varint of `length`."""
    out = bytearray()
    while length >= 0x80:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)


async def read_request(source: ByteSource, bounds: Bounds) -> bytes:
    """The whole request, up to the end of the stream.

    Raises:
        WireFault: it breaks the framing.
    """
    length = await read_length(source, bounds)
    payload = await read_payload(source, length)
    await skip_identifier_of_empty(source, length)
    if await source.peek() is not None:
        raise WireFault("BytesAfterRequest")
    return payload


async def read_response(source: ByteSource, bounds: Bounds) -> AsyncGenerator[Chunk, None]:
    """The chunks of a response, each as soon as it is complete. `bounds` are those of its items.

    Raises:
        WireFault: the response breaks the framing. The chunks before it count.
    """
    while await source.peek() is not None:
        result = (await source.take(1))[0]
        length = await read_length(source, bounds if result == SUCCESS else Bounds(0, MAX_ERROR_TEXT))
        yield Chunk(result, await read_payload(source, length))
        await skip_identifier_of_empty(source, length)
        if result != SUCCESS:
            if await source.peek() is not None:
                raise WireFault("BytesAfterErrorChunk")
            return


async def read_length(source: ByteSource, bounds: Bounds) -> int:
    """A length within `bounds`. Nothing is reserved for the payload before it is known to be."""
    length = 0
    for position in range(MAX_PREFIX_BYTES):
        try:
            byte = (await source.take(1))[0]
        except Ended:
            raise WireFault("EndedInPrefix") from None
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            break
    else:
        raise WireFault("PrefixTooLong")
    if length >= 1 << 64:
        raise WireFault("PrefixOverflow")
    if byte == 0 and position > 0:
        raise WireFault("PrefixNotMinimal")
    if length < bounds.low:
        raise WireFault("LengthBelowMinimum")
    if length > bounds.high:
        raise WireFault("LengthAboveMaximum")
    return length


async def read_payload(source: ByteSource, length: int) -> bytes:
    """`length` bytes of data out of snappy frames."""
    data = bytearray()
    budget = 32 + length + length // 6
    identified = False
    while len(data) < length:
        kind, size = await read_frame_header(source)
        check_frame_header(kind, size, identified)
        budget -= FRAME_HEADER_BYTES + size
        if budget < 0:
            raise WireFault("CompressedBoundExceeded")
        room = length - len(data)
        if kind == UNCOMPRESSED and size - CHECKSUM_BYTES > room:
            raise WireFault("PayloadTooLong")
        body = await take_body(source, size)
        if kind == IDENTIFIER_KIND:
            check_identifier(body)
            identified = True
        elif kind in (COMPRESSED, UNCOMPRESSED):
            data += frame_data(kind, body, room)
    return bytes(data)


async def skip_identifier_of_empty(source: ByteSource, length: int) -> None:
    """Reads the identifier that a writer may leave behind an empty payload."""
    if length > 0 or await source.peek() != IDENTIFIER_KIND:
        return
    kind, size = await read_frame_header(source)
    check_frame_header(kind, size, identified=False)
    check_identifier(await take_body(source, size))


async def read_frame_header(source: ByteSource) -> tuple[int, int]:
    """Kind and size of the next frame."""
    header = await take_body(source, FRAME_HEADER_BYTES)
    return header[0], int.from_bytes(header[1:], "little")


async def take_body(source: ByteSource, size: int) -> bytes:
    """Bytes inside a payload, where the stream must not end."""
    try:
        return await source.take(size)
    except Ended:
        raise WireFault("EndedInPayload") from None


def check_frame_header(kind: int, size: int, identified: bool) -> None:
    """What a header shows is checked before its body is waited for."""
    if kind == IDENTIFIER_KIND:
        if identified:
            raise WireFault("IdentifierRepeated")
        if size != len(IDENTIFIER) - FRAME_HEADER_BYTES:
            raise WireFault("IdentifierCorrupt")
        return
    if not identified:
        raise WireFault("IdentifierMissing")
    if kind in (COMPRESSED, UNCOMPRESSED):
        if size > MAX_FRAME_DATA + CHECKSUM_BYTES:
            raise WireFault("FrameOversized")
        if size < CHECKSUM_BYTES + (kind == COMPRESSED):
            raise WireFault("FrameTooShort")
    elif kind < FIRST_SKIPPABLE:
        raise WireFault("FrameReserved")


def check_identifier(body: bytes) -> None:
    """The identifier says `sNaPpY`."""
    if body != IDENTIFIER[FRAME_HEADER_BYTES:]:
        raise WireFault("IdentifierCorrupt")


def frame_data(kind: int, body: bytes, room: int) -> bytes:
    """The data of a frame, if it is no more than `room` and has its checksum."""
    if kind == COMPRESSED:
        check_block_length(body[CHECKSUM_BYTES:], room)
        try:
            cramjam.snappy.decompress_raw(body[CHECKSUM_BYTES:])
        except cramjam.DecompressionError as error:
            raise WireFault("FrameCorrupt") from error
    frame = bytes([kind]) + len(body).to_bytes(3, "little") + body
    try:
        # A file of this frame alone: the library holds the data against the checksum.
        return bytes(cramjam.snappy.decompress(IDENTIFIER + frame))
    except cramjam.DecompressionError as error:
        raise WireFault("ChecksumMismatch") from error


def check_block_length(block: bytes, room: int) -> None:
    """A snappy block begins with the length of its data."""
    try:
        announced = cramjam.snappy.decompress_raw_len(block)
    except cramjam.DecompressionError as error:
        raise WireFault("FrameCorrupt") from error
    if announced > MAX_FRAME_DATA:
        raise WireFault("FrameDataOversized")
    if announced > room:
        raise WireFault("PayloadTooLong")
