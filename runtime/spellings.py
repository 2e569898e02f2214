"""Texts as they read once the escapes in them are undone, with the way back to where each character stood. Pure.

    view = View(text)
    while view is not None:
        ...  # look for something in view.text, and ask view.locate where it stands in the text
        view = view.unfold()

One step undoes one level of every kind at once: percent-encoding (RFC 3986), HTML's references, JSON's and JavaScript's
escapes; JSON in JSON, or an encoded address in an attribute, takes two. Each step takes time in proportion to its text.
What is broken over lines is put together by `unwrap`.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from html.entities import html5
from typing import Final, NamedTuple

_ESCAPES: Final = re.compile(
    r"(?:%[0-9a-f]{2})+"
    r"|&(?:#0{0,6}[0-9]{1,7}|#x0{0,6}[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});"
    r"|(?:\\\\)+|(?:\\u[0-9a-f]{4})+|(?:\\x[0-9a-f]{2})+|(\\[\"'/bfnrt])\1*",
    re.IGNORECASE,
)
_BREAKS: Final = re.compile(r"\s(?<=[A-Za-z0-9+/_-]{16}\s)\s{0,79}(?=[A-Za-z0-9+/_-])")
"""Between lines of base64 (RFC 2045, 6.8: 76 characters; PEM has 64), also folded or with their breaks made spaces. It
begins with the space, which is rarer than places where one could stand: that takes half the time and less."""
_BEGINNINGS: Final = ("%", "&", "\\")
_NAMED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNFINISHED: Final = re.compile(
    r"(?:%[0-9a-f]{2}){0,3}(?:%[0-9a-f]?)?\Z|&(?:#x?[0-9a-f]{0,12}|[a-z0-9]{0,30})\Z|\\{1,4}(?:u[0-9a-f]{0,3}|x[0-9a-f]?)?\Z",
    re.IGNORECASE,
)
_MAX_UNFINISHED: Final = 24
_ALIKE: Final = re.compile(r"[\0-\x7f]+|[\udc80-\udcff]+|[\x80-\u07ff]+|[\u0800-\uffff]+|[\U00010000-\U0010ffff]+")
"""Runs of characters that have as many bytes each in UTF-8; the second are bytes that are none."""
_GAP: Final = "\uffff"
"""In place of what is left out: no character (Unicode, 23.7), so that nothing is found across it."""

Piece = tuple[str, int]
"""Characters, and how many each of them took before."""


class _Run(NamedTuple):
    """The same, and where they stood."""

    characters: str
    origin: int
    stride: int


class View:
    """A text, and where its characters stood in the text it was made of."""

    def __init__(self, text: str, parent: "View | None" = None) -> None:
        self.text = text
        self._parent = parent
        self._size = len(text)
        # runs of characters: where each begins here, where there, and how many characters one took there
        self._starts: list[int] = []
        self._origins: list[int] = []
        self._strides: list[int] = []

    def locate(self, start: int, end: int) -> tuple[int, int]:
        """Where characters from `start` to `end`, at least one, stand in the text that all began with."""
        if self._parent is None:
            return start, end
        return self._parent.locate(self._find(start), self._find(end - 1, after=1))

    def unfold(self, near: int | None = None) -> "View | None":
        """The same with one more level of escapes undone; None where there is none.

        Args:
            near: how much is kept before and behind an escape, as what is further away reads as it did; all if None.
        """
        if not any(beginning in self.text for beginning in _BEGINNINGS):
            return None
        return self._change(((found, list(_undo(found[0]))) for found in _ESCAPES.finditer(self.text)), near)

    def unwrap(self, near: int | None = None) -> "View | None":
        """The same with lines of base64 put together; None where there are none.

        Args:
            near: how much is kept before and behind a break; all if None.
        """
        return self._change(((found, [("", 1)]) for found in _BREAKS.finditer(self.text)), near)

    def _change(self, changes: Iterable[tuple[re.Match[str], list[Piece]]], near: int | None) -> "View | None":
        """The same with other characters where something was found; none at all leaves it as it is."""
        made = View("", self)
        parts: list[str] = []
        done = 0
        for found, pieces in changes:
            if pieces:
                parts += made._take(self._leave(done, found.start(), near))
                parts += made._take(_place(pieces, found.start()))
                done = found.end()
        if not parts:
            return None
        parts += made._take(self._leave(done, len(self.text), near)[: 1 if near is not None else None])
        made.text = "".join(parts)
        return made

    def _leave(self, start: int, end: int, near: int | None) -> list["_Run"]:
        """What stands between two escapes, as it is; of much of it both ends."""
        if near is None or end - start <= 2 * near:
            return [_Run(self.text[start:end], start, 1)]
        head, tail = self.text[start : start + near], self.text[end - near : end]
        return [_Run(head, start, 1), _Run(_GAP, start + near, 1), _Run(tail, end - near, 1)]

    def _take(self, runs: Iterable["_Run"]) -> Iterator[str]:
        for run in runs:
            if run.characters:
                self._starts.append(self._size)
                self._origins.append(run.origin)
                self._strides.append(run.stride)
                self._size += len(run.characters)
                yield run.characters

    def _find(self, place: int, *, after: int = 0) -> int:
        run = bisect_right(self._starts, place) - 1
        return self._origins[run] + (place - self._starts[run] + after) * self._strides[run]


def find_unfinished(text: str, end: int) -> int:
    """Where an escape begins that was cut off at `end`; `end` itself where none was."""
    start = max(0, end - _MAX_UNFINISHED)
    tail = text[start:end]
    if not any(beginning in tail for beginning in _BEGINNINGS):
        return end
    found = _UNFINISHED.search(tail)
    return end if found is None else start + found.start()


def fold(text: str) -> str:
    """A text in which letters have one case and spaces one form, of the same length."""
    if text.isascii():
        return text.lower()
    text = text.replace("İ", "i")  # the one letter whose small form has two characters
    return text.lower().replace("ς", "σ").replace("ſ", "s").replace("\xa0", " ")


def _place(pieces: Iterable[Piece], at: int) -> Iterator[_Run]:
    for characters, stride in pieces:
        yield _Run(characters, at, stride)
        at += len(characters) * stride


def _undo(token: str) -> Iterator[Piece]:
    """What one escape, or a run of one kind, stands for; nothing where it stands for itself."""
    if token[0] == "%":
        yield from _read_bytes(token, "%", keep=True)
    elif token[0] == "&":
        character = _read_reference(token[1:-1])
        if character:
            yield character, len(token)
    elif token[1] in "uU":
        units = bytes.fromhex(token.lower().replace("\\u", ""))
        for character in units.decode("utf-16-be", "surrogatepass"):
            yield character, 6 if ord(character) <= 0xFFFF else 12  # noqa: PLR2004 — a pair of units
    elif token[1] in "xX":
        yield from _read_bytes(token.lower(), "\\x", keep=False)
    else:
        sign = token[1].lower()
        yield _NAMED.get(sign, sign) * (len(token) // 2), 2


def _read_bytes(token: str, sign: str, *, keep: bool) -> Iterator[Piece]:
    """A run of escaped bytes as UTF-8; others stay as they are, or are characters by themselves."""
    data = bytes.fromhex(token.replace(sign, ""))
    width = len(sign) + 2
    if data.isascii():
        yield data.decode("ascii"), width
        return
    at = 0
    for alike in _ALIKE.finditer(data.decode("utf-8", "surrogateescape")):
        characters, taken = alike[0], len(alike[0].encode("utf-8", "surrogateescape"))
        if not "\udc80" <= characters[0] <= "\udcff":
            yield characters, width * taken // len(characters)
        elif keep:
            yield token[at * width : (at + taken) * width], 1
        else:
            yield data[at : at + taken].decode("latin-1"), width
        at += taken


def _read_reference(name: str) -> str:
    """The one character that `name` stands for between `&` and `;`; empty where there is none."""
    if not name.startswith("#"):
        known = html5.get(f"{name};") or html5.get(f"{name.lower()};") or ""
        return known if len(known) == 1 else ""
    code = int(f"0{name[1:]}", 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if 0 < code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF else ""  # noqa: PLR2004 — Unicode
