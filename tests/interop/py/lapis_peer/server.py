"""A peer that serves a chain, honestly or not."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import trio
from libp2p.peer.id import ID

from lapis_peer import answers, faults, report
from lapis_peer.archive import read_archive
from lapis_peer.chain import Chain
from lapis_peer.faults import FAULTS, HONEST, Fault
from lapis_peer.methods import METHODS, STATUS
from lapis_peer.peer import Answer, Peer, open_peer


async def serve(archive: Path, fault: str | None, dial: str | None) -> None:
    """Serves the chain in `archive` until it is stopped. Reports its address first, then each request.

    With `dial` it connects to a node, so that this node has it as a peer without having been told of it.
    """
    chain = read_archive(archive.read_bytes())
    chosen = FAULTS[fault] if fault else HONEST
    async with open_peer() as peer:
        for method in METHODS.values():
            answer = answer_with(chain, method.name, chosen)
            peer.serve(method, reported(method.name, method.name in chosen.methods, answer))
        report.say(listening=peer.address)
        if dial:
            await greet(peer, dial, chain)
        await trio.sleep_forever()


async def greet(peer: Peer, address: str, chain: Chain) -> None:
    """Connects, and says at once what this peer has: the side that dials has to."""
    node = await peer.connect(address)
    ssz = bytes(chain.status().encode_bytes())
    async with aclosing(peer.request(node, STATUS, ssz)) as chunks:
        async for chunk in chunks:
            report.say(greeted=str(node), result=chunk.result)


def answer_with(chain: Chain, method: str, fault: Fault = HONEST) -> Answer:
    """The answers to `method`, with the fault if it is one that shows there."""
    spoil = fault.spoil if method in fault.methods else faults.honest

    async def answer(_: ID, request: bytes) -> AsyncGenerator[bytes, None]:
        async with aclosing(spoil(method, answers.answer(chain, method, request))) as pieces:
            async for piece in pieces:
                yield piece

    return answer


def reported(method: str, spoiled: bool, answer: Answer) -> Answer:
    """The same answers, with a line about each request."""

    async def report_and_answer(peer: ID, request: bytes) -> AsyncGenerator[bytes, None]:
        report.say(request=method, peer=str(peer), spoiled=spoiled)
        async with aclosing(answer(peer, request)) as pieces:
            async for piece in pieces:
                yield piece

    return report_and_answer
