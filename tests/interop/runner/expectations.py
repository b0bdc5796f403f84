"""What a node must make of each thing that a server does wrong."""

from dataclasses import dataclass
from enum import Enum


class Penalty(Enum):
    """What has to come of a fault, at least. And at most, where it is none."""

    BAN = "ban"
    CHARGE = "charge"
    NONE = "none"


@dataclass(frozen=True)
class Expectation:
    """What `/peers` and `/metrics` must say about the server."""

    penalty: Penalty
    offence: str | None = None
    # Whether the server may be asked for data at all.
    shunned: bool = False
    # What the node has to be told to find the fault in good time.
    settings: tuple[tuple[str, str], ...] = ()


def charge(offence: str, **settings: str) -> Expectation:
    """An offence that is charged; what it adds up to depends on how often it happens."""
    return Expectation(Penalty.CHARGE, offence, settings=tuple(settings.items()))


HONEST = Expectation(Penalty.NONE)
BAN = Expectation(Penalty.BAN, "invalid_data")

# Where the node is known to differ from the specification, by the name of the result. A difference that is gone fails
# the run like one that is new: its line is to be removed.
KNOWN_DIFFERENCES: dict[str, str] = {}

FAULTS: dict[str, Expectation] = {
    "wrong-blob": BAN,
    "wrong-proof": BAN,
    "wrong-payload": BAN,
    "forged-value": BAN,
    "values-out-of-order": charge("unrequested"),
    "payloads-out-of-order": charge("unrequested"),
    "blobs-out-of-order": charge("unrequested"),
    "half-a-height": charge("truncated"),
    "truncated": charge("truncated"),
    "oversize": charge("oversized"),
    "too-long": charge("malformed"),
    "padding": charge("malformed"),
    "garbage": charge("malformed"),
    "silent": charge("timeout", LAPIS_SYNC__FIRST_CHUNK_TIMEOUT="3s"),
    # The last item comes again and again: twice is once too often.
    "endless": charge("unrequested"),
    "empty": HONEST,
    "unavailable": HONEST,
    "server-error": HONEST,
    "rate-limited": HONEST,
    "endless-claim": HONEST,
    "another-chain": Expectation(Penalty.NONE, shunned=True),
}
