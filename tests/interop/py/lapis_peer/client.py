"""A node under test, asked by this peer: what it must answer, and what it must refuse.

Nothing is taken for true: values are followed from the genesis by their certificates, payloads and blobs are held
against the values. Where a case breaks the rules it does so as a new peer, since that costs the peer its reputation.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable

import cramjam
import trio
from libp2p.peer.id import ID
from remerkleable.basic import uint64

from lapis_peer import framing, report
from lapis_peer.chain import Chain
from lapis_peer.containers import (
    BlobSidecar,
    DecidedValue,
    Genesis,
    PayloadEnvelope,
    ValidatorSet,
    decode_strictly,
    root_of,
)
from lapis_peer.framing import COMPRESSED, UNCOMPRESSED
from lapis_peer.kzg import proofs_hold
from lapis_peer.methods import (
    BLOBS_BY_RANGE,
    BLOBS_BY_ROOT,
    DECIDED_VALUES_BY_RANGE,
    GOODBYE,
    PAYLOADS_BY_RANGE,
    PAYLOADS_BY_ROOT,
    PING,
    STATUS,
    VALIDATOR_SET_BY_ROOT,
)
from lapis_peer.session import Session, asked, collect, expect, greet, newcomer, open_session
from lapis_peer.sources import Broken
from lapis_peer.verify import Tip, verify_decided, verify_payload, versioned_hash

CASE_SECONDS = 30
RANGES = (DECIDED_VALUES_BY_RANGE, PAYLOADS_BY_RANGE, BLOBS_BY_RANGE)
PINGS = 200
# The masked CRC-32C of no data.
CHECKSUM_OF_NOTHING = 0xA282EAD8.to_bytes(4, "little")
UNKNOWN = b"\x5a" * 32
ANOTHER_CHAIN = 2
SHUTTING_DOWN = 1


async def status(session: Session) -> str:
    session.status = await greet(session)
    expect(bytes(session.status.genesis_id) == root_of(session.genesis), "another genesis id")
    expect(session.status.decided_height >= session.status.available_height >= 1, session.status)
    return f"{session.status.decided_height} heights"


async def ping(session: Session) -> str:
    for number in (0, 1, 2**64 - 1):
        expect(len(await session.ask(PING, bytes(uint64(number).encode_bytes()))) == 1, "no answer")
    return ""


async def decided_values_by_range(session: Session) -> str:
    tip, signatures = Tip.of_genesis(session.genesis), 0
    sets: dict[bytes, ValidatorSet] = {tip.next_validators_root: session.genesis.validators}
    for height in range(1, int(session.status.decided_height) + 1):
        if tip.next_validators_root not in sets:
            sets[tip.next_validators_root] = await validator_set(session, tip.next_validators_root)
        [item] = await session.ask(DECIDED_VALUES_BY_RANGE, asked(height, 1))
        decided = decode_strictly(DecidedValue, item)
        limit = int(session.genesis.max_blobs_per_block)
        tip = verify_decided(decided, tip, sets[tip.next_validators_root], root_of(session.genesis), limit)
        session.values[height] = decided.value
        signatures += len(decided.certificate.signatures)
    expect(tip.value_id == bytes(session.status.decided_value_id), "the status names another value")
    return f"{len(session.values)} values, {len(sets)} sets, {signatures} signatures"


async def validator_set(session: Session, root: bytes) -> ValidatorSet:
    """The set with this root."""
    [item] = await session.ask(VALIDATOR_SET_BY_ROOT, root)
    validators = decode_strictly(ValidatorSet, item)
    expect(root_of(validators) == root, "another set")
    return validators


async def long_ranges(session: Session) -> str:
    for count in (128, 129, 2**64 - 2):
        items = await session.ask(DECIDED_VALUES_BY_RANGE, asked(1, count))
        heights = [int(decode_strictly(DecidedValue, item).value.height) for item in items]
        expect(heights == list(range(1, min(128, len(session.values)) + 1)), heights)
    return ""


async def validator_set_by_root(session: Session) -> str:
    named = {bytes(value.validators_root) for value in session.values.values()}
    named |= {bytes(value.next_validators_root) for value in session.values.values()}
    for root in named:
        await validator_set(session, root)
    expect(await session.ask(VALIDATOR_SET_BY_ROOT, UNKNOWN) == [], "a set for an unknown root")
    return f"{len(named)} sets"


async def payloads_by_range(session: Session) -> str:
    start, head = int(session.status.earliest_payload_height), int(session.status.available_height)
    items = await session.ask(PAYLOADS_BY_RANGE, asked(start, head - start + 1))
    envelopes = [decode_strictly(PayloadEnvelope, item) for item in items]
    expect([int(envelope.height) for envelope in envelopes] == list(range(start, head + 1)), "other heights")
    for envelope in envelopes:
        verify_payload(envelope, session.values[int(envelope.height)])
    return f"{len(items)} payloads, {sum(map(len, items))} bytes"


async def payloads_by_root(session: Session) -> str:
    start = int(session.status.earliest_payload_height)
    wanted = {root_of(value): value for height, value in session.values.items() if height >= start}
    ids = [*reversed(wanted), UNKNOWN, *wanted]
    envelopes = [decode_strictly(PayloadEnvelope, item) for item in await session.ask(PAYLOADS_BY_ROOT, b"".join(ids))]
    for envelope in envelopes:
        verify_payload(envelope, wanted.pop(bytes(envelope.value_id)))
    expect(not wanted, f"{len(wanted)} payloads are missing")
    return f"{len(envelopes)} payloads"


async def blobs_by_range(session: Session) -> str:
    start, head = int(session.status.earliest_blob_height), int(session.status.available_height)
    items = await session.ask(BLOBS_BY_RANGE, asked(start, head - start + 1))
    sidecars = [decode_strictly(BlobSidecar, item) for item in items]
    places = [
        (height, index, bytes(commitment))
        for height in range(start, head + 1)
        for index, commitment in enumerate(session.values[height].blob_kzg_commitments)
    ]
    got = [(int(sidecar.height), int(sidecar.index), bytes(sidecar.kzg_commitment)) for sidecar in sidecars]
    expect(got == places, "other places or commitments, or another order")
    prove(sidecars)
    session.blobs = {versioned_hash(bytes(one.kzg_commitment)): bytes(one.blob) for one in sidecars}
    return f"{len(sidecars)} blobs with their proofs"


def prove(sidecars: list[BlobSidecar]) -> None:
    """Checks the proofs."""
    blobs = [bytes(sidecar.blob) for sidecar in sidecars]
    commitments = [bytes(sidecar.kzg_commitment) for sidecar in sidecars]
    expect(proofs_hold(blobs, commitments, [bytes(sidecar.kzg_proof) for sidecar in sidecars]), "a proof is wrong")


async def blobs_by_root(session: Session) -> str:
    hashes = [*reversed(session.blobs), UNKNOWN, *session.blobs]
    sidecars = [decode_strictly(BlobSidecar, item) for item in await session.ask(BLOBS_BY_ROOT, b"".join(hashes))]
    got = {versioned_hash(bytes(one.kzg_commitment)): bytes(one.blob) for one in sidecars}
    expect(len(sidecars) == len(got), "a blob came twice")
    expect(got == session.blobs, "other blobs than by range")
    prove(sidecars)
    return f"{len(sidecars)} blobs with their proofs"


async def nothing_above_the_head(session: Session) -> str:
    head = int(session.status.decided_height)
    for method in RANGES:
        for start in (head + 1, 2**63):
            expect(await session.ask(method, asked(start, 5)) == [], f"{method.name} from {start}")
    return ""


async def nothing_for_no_roots(session: Session) -> str:
    for method in (PAYLOADS_BY_ROOT, BLOBS_BY_ROOT):
        for roots in (b"", UNKNOWN):
            expect(await session.ask(method, roots) == [], method.name)
    return ""


async def other_frames(session: Session) -> str:
    ssz = asked(1, 1)
    length, identifier = bytes([len(ssz)]), framing.IDENTIFIER
    plain, packed = frame(UNCOMPRESSED, ssz), frame(COMPRESSED, ssz)
    halves = frame(UNCOMPRESSED, ssz[:8]) + frame(UNCOMPRESSED, ssz[8:])
    ways = {
        "not compressed": [length + identifier + plain],
        "compressed": [length + identifier + packed],
        "two frames": [length + identifier + halves],
        "padding and another skippable frame": [length + identifier + b"\xfe\x02\x00\x00ab\x80\x00\x00\x00" + plain],
        "an empty frame": [length + identifier + frame(UNCOMPRESSED, b"") + plain],
        "byte by byte": [bytes([byte]) for byte in length + identifier + plain],
    }
    expected = await session.exchange(DECIDED_VALUES_BY_RANGE, framing.encode_payload(ssz))
    for name, pieces in ways.items():
        got = await session.exchange(DECIDED_VALUES_BY_RANGE, *pieces)
        expect(got == expected, f"{name}: {got}")
    for nothing in (b"\x00", b"\x00" + identifier):
        expect(await session.exchange(BLOBS_BY_ROOT, nothing) == [], "an empty list")
    return ", ".join(ways)


def frame(kind: int, data: bytes) -> bytes:
    """One snappy frame. The library makes no frame without data, and chooses the kind by itself."""
    checksum = CHECKSUM_OF_NOTHING
    if data:
        start = len(framing.IDENTIFIER) + framing.FRAME_HEADER_BYTES
        checksum = bytes(cramjam.snappy.compress(data))[start : start + framing.CHECKSUM_BYTES]
    body = bytes(cramjam.snappy.compress_raw(data)) if kind == COMPRESSED else data
    return bytes([kind]) + (len(checksum) + len(body)).to_bytes(3, "little") + checksum + body


async def more_than_the_rate(session: Session) -> str:
    async with newcomer(session) as other:
        started = time.monotonic()
        for _ in range(PINGS):
            expect(len(await other.ask(PING, bytes(8))) == 1, "no answer")
    return f"{PINGS} pings, {PINGS / (time.monotonic() - started):.0f} a second"


async def below_the_floor(session: Session) -> str:
    floors = {
        DECIDED_VALUES_BY_RANGE: int(session.status.earliest_value_height),
        PAYLOADS_BY_RANGE: int(session.status.earliest_payload_height),
        BLOBS_BY_RANGE: int(session.status.earliest_blob_height),
    }
    pruned = {method: floor for method, floor in floors.items() if floor > 1}
    for method, floor in pruned.items():
        for heights in (asked(floor - 1, 1), asked(1, floor + 1), asked(floor - 1, 2**40)):
            [chunk] = await collect(session.peer, session.node, method, heights)
            expect(chunk.result == framing.RESOURCE_UNAVAILABLE, chunk)
            expect(str(floor) in chunk.payload.decode(), f"no floor {floor} in {chunk.payload!r}")
    return ", ".join(f"{method.name} from {floor}" for method, floor in pruned.items()) or "nothing is pruned"


async def illegal_ranges(session: Session) -> str:
    for method in RANGES:
        async with newcomer(session) as other:
            for heights in (asked(1, 0), asked(0, 1), asked(2**64 - 1, 1), asked(2, 2**64 - 2)):
                [chunk] = await collect(other.peer, other.node, method, heights)
                expect(chunk.result == framing.INVALID_REQUEST, chunk)
    return ""


async def broken_requests(session: Session) -> str:
    right = framing.encode_payload(asked(1, 1))
    wrong = {
        "nothing": b"",
        "half a request": right[:8],
        "a byte too many": right + b"\x00",
        "a length of 2^64 - 1": b"\xff" * 9 + b"\x01",
        "a length that is not minimal": b"\x90\x00" + right[1:],
        "a wrong checksum": right[:15] + bytes([right[15] ^ 1]) + right[16:],
        "another type": framing.encode_payload(bytes(15)),
    }
    answers = []
    for name, wire in wrong.items():
        async with newcomer(session) as other:
            answers.append(await refusal(other, wire, name))
        async with newcomer(session) as another:
            expect(len(await another.ask(PING, bytes(8))) == 1, f"no ping after {name}")
    return f"{answers.count('error')} refused, {answers.count('reset')} reset"


async def refusal(session: Session, wire: bytes, name: str) -> str:
    """How the node refuses a request that is none."""
    try:
        chunks = await session.exchange(BLOBS_BY_RANGE, wire)
    except Broken:
        return "reset"
    expect([chunk.result for chunk in chunks] == [framing.INVALID_REQUEST], f"{name}: {chunks}")
    return "error"


async def many_at_once(session: Session) -> str:
    results: list[str] = []
    heights = asked(int(session.status.earliest_blob_height), 128)

    async with newcomer(session) as other:

        async def ask() -> None:
            try:
                chunks = await collect(other.peer, other.node, BLOBS_BY_RANGE, heights)
            except Broken:
                results.append("reset")
                return
            codes = {chunk.result for chunk in chunks}
            expect(codes in ({framing.SUCCESS}, {framing.RATE_LIMITED}), f"result codes {codes}")
            results.append("answered" if codes == {framing.SUCCESS} else "rate limited")

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(ask)
        expect(results.count("answered") >= 2, results)
        expect(len(await other.ask(PING, bytes(8))) == 1, "no ping afterwards")
    return ", ".join(f"{results.count(result)} {result}" for result in sorted(set(results)))


async def goodbye(session: Session) -> str:
    async with newcomer(session) as other:
        expect(await other.ask(GOODBYE, bytes(uint64(SHUTTING_DOWN).encode_bytes())) == [], "an answer")
    return ""


async def another_chain(session: Session) -> str:
    elsewhere = Genesis.decode_bytes(session.genesis.encode_bytes())
    elsewhere.genesis_time += 1
    reasons: list[int] = []

    async def hear(_: ID, reason: bytes) -> AsyncGenerator[bytes, None]:
        reasons.append(int.from_bytes(reason, "little"))
        return
        yield b""

    async with open_session(session.address, elsewhere) as other:
        other.peer.serve(GOODBYE, hear)
        told = await collect(other.peer, other.node, STATUS, bytes(Chain(elsewhere).status().encode_bytes()))
        while other.peer.is_connected(other.node):
            await trio.sleep(0.02)
    expect(reasons == [ANOTHER_CHAIN], f"goodbye {reasons}")
    return f"{len(told)} status in answer, goodbye 2, disconnected"


CASES: dict[str, Callable[[Session], Awaitable[str]]] = {
    "status": status,
    "ping": ping,
    "decided values by range, with their certificates": decided_values_by_range,
    "ranges longer than a response": long_ranges,
    "validator sets by root": validator_set_by_root,
    "payloads by range": payloads_by_range,
    "payloads by root": payloads_by_root,
    "blobs by range": blobs_by_range,
    "blobs by root": blobs_by_root,
    "nothing above the head": nothing_above_the_head,
    "nothing for no roots and unknown ones": nothing_for_no_roots,
    "ranges below the floor": below_the_floor,
    "illegal ranges": illegal_ranges,
    "broken requests": broken_requests,
    "requests in other frames": other_frames,
    "more requests than the rate allows": more_than_the_rate,
    "many requests at once": many_at_once,
    "goodbye": goodbye,
    "a peer of another chain": another_chain,
}


async def check_node(address: str, genesis: Genesis) -> bool:
    """Runs all cases against the node at `address`, and reports each. Whether all of them held."""
    held = True
    async with open_session(address, genesis) as session:
        for name, case in CASES.items():
            held &= await check(name, case, session)
    return held


async def check(name: str, case: Callable[[Session], Awaitable[str]], session: Session) -> bool:
    """Runs one case and reports it."""
    started = time.monotonic()
    try:
        with trio.fail_after(CASE_SECONDS):
            ok, detail = True, await case(session)
    except Exception as error:  # whatever it is, it belongs to this case
        ok, detail = False, describe(error)
    report.say(case=name, ok=ok, detail=detail, seconds=round(time.monotonic() - started, 2))
    return ok


def describe(error: BaseException) -> str:
    """The errors inside of trio's groups."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
