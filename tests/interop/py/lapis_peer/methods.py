"""The nine methods: their ids, and the bounds of what is sent in each direction."""

from dataclasses import dataclass

from remerkleable.core import View

from lapis_peer.containers import (
    MAX_REQUEST_HASHES,
    MAX_REQUEST_HEIGHTS,
    MAX_REQUEST_SIDECARS,
    MAX_REQUEST_VALUE_IDS,
    BlobSidecar,
    DecidedValue,
    PayloadEnvelope,
    Status,
    ValidatorSet,
)
from lapis_peer.framing import Bounds

CONCURRENT_REQUESTS = 2
NOTHING = Bounds(0, 0)
NUMBER = Bounds(8, 8)
ROOT = Bounds(32, 32)
RANGE = Bounds(16, 16)


def bounds_of(item: type[View]) -> Bounds:
    """The smallest and the largest encoding of `item`."""
    return Bounds(item.min_byte_length(), item.max_byte_length())


@dataclass(frozen=True)
class Method:
    """One method of the protocol."""

    name: str
    request: Bounds
    item: Bounds
    most_items: int

    @property
    def protocol_id(self) -> str:
        """The libp2p protocol id of its streams."""
        return f"/lapis/req/{self.name}/1/ssz_snappy"


STATUS = Method("status", bounds_of(Status), bounds_of(Status), 1)
PING = Method("ping", NUMBER, NUMBER, 1)
GOODBYE = Method("goodbye", NUMBER, NOTHING, 0)
DECIDED_VALUES_BY_RANGE = Method("decided_values_by_range", RANGE, bounds_of(DecidedValue), MAX_REQUEST_HEIGHTS)
VALIDATOR_SET_BY_ROOT = Method("validator_set_by_root", ROOT, bounds_of(ValidatorSet), 1)
PAYLOADS_BY_RANGE = Method("payloads_by_range", RANGE, bounds_of(PayloadEnvelope), MAX_REQUEST_HEIGHTS)
PAYLOADS_BY_ROOT = Method(
    "payloads_by_root", Bounds(0, 32 * MAX_REQUEST_VALUE_IDS), bounds_of(PayloadEnvelope), MAX_REQUEST_VALUE_IDS
)
BLOBS_BY_RANGE = Method("blobs_by_range", RANGE, bounds_of(BlobSidecar), MAX_REQUEST_SIDECARS)
BLOBS_BY_ROOT = Method("blobs_by_root", Bounds(0, 32 * MAX_REQUEST_HASHES), bounds_of(BlobSidecar), MAX_REQUEST_HASHES)

METHODS = {
    method.name: method
    for method in (
        STATUS,
        PING,
        GOODBYE,
        DECIDED_VALUES_BY_RANGE,
        VALIDATOR_SET_BY_ROOT,
        PAYLOADS_BY_RANGE,
        PAYLOADS_BY_ROOT,
        BLOBS_BY_RANGE,
        BLOBS_BY_ROOT,
    )
}
