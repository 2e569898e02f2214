"""Many strings to be found at once, in time that does not grow with their number. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final, Generic, TypeVar

from ahocorasick_rs import BytesAhoCorasick, MatchKind

BEGINNING: Final = 8
"""Characters of a needle that are enough at the end of a text that was cut off."""
_MAX_TRIES: Final = 32

Meaning = TypeVar("Meaning")


class Needles(Generic[Meaning]):
    """Needles of ASCII, each with what it means. Of those that overlap the first is found, and the longest there."""

    def __init__(self, needles: Mapping[bytes, Meaning]) -> None:
        self._meanings = list(needles.values())
        self._longest = max(map(len, needles), default=0)
        self._search = BytesAhoCorasick(list(needles), matchkind=MatchKind.LeftmostLongest) if needles else None
        self._begun: dict[str, list[tuple[str, Meaning]]] = {}
        for needle, meaning in needles.items():
            written = needle.decode("latin-1")
            self._begun.setdefault(written[:BEGINNING], []).append((written, meaning))

    def find(self, text: str) -> Iterator[tuple[int, int, Meaning]]:
        """Where they stand in a text: from, to, and which it is."""
        # one byte a character, so that places stay places; what is no ASCII is no part of a needle
        return self.find_bytes(text.encode("ascii", "replace")) if self._search is not None else iter(())

    def find_bytes(self, data: bytes) -> Iterator[tuple[int, int, Meaning]]:
        """The same in bytes of any kind."""
        if self._search is None:
            return
        for which, start, end in self._search.find_matches_as_indexes(data):
            yield start, end, self._meanings[which]

    def find_beginning(self, text: str, first: int, end: int) -> tuple[int, Meaning] | None:
        """Where a beginning of a needle stands that ends at `end`, not before `first`; the longest such."""
        tries = 0
        for at in range(max(first, end - self._longest), end - BEGINNING + 1):
            begun = self._begun.get(text[at : at + BEGINNING])
            if begun is None:
                continue
            tries += 1
            # needles that are much alike might be compared at every place: rather too much is found than that
            if tries > _MAX_TRIES or len(begun) > _MAX_TRIES:
                return at, begun[0][1]
            rest = text[at:end]
            for written, meaning in begun:
                if written.startswith(rest):
                    return at, meaning
        return None
