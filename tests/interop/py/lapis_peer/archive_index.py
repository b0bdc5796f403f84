"""Indexes of archives: protocol-spec/spec/archive.md. What was decided at each height, and where its parts are."""

from dataclasses import dataclass
from itertools import pairwise

from lapis_peer.archive import (
    CHECKSUM_BYTES,
    CONTENT_BOUNDS,
    FRAME_BYTES,
    HEIGHT,
    HEIGHT_END,
    LAST_HEIGHT,
    NO_COMPRESSION,
    PAYLOAD,
    SET,
    SIDECAR,
    VALUE,
    ZSTD,
    Cursor,
    checksum,
    decode,
    expect,
    number,
)
from lapis_peer.containers import DecidedValue, Genesis, Validator, ValidatorSet
from lapis_peer.framing import Bounds
from lapis_peer.methods import bounds_of

MAGIC = bytes.fromhex("894c415049580d0a")
VERSION = 1
HEAD_BYTES = 68
MAX_HEIGHTS = 64
SIDECARS_OF_A_PART = 16
# The header of an archive: 72 bytes and a genesis, which has at least one validator.
HEADER = Bounds(
    72 + bounds_of(Genesis).low + bounds_of(Validator).high,
    72 + bounds_of(Genesis).high,
)


@dataclass(frozen=True)
class IndexRecord:
    """One height: the sets and the value as they stand in the archive, and the places of its parts there."""

    sets: list[bytes]
    decided_value: bytes
    parts: list[tuple[int, int]]


@dataclass(frozen=True)
class Index:
    """An index. None of it has been verified."""

    compression: int
    first: int
    last: int
    genesis_id: bytes
    records: list[IndexRecord]


def read_index(data: bytes) -> Index:
    """The index in `data`.

    Raises:
        ArchiveFault: it is none.
    """
    expect(data[: len(MAGIC)] == MAGIC, "NotAnIndex")
    expect(len(data) >= HEAD_BYTES + CHECKSUM_BYTES, "Truncated")
    expect(number(data[8:10]) == VERSION, "Version")
    expect(checksum(data[:-CHECKSUM_BYTES]) == data[-CHECKSUM_BYTES:], "Checksum")
    cursor = Cursor(data[:-CHECKSUM_BYTES])
    head = cursor.take(HEAD_BYTES)
    compression, first, last = head[10], number(head[12:20]), number(head[20:28])
    expect(compression in (NO_COMPRESSION, ZSTD), "Compression")
    expect(head[11] == 0, "Reserved")
    expect(1 <= first <= last <= LAST_HEIGHT, "Range")
    expect(last - first < MAX_HEIGHTS, "Heights")
    start = number(head[60:68])
    expect(HEADER.low <= start <= HEADER.high, "Start")
    records = []
    for height in range(first, last + 1):
        records.append(read_record(cursor, height, start, compression))
        start = records[-1].parts[-1][1]
    expect(cursor.at == len(cursor.data), "AfterEnd")
    return Index(compression, first, last, head[28:60], records)


def read_record(cursor: Cursor, height: int, start: int, compression: int) -> IndexRecord:
    """One height, whose first part begins at `start` in the archive."""
    sets: list[bytes] = []
    while cursor.peek() == SET and len(sets) < 2:
        sets.append(cursor.frame(SET))
        decode(ValidatorSet, sets[-1])
    ssz = cursor.frame(VALUE)
    value = decode(DecidedValue, ssz).value
    expect(value.height == height, "Height")
    places = [start]
    for bounds in bounds_of_parts(sets, ssz, len(value.blob_kzg_commitments)):
        stored, allowed = number(cursor.take(4)), as_stored(bounds, compression)
        expect(allowed.low <= stored <= allowed.high, "PartLength")
        places.append(places[-1] + stored)
    return IndexRecord(sets, ssz, list(pairwise(places)))


def bounds_of_parts(sets: list[bytes], value: bytes, blobs: int) -> list[Bounds]:
    """The bytes that each part of a record may have before compression."""
    end = framed(CONTENT_BOUNDS[HEIGHT_END].high)
    before = framed(CONTENT_BOUNDS[HEIGHT].high) + sum(framed(len(frame)) for frame in [*sets, value])
    before += 0 if blobs else end
    payload = CONTENT_BOUNDS[PAYLOAD]
    parts = [Bounds(before + framed(payload.low), before + framed(payload.high))]
    for first in range(0, blobs, SIDECARS_OF_A_PART):
        left = blobs - first
        size = min(left, SIDECARS_OF_A_PART) * framed(CONTENT_BOUNDS[SIDECAR].high)
        size += end if left <= SIDECARS_OF_A_PART else 0
        parts.append(Bounds(size, size))
    return parts


def framed(content: int) -> int:
    """The bytes of a frame with so much content."""
    return FRAME_BYTES + content


def as_stored(bounds: Bounds, compression: int) -> Bounds:
    """The bytes that a part may take in the archive."""
    if compression == NO_COMPRESSION:
        return bounds
    return Bounds(1, bounds.high + bounds.high // 128 + 1024)
