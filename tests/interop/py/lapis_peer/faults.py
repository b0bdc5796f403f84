"""What a hostile server does wrong. A fault takes the honest chunks of a response and gives what is written instead."""

from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

import trio

from lapis_peer import framing
from lapis_peer.containers import BlobSidecar, DecidedValue, PayloadEnvelope, Status, root_of
from lapis_peer.framing import IDENTIFIER, SUCCESS, Chunk
from lapis_peer.methods import METHODS

Writes = AsyncGenerator[bytes, None]
Spoil = Callable[[str, Iterator[Chunk]], Writes]
Alter = Callable[[list[bytes]], list[bytes]]

VALUES = ("decided_values_by_range",)
PAYLOADS = ("payloads_by_range", "payloads_by_root")
BLOBS = ("blobs_by_range", "blobs_by_root")
MAX_U64 = 2**64 - 1


@dataclass(frozen=True)
class Fault:
    """A fault, and the methods that it shows in. All others are answered honestly."""

    methods: tuple[str, ...]
    spoil: Spoil


async def honest(_: str, chunks: Iterator[Chunk]) -> Writes:
    """Each chunk in one piece."""
    for chunk in chunks:
        yield framing.encode_chunk(chunk.result, chunk.payload)


def altered(alter: Alter) -> Spoil:
    """Other items than the honest ones, in faultless frames."""

    async def spoil(method: str, chunks: Iterator[Chunk]) -> Writes:
        items = alter([chunk.payload for chunk in chunks])
        async for piece in honest(method, (Chunk(SUCCESS, item) for item in items)):
            yield piece

    return spoil


def refusing(result: int, text: str) -> Spoil:
    """An error chunk in place of everything."""

    async def spoil(_: str, __: Iterator[Chunk]) -> Writes:
        yield framing.encode_error(result, text)

    return spoil


def wrong_blob(items: list[bytes]) -> list[bytes]:
    """One bit of the first blob is another."""
    return [flip(items[0], BlobSidecar.min_byte_length() - 1), *items[1:]] if items else []


def wrong_proof(items: list[bytes]) -> list[bytes]:
    """The proof is the commitment: a point of the group, but no proof."""
    return [item[:64] + item[16:64] + item[112:] for item in items]


def wrong_payload(items: list[bytes]) -> list[bytes]:
    """The last byte of the first payload is another."""
    if not items:
        return []
    envelope = PayloadEnvelope.decode_bytes(items[0])
    payload = bytes(envelope.payload)
    envelope.payload = flip(payload, len(payload) - 1)
    return [bytes(envelope.encode_bytes()), *items[1:]]


def forged_value(items: list[bytes]) -> list[bytes]:
    """The first value is a second later, and the certificate names it. Nobody signed that."""
    if not items:
        return []
    decided = DecidedValue.decode_bytes(items[0])
    decided.value.timestamp += 1
    decided.certificate.value_id = root_of(decided.value)
    return [bytes(decided.encode_bytes()), *items[1:]]


def swapped(items: list[bytes]) -> list[bytes]:
    """The first two are swapped."""
    return [*items[1:2], *items[:1], *items[2:]]


def half_a_height(items: list[bytes]) -> list[bytes]:
    """The last blob of the last height is missing."""
    return items[:-1]


def another_chain(items: list[bytes]) -> list[bytes]:
    """A status with another genesis."""
    status = Status.decode_bytes(items[0])
    status.genesis_id = b"\x0f" * 32
    return [bytes(status.encode_bytes())]


def endless_claim(items: list[bytes]) -> list[bytes]:
    """A status that claims every height there can be."""
    status = Status.decode_bytes(items[0])
    status.decided_height = status.available_height = MAX_U64
    return [bytes(status.encode_bytes())]


async def truncated(_: str, chunks: Iterator[Chunk]) -> Writes:
    """The end comes within the first chunk."""
    for chunk in chunks:
        wire = framing.encode_chunk(chunk.result, chunk.payload)
        yield wire[: len(wire) // 2]
        return


async def oversize(method: str, _: Iterator[Chunk]) -> Writes:
    """A chunk says that it is a byte longer than its type can be."""
    yield bytes([SUCCESS]) + framing.encode_length(METHODS[method].item.high + 1) + IDENTIFIER


async def too_long(_: str, chunks: Iterator[Chunk]) -> Writes:
    """The frames of the first chunk hold a byte more than its length says."""
    for chunk in chunks:
        length = len(chunk.payload)
        longer = framing.encode_payload(chunk.payload + b"\0")
        yield bytes([SUCCESS]) + framing.encode_length(length) + longer[len(framing.encode_length(length + 1)) :]
        return


async def padding(_: str, chunks: Iterator[Chunk]) -> Writes:
    """Frames that are skipped, without end, where the first chunk should be."""
    for chunk in chunks:
        yield bytes([SUCCESS]) + framing.encode_length(len(chunk.payload)) + IDENTIFIER
        while True:
            yield b"\xfe\x00\x40\x00" + bytes(0x4000)


async def garbage(_: str, chunks: Iterator[Chunk]) -> Writes:
    """A right length, and then anything but frames."""
    for chunk in chunks:
        yield bytes([SUCCESS]) + framing.encode_length(len(chunk.payload)) + b"not snappy at all"
        return


async def silent(_: str, __: Iterator[Chunk]) -> Writes:
    """Nothing, and no end."""
    await trio.sleep_forever()
    yield b""


async def endless(_: str, chunks: Iterator[Chunk]) -> Writes:
    """All that was asked for, and then the last item again and again."""
    wire = b""
    for chunk in chunks:
        wire = framing.encode_chunk(chunk.result, chunk.payload)
        yield wire
    while wire:
        yield wire


async def empty(_: str, __: Iterator[Chunk]) -> Writes:
    """No chunk at all. That is allowed."""
    return
    yield b""


def flip(data: bytes, place: int) -> bytes:
    """`data` with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


FAULTS: dict[str, Fault] = {
    "wrong-blob": Fault(BLOBS, altered(wrong_blob)),
    "wrong-proof": Fault(BLOBS, altered(wrong_proof)),
    "wrong-payload": Fault(PAYLOADS, altered(wrong_payload)),
    "forged-value": Fault(VALUES, altered(forged_value)),
    "values-out-of-order": Fault(VALUES, altered(swapped)),
    "payloads-out-of-order": Fault(("payloads_by_range",), altered(swapped)),
    "blobs-out-of-order": Fault(("blobs_by_range",), altered(swapped)),
    "half-a-height": Fault(("blobs_by_range",), altered(half_a_height)),
    "truncated": Fault(BLOBS, truncated),
    "oversize": Fault(BLOBS, oversize),
    "too-long": Fault(BLOBS, too_long),
    "padding": Fault(BLOBS, padding),
    "garbage": Fault(BLOBS, garbage),
    "silent": Fault(BLOBS, silent),
    "endless": Fault(BLOBS, endless),
    "empty": Fault(VALUES + PAYLOADS + BLOBS, empty),
    "unavailable": Fault(PAYLOADS + BLOBS, refusing(framing.RESOURCE_UNAVAILABLE, "held from height 1000000")),
    "server-error": Fault(PAYLOADS + BLOBS, refusing(framing.SERVER_ERROR, "the disk is on fire")),
    "rate-limited": Fault(PAYLOADS + BLOBS, refusing(framing.RATE_LIMITED, "later")),
    "another-chain": Fault(("status",), altered(another_chain)),
    "endless-claim": Fault(("status",), altered(endless_claim)),
}
HONEST = Fault((), honest)
