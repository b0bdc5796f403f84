"""Answers of an honest peer, out of a chain in memory: protocol-spec/spec/methods.md."""

from collections.abc import Iterator

from remerkleable.core import View

from lapis_peer.chain import Chain
from lapis_peer.containers import MAX_REQUEST_HEIGHTS, MAX_REQUEST_SIDECARS, HeightRange
from lapis_peer.framing import INVALID_REQUEST, SUCCESS, Chunk
from lapis_peer.ranges import IllegalRange, heights_of
from lapis_peer.requests import decode_request


def answer(chain: Chain, method: str, request: bytes) -> Iterator[Chunk]:
    """The chunks of the response to `request`."""
    try:
        asked = decode_request(method, request)
        for item in ANSWERS[method](chain, asked):
            yield Chunk(SUCCESS, bytes(item.encode_bytes()))
    except (ValueError, IllegalRange) as fault:
        yield Chunk(INVALID_REQUEST, str(fault).encode())


def held(chain: Chain, asked: HeightRange) -> range:
    """The heights of a range that there are, at most as many as one response may have."""
    heights = heights_of(asked)[:MAX_REQUEST_HEIGHTS]
    return range(heights.start, min(heights.stop, chain.head + 1))


def status(chain: Chain, _: View) -> Iterator[View]:
    yield chain.status()


def ping(_: Chain, number: View) -> Iterator[View]:
    yield number


def goodbye(_: Chain, __: View) -> Iterator[View]:
    yield from ()


def decided_values_by_range(chain: Chain, asked: HeightRange) -> Iterator[View]:
    for height in held(chain, asked):
        yield chain.records[height].decided


def validator_set_by_root(chain: Chain, root: View) -> Iterator[View]:
    if validators := chain.sets.get(bytes(root)):
        yield validators


def payloads_by_range(chain: Chain, asked: HeightRange) -> Iterator[View]:
    for height in held(chain, asked):
        yield chain.records[height].payload


def payloads_by_root(chain: Chain, value_ids: View) -> Iterator[View]:
    for value_id in distinct(value_ids):
        if height := chain.height_of_value.get(value_id):
            yield chain.records[height].payload


def blobs_by_range(chain: Chain, asked: HeightRange) -> Iterator[View]:
    sent = 0
    for height in held(chain, asked):
        sidecars = chain.records[height].sidecars
        if sent + len(sidecars) > MAX_REQUEST_SIDECARS:
            return
        sent += len(sidecars)
        yield from sidecars


def blobs_by_root(chain: Chain, hashes: View) -> Iterator[View]:
    for versioned_hash in distinct(hashes):
        if sidecar := chain.sidecar_of_hash.get(versioned_hash):
            yield sidecar


def distinct(roots: View) -> list[bytes]:
    """Each root once, in the order in which they were asked for."""
    return list(dict.fromkeys(bytes(root) for root in roots))


ANSWERS = {
    answer.__name__: answer
    for answer in (
        status,
        ping,
        goodbye,
        decided_values_by_range,
        validator_set_by_root,
        payloads_by_range,
        payloads_by_root,
        blobs_by_range,
        blobs_by_root,
    )
}
