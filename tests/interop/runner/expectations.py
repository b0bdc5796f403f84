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


def charge(offence: str) -> Expectation:
    """An offence that is charged; what it adds up to depends on how often it happens."""
    return Expectation(Penalty.CHARGE, offence)


BAN = Expectation(Penalty.BAN, "invalid_data")
NOTHING = Expectation(Penalty.NONE)

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
    "silent": charge("timeout"),
    # The last item comes again and again: twice is once too often.
    "endless": charge("unrequested"),
    "empty": NOTHING,
    "unavailable": NOTHING,
    "server-error": NOTHING,
    "rate-limited": NOTHING,
    "endless-claim": NOTHING,
    "another-chain": NOTHING,
}
