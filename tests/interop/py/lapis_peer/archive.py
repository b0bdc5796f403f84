"""Archives without compression: protocol-spec/spec/archive.md. A way to hand whole chains to a peer and back."""

from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from lapis_peer.chain import Chain, Record
from lapis_peer.containers import (
    BlobSidecar,
    DecidedValue,
    Genesis,
    Item,
    PayloadEnvelope,
    ValidatorSet,
    decode_strictly,
    root_of,
)
from lapis_peer.framing import Bounds
from lapis_peer.methods import bounds_of
from lapis_peer.verify import is_legal

MAGIC = bytes.fromhex("894c415049530d0a")
VERSION = 1
NO_COMPRESSION, ZSTD = 0, 1
CHECKSUM_BYTES = 8
HEADER_BYTES = 64
FRAME_BYTES = 5
LAST_HEIGHT = 2**64 - 2

HEIGHT, SET, VALUE, PAYLOAD, SIDECAR, HEIGHT_END, END = range(1, 8)
CONTENT_BOUNDS = {
    HEIGHT: Bounds(16, 16),
    SET: bounds_of(ValidatorSet),
    VALUE: bounds_of(DecidedValue),
    PAYLOAD: bounds_of(PayloadEnvelope),
    SIDECAR: bounds_of(BlobSidecar),
    HEIGHT_END: Bounds(8, 8),
    END: Bounds(48, 48),
}


class ArchiveFault(Exception):
    """A file is not a whole archive. `name` is the fault's name in the vectors."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Header:
    """What an archive says of itself."""

    first: int
    last: int
    genesis: Genesis


class Cursor:
    """A place in the bytes of an archive."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if self.at + count > len(self.data):
            raise ArchiveFault("Truncated")
        taken = self.data[self.at : self.at + count]
        self.at += count
        return taken

    def peek(self) -> int:
        """The next byte."""
        expect(self.at < len(self.data), "Truncated")
        return self.data[self.at]

    def frame(self, kind: int) -> bytes:
        """The content of the next frame, which is to be of `kind`."""
        expect(self.peek() == kind, "Frame")
        length = number(self.take(FRAME_BYTES)[1:])
        bounds = CONTENT_BOUNDS[kind]
        expect(bounds.low <= length <= bounds.high, "Length")
        return self.take(length)


def read_archive(data: bytes) -> Chain:
    """The chain in an archive that begins at height 1. None of it has been verified.

    Raises:
        ArchiveFault: it is no whole archive.
    """
    cursor = Cursor(data)
    header = read_header(cursor)
    chain = Chain(header.genesis)
    value_id = b""
    for height in range(header.first, header.last + 1):
        record, sets = read_record(cursor, height)
        chain.add(record, sets)
        value_id = bytes(record.decided.certificate.value_id)
    read_end(cursor, header.last - header.first + 1, value_id)
    return chain


def read_header(cursor: Cursor) -> Header:
    """Everything before the body."""
    expect(cursor.data[: len(MAGIC)] == MAGIC, "NotAnArchive")
    start = cursor.take(HEADER_BYTES)
    expect(number(start[8:10]) == VERSION, "Version")
    expect(start[10] in (NO_COMPRESSION, ZSTD), "Compression")
    expect(start[11] == 0, "Reserved")
    first, last = number(start[12:20]), number(start[20:28])
    expect(1 <= first <= last <= LAST_HEIGHT, "Range")
    length, bounds = number(start[60:64]), bounds_of(Genesis)
    expect(bounds.low <= length <= bounds.high, "GenesisLength")
    ssz = cursor.take(length)
    expect(checksum(start + ssz) == cursor.take(CHECKSUM_BYTES), "Checksum")
    genesis = decode(Genesis, ssz)
    expect(is_legal_genesis(genesis), "Ssz")
    expect(root_of(genesis) == start[28:60], "GenesisId")
    if start[10] == ZSTD:
        raise NotImplementedError("this reader takes archives without compression")
    return Header(first, last, genesis)


