"""The content of requests."""

from remerkleable.basic import uint64
from remerkleable.byte_arrays import Bytes32
from remerkleable.core import View

from lapis_peer.containers import HeightRange, Status, ValueIds, VersionedHashes

REQUESTS: dict[str, type[View]] = {
    "status": Status,
    "ping": uint64,
    "goodbye": uint64,
    "decided_values_by_range": HeightRange,
    "validator_set_by_root": Bytes32,
    "payloads_by_range": HeightRange,
    "payloads_by_root": ValueIds,
    "blobs_by_range": HeightRange,
    "blobs_by_root": VersionedHashes,
}


def decode_request(method: str, ssz: bytes) -> View:
    """The request in `ssz`.

    Raises:
        ValueError: it is no request of this method.
    """
    try:
        request = REQUESTS[method].decode_bytes(ssz)
    except Exception as error:  # remerkleable has no exception of its own
        raise ValueError(f"not a request of {method}: {error!r}") from error
    if bytes(request.encode_bytes()) != ssz:
        raise ValueError(f"not the encoding of a request of {method}")
    return request
