"""What lets somebody in, among all that sites keep in a browser: cookies of sessions, tokens in storage. Pure.

A site never says which of its values are secrets. So those count that look like it: long, of many characters, letters
and digits mixed as chance mixes them. Words, addresses and times don't: where they were taken for secrets, workflows
could not go on with what they read.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from runtime.spellings import View

MIN_LENGTH: Final = 16
"""Characters; a token of 64 random bits has 16 hexadecimal digits (OWASP, session management)."""
MAX_LENGTH: Final = 8_192
"""A longer one is a picture or a program."""
_MIN_VARIETY: Final = 8
"""Characters that differ."""
_LEVELS: Final = 3
"""Of escapes: cookies are percent-encoded, and often hold JSON."""
_ADDRESS: Final = re.compile(r"\b(?:https?|wss?)://[^\s\"'<>?#]*", re.IGNORECASE)
"""An address as far as its query."""
_PIECE: Final = re.compile(r"([A-Za-z0-9_.~+/-]+(={0,2}))(?=([A-Za-z0-9_.~+/-]?))")
"""Characters of base64, JSON Web Tokens and identifiers (RFC 6750, 2.1); before a sign of equality stands a name."""
_MIXED: Final = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]")
_PATHS: Final = ("/", "./", "../")


def find_tokens(state: dict[str, Any]) -> list[str]:
    """The secrets in what a browser context keeps, as Playwright writes it; the likeliest first."""
    found: dict[str, None] = {}
    for text in _list_texts(state):
        found |= dict.fromkeys(_pick(text))
    return list(found)


def _list_texts(state: dict[str, Any]) -> Iterator[str]:
    cookies: list[Any] = sorted(state.get("cookies", ()), key=lambda cookie: not cookie.get("httpOnly"))
    origins: list[Any] = list(state.get("origins", ()))
    yield from _walk(cookie.get("value") for cookie in cookies)
    yield from _walk(item.get("value") for origin in origins for item in origin.get("localStorage", ()))
    for origin in origins:
        for database in origin.get("indexedDB", ()):
            yield from _walk(store.get("records") for store in database.get("stores", ()))


def _walk(values: Iterable[Any]) -> Iterator[str]:
    """All texts in JSON values, in their order, however deep."""
    left = [iter(values)]
    while left:
        for value in left[-1]:
            if isinstance(value, str):
                yield value
            elif isinstance(value, dict | list):
                left.append(iter(value.values() if isinstance(value, dict) else value))
                break
        else:
            left.pop()


def _pick(text: str) -> Iterator[str]:
    if len(text) < MIN_LENGTH:
        return
    view = View(text)
    for _ in range(_LEVELS):
        view = view.unfold() or view
    for piece, equals, following in _PIECE.findall(_ADDRESS.sub(" ", view.text)):
        if equals and following:
            continue
        yield from filter(_lets_in, piece.split("/") if piece.startswith(_PATHS) else (piece,))


def _lets_in(piece: str) -> bool:
    return (
        MIN_LENGTH <= len(piece) <= MAX_LENGTH and len(set(piece)) >= _MIN_VARIETY and _MIXED.search(piece) is not None
    )
