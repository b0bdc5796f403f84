"""A connection to a node under test, and what is known about the node."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from libp2p.peer.id import ID

from lapis_peer import framing
from lapis_peer.chain import Chain
from lapis_peer.containers import Genesis, HeightRange, Status, Value, decode_strictly
from lapis_peer.framing import Chunk
from lapis_peer.methods import METHODS, STATUS, Method
from lapis_peer.peer import Peer, open_peer
from lapis_peer.server import answer_with


class Unexpected(Exception):
    """The node answered something else than it should."""


@dataclass
class Session:
    """What is known about the node so far. Each case may add to it."""

    address: str
    genesis: Genesis
    peer: Peer
    node: ID
    status: Status = field(default_factory=Status)
    values: dict[int, Value] = field(default_factory=dict)
    blobs: dict[bytes, bytes] = field(default_factory=dict)

    async def ask(self, method: Method, ssz: bytes) -> list[bytes]:
        """The items of a response that has no error chunk."""
        chunks = await collect(self.peer, self.node, method, ssz)
        expect(all(chunk.result == framing.SUCCESS for chunk in chunks), f"{method.name}: {chunks[-1:]}")
        return [chunk.payload for chunk in chunks]

    async def exchange(self, method: Method, *pieces: bytes) -> list[Chunk]:
        """The chunks in answer to these bytes."""
        async with aclosing(self.peer.exchange(self.node, method, *pieces)) as chunks:
            return [chunk async for chunk in chunks]


async def collect(peer: Peer, node: ID, method: Method, ssz: bytes) -> list[Chunk]:
    """All chunks of a response."""
    async with aclosing(peer.request(node, method, ssz)) as chunks:
        return [chunk async for chunk in chunks]


@asynccontextmanager
async def newcomer(session: Session) -> AsyncIterator[Session]:
    """The same node, as a peer that it has never seen meets it."""
    async with open_session(session.address, session.genesis) as other:
        await greet(other)
        other.status, other.values = session.status, session.values
        yield other


@asynccontextmanager
async def open_session(address: str, genesis: Genesis) -> AsyncIterator[Session]:
    """A connection to the node, on which nothing was said yet."""
    async with open_peer() as peer:
        nothing = Chain(genesis)
        for method in METHODS.values():
            peer.serve(method, answer_with(nothing, method.name))
        yield Session(address, genesis, peer, await peer.connect(address))


async def greet(session: Session) -> Status:
    """Sends a status, as the side that opened the connection does at once."""
    [answer] = await session.ask(STATUS, bytes(Chain(session.genesis).status().encode_bytes()))
    return decode_strictly(Status, answer)


def expect(condition: bool, what: object) -> None:
    """Raises `Unexpected` unless `condition` holds."""
    if not condition:
        raise Unexpected(str(what))


def asked(start: int, count: int) -> bytes:
    """A range of heights, legal or not."""
    return bytes(HeightRange(start_height=start, count=count).encode_bytes())
