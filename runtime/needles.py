"""Many strings to be found at once, in time that does not grow with their number. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

BEGINNING: Final = 8
"""Characters of a needle that are enough at the end of a text that was cut off."""
_MAX_TRIES: Final = 32

Meaning = TypeVar("Meaning")


class Needles(Generic[Meaning]):
    """Needles of ASCII, each with what it means. Of those that overlap the first is found, and the longest there."""

    def __init__(self, needles: Mapping[bytes, Meaning]) -> None:
        self._meanings = list(needles.values())
        self._longest = max(map(len, needles), default=0)
        self._search = _prepare(needles, MatchKind.LeftmostLongest) if needles else None
        begun: dict[bytes, list[tuple[str, Meaning]]] = {}
        for needle, meaning in needles.items():
            begun.setdefault(needle[:BEGINNING], []).append((needle.decode("latin-1"), meaning))
        self._begun = list(begun.values())
        self._search_begun = _prepare(begun, MatchKind.Standard) if begun else None

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
        if self._search_begun is None:
            return None
        first = max(first, end - self._longest)
        tail = text[first:end].encode("ascii", "replace")
        places = self._search_begun.find_matches_as_indexes(tail, overlapping=True)
        for tries, (which, at, _) in enumerate(places, 1):
            begun = self._begun[which]
            # needles that are much alike might be compared at every place: rather too much is found than that
            if tries > _MAX_TRIES or len(begun) > _MAX_TRIES:
                return first + at, begun[0][1]
            rest = text[first + at : end]
            for written, meaning in begun:
                if written.startswith(rest):
                    return first + at, meaning
        return None


def _prepare(needles: Iterable[bytes], kind: MatchKind) -> BytesAhoCorasick:
    # by itself the library prepares few needles for speed, however long they are: 64 kB of them took 250 MB
    return BytesAhoCorasick(list(needles), matchkind=kind, implementation=Implementation.ContiguousNFA)
