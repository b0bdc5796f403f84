"""A libp2p host that speaks the protocol: one stream per exchange, on both sides."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import cast

import trio
from libp2p import create_yamux_muxer_option, new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.exceptions import StreamFailure
from libp2p.network.stream.exceptions import StreamError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from multiaddr import Multiaddr

from lapis_peer import framing
from lapis_peer.framing import Chunk, WireFault
from lapis_peer.methods import Method
from lapis_peer.sources import Broken, StreamSource

# What a responder does with a request: it gives the pieces that are to be written, one after the other.
Answer = Callable[[ID, bytes], AsyncGenerator[bytes, None]]


class Peer:
    """Requests to others, and answers to theirs."""

    def __init__(self, host: IHost) -> None:
        self._host = host

    @property
    def address(self) -> str:
        """Where others reach this peer."""
        return str(self._host.get_addrs()[0])

    async def connect(self, address: str) -> ID:
        """Dials a multiaddr that ends with the id of the peer that should be there."""
        info = info_from_p2p_addr(Multiaddr(address))
        await self._host.connect(info)
        return info.peer_id

    def is_connected(self, peer: ID) -> bool:
        """Whether there is a connection to `peer`."""
        return peer in self._host.get_connected_peers()

    async def request(self, peer: ID, method: Method, ssz: bytes) -> AsyncGenerator[Chunk, None]:
        """Asks `peer`. Gives the chunks of the response as they come, error chunks like others.

        Raises:
            WireFault: the response breaks the framing.
            Broken: the stream was lost before the end of the response.
        """
        async with aclosing(self.exchange(peer, method, framing.encode_payload(ssz))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def exchange(self, peer: ID, method: Method, *pieces: bytes) -> AsyncGenerator[Chunk, None]:
        """As `request`, with the bytes of a request as they are to be written."""
        stream = await self._open(peer, method)
        try:
            for piece in pieces:
                await stream.write(piece)
            await half_close(stream)
            async with aclosing(framing.read_response(StreamSource(stream), method.item)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except StreamError as error:
            raise Broken from error
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()

    async def _open(self, peer: ID, method: Method) -> INetStream:
        try:
            return await self._host.new_stream(peer, [TProtocol(method.protocol_id)])
        except StreamFailure as error:
            raise Broken from error

    def serve(self, method: Method, answer: Answer) -> None:
        """Answers requests of `method` from now on."""
        self._host.set_stream_handler(TProtocol(method.protocol_id), responder(method, answer))


def responder(method: Method, answer: Answer) -> Callable[[INetStream], Awaitable[None]]:
    """What happens on an inbound stream of `method`."""

    async def respond(stream: INetStream) -> None:
        try:
            request = await framing.read_request(StreamSource(stream), method.request)
            async with aclosing(answer(stream.muxed_conn.peer_id, request)) as pieces:
                async for piece in pieces:
                    await stream.write(piece)
        except WireFault as fault:
            await refuse(stream, fault.name)
        except (StreamError, Broken):
            return  # the requester went away
        await close(stream)

    return respond


async def half_close(stream: INetStream) -> None:
    """Ends this side's direction. py-libp2p's streams have it, their interface does not name it."""
    await cast(NetStream, stream).close_write()


async def refuse(stream: INetStream, text: str) -> None:
    """Answers `InvalidRequest`, if there is still somebody to hear it."""
    try:
        await stream.write(framing.encode_error(framing.INVALID_REQUEST, text))
    except StreamError:
        return


async def close(stream: INetStream) -> None:
    """Ends a response."""
    try:
        await stream.close()
    except StreamError:
        return


@asynccontextmanager
async def open_peer() -> AsyncIterator[Peer]:
    """A peer with a new key, listening on a free TCP port of this machine."""
    keys = create_new_key_pair()
    noise = NoiseTransport(keys, noise_privkey=create_noise_key_pair().private_key)
    host = new_host(key_pair=keys, sec_opt={NOISE: noise}, muxer_opt=create_yamux_muxer_option())
    async with host.run(listen_addrs=[Multiaddr("/ip4/127.0.0.1/tcp/0")]):
        yield Peer(host)
