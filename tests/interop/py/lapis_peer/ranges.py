"""Ranges of heights: which are legal, and what they cover."""

from lapis_peer.containers import HeightRange


class IllegalRange(Exception):
    """A range that is answered `InvalidRequest`. `name` is the fault's name in the vectors."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def heights_of(asked: HeightRange) -> range:
    """The heights that `asked` names.

    Raises:
        IllegalRange: it is none.
    """
    start, count = int(asked.start_height), int(asked.count)
    if count == 0:
        raise IllegalRange("Empty")
    if start == 0:
        raise IllegalRange("StartsAtZero")
    if start + count >= 1 << 64:
        raise IllegalRange("Overflow")
    return range(start, start + count)
