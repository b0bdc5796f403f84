"""Where the bytes of a message come from: a libp2p stream, or a vector that is cut into reads."""

from collections.abc import Iterable

from libp2p.abc import INetStream
from libp2p.network.stream.exceptions import StreamEOF, StreamError

from lapis_peer.framing import Ended

READ_BYTES = 65_536


class _Buffered:
    """Bytes that have come and were not taken yet."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    async def _more(self) -> bytes:
        """The next bytes, none at the end."""
        raise NotImplementedError

    async def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        while len(self._buffer) < count:
            more = await self._more()
            if not more:
                raise Ended
            self._buffer += more
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def peek(self) -> int | None:
        """The next byte without taking it, None at the end."""
        if not self._buffer:
            self._buffer += await self._more()
        return self._buffer[0] if self._buffer else None


class Broken(Exception):
    """The stream or its connection broke. That is never the end of a message."""


class StreamSource(_Buffered):
    """The bytes of a libp2p stream."""

    def __init__(self, stream: INetStream) -> None:
        super().__init__()
        self._stream = stream

    async def _more(self) -> bytes:
        try:
            return await self._stream.read(READ_BYTES)
        except StreamEOF:
            if was_lost(self._stream):
                raise Broken from None
            return b""
        except StreamError as error:
            raise Broken from error


def was_lost(stream: INetStream) -> bool:
    """Whether a stream did not really end: py-libp2p reports some resets and lost connections as the end."""
    reset: bool = getattr(getattr(stream, "muxed_stream", None), "reset_received", False)
    shutting_down = getattr(stream.muxed_conn, "event_shutting_down", None)
    return reset or (shutting_down is not None and shutting_down.is_set())


class ReadsSource(_Buffered):
    """Given reads, one after the other, and then the end."""

    def __init__(self, reads: Iterable[bytes]) -> None:
        super().__init__()
        self._reads = iter([read for read in reads if read])

    async def _more(self) -> bytes:
        return next(self._reads, b"")