def read_record(cursor: Cursor, height: int) -> tuple[Record, list[ValidatorSet]]:
    """One height with the sets that it brings."""
    start = cursor.at
    content = cursor.frame(HEIGHT)
    expect(number(content[:8]) == height, "Height")
    length, behind = number(content[8:]), cursor.at
    sets: list[ValidatorSet] = []
    while cursor.peek() == SET and len(sets) < 2:
        sets.append(decode(ValidatorSet, cursor.frame(SET)))
    decided = decode(DecidedValue, cursor.frame(VALUE))
    expect(decided.value.height == height, "Height")
    payload = decode(PayloadEnvelope, cursor.frame(PAYLOAD))
    expect(payload.height == height, "Height")
    sidecars = [read_sidecar(cursor, height, index) for index in range(len(decided.value.blob_kzg_commitments))]
    end = cursor.at
    sum_of_record = cursor.frame(HEIGHT_END)
    expect(cursor.at - behind == length, "RecordLength")
    expect(checksum(cursor.data[start : end + FRAME_BYTES]) == sum_of_record, "Checksum")
    return Record(decided, payload, sidecars), sets


def read_sidecar(cursor: Cursor, height: int, index: int) -> BlobSidecar:
    """A sidecar of a certain place."""
    sidecar = decode(BlobSidecar, cursor.frame(SIDECAR))
    expect(sidecar.height == height and sidecar.index == index, "Height")
    return sidecar


def read_end(cursor: Cursor, records: int, value_id: bytes) -> None:
    """The last frame, and nothing behind it."""
    start = cursor.at
    content = cursor.frame(END)
    expect(checksum(cursor.data[start : start + 45]) == content[40:], "Checksum")
    expect(number(content[:8]) == records and content[8:40] == value_id, "Trailer")
    expect(cursor.at == len(cursor.data), "AfterEnd")


def write_archive(chain: Chain) -> bytes:
    """The archive of a whole chain."""
    return b"".join(parts(chain))


def parts(chain: Chain) -> Iterator[bytes]:
    """Header, records and end."""
    genesis = bytes(chain.genesis.encode_bytes())
    header = MAGIC + fixed(VERSION, 2) + bytes([NO_COMPRESSION, 0]) + fixed(1, 8) + fixed(chain.head, 8)
    header += root_of(chain.genesis) + fixed(len(genesis), 4) + genesis
    yield header + checksum(header)
    for height in range(1, chain.head + 1):
        yield written_record(chain, height)
    value_id = bytes(chain.records[chain.head].decided.certificate.value_id)
    end = bytes([END]) + fixed(48, 4) + fixed(chain.head, 8) + value_id
    yield end + checksum(end)


def written_record(chain: Chain, height: int) -> bytes:
    """One height. A set stands where it is named for the first time."""
    record, value = chain.records[height], chain.records[height].decided.value
    roots = [bytes(value.validators_root)] if height == 1 else []
    if value.next_validators_root != value.validators_root:
        roots.append(bytes(value.next_validators_root))
    frames = b"".join(frame(SET, bytes(chain.sets[root].encode_bytes())) for root in roots)
    frames += frame(VALUE, bytes(record.decided.encode_bytes()))
    frames += frame(PAYLOAD, bytes(record.payload.encode_bytes()))
    frames += b"".join(frame(SIDECAR, bytes(sidecar.encode_bytes())) for sidecar in record.sidecars)
    end = bytes([HEIGHT_END]) + fixed(CHECKSUM_BYTES, 4)
    content = fixed(height, 8) + fixed(len(frames) + len(end) + CHECKSUM_BYTES, 8)
    written = frame(HEIGHT, content) + frames + end
    return written + checksum(written)


def frame(kind: int, content: bytes) -> bytes:
    """One frame."""
    return bytes([kind]) + fixed(len(content), 4) + content


def is_legal_genesis(genesis: Genesis) -> bool:
    """Whether a chain may have this genesis."""
    return (
        is_legal(genesis.validators)
        and genesis.max_blobs_per_block <= 4096
        and genesis.blob_retention_heights >= 1
        and genesis.prague_time >= genesis.cancun_time
    )


def checksum(data: bytes) -> bytes:
    """The 64-bit XXH3 of `data`, least significant byte first."""
    return fixed(xxhash.xxh3_64_intdigest(data), CHECKSUM_BYTES)


def fixed(value: int, size: int) -> bytes:
    """An integer, least significant byte first."""
    return value.to_bytes(size, "little")


def number(data: bytes) -> int:
    """The integer in `data`."""
    return int.from_bytes(data, "little")


def decode(container: type[Item], ssz: bytes) -> Item:
    """As `decode_strictly`, with the fault of an archive."""
    try:
        return decode_strictly(container, ssz)
    except ValueError as error:
        raise ArchiveFault("Ssz") from error


def expect(condition: bool, name: str) -> None:
    """Raises `ArchiveFault(name)` unless `condition` holds."""
    if not condition:
        raise ArchiveFault(name)
