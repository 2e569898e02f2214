"""What lets somebody in, among all that sites keep in a browser: cookies of sessions, tokens in storage. Pure.

Where it stands tells it, never what it looks like: slugs, hosts and ids look like tokens, and where they were taken for
such, workflows could not go on with what they read. A value of some length is a secret if it is

1. the value of a cookie that pages can't read (httpOnly), or that is called a session or a token;
2. a JSON Web Token (RFC 7519), wherever it stands;
3. a text in local storage or a database under a key that is called a token, its own or, where JSON
   was stored, one around it.

What is called after CSRF is none by its place: it opens nothing by itself, and forms have to send it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

MIN_LENGTH: Final = 16
"""Characters; a token of 64 random bits has 16 hexadecimal digits (OWASP, session management)."""
MAX_LENGTH: Final = 8_192
"""A longer one is a picture or a program."""
MAX_TOKENS: Final = 500
"""Values of saved logins that one run masks."""
MAX_TOKEN_CHARACTERS: Final = 65_536
"""Of all of them together: some tenths of a second are spent on these, once."""
MAX_READ: Final = 8 * 1_048_576
"""Characters of names and values that are read; a login of more is not saved."""
_MIN_VARIETY: Final = 8
"""Characters that differ."""
_LEVELS: Final = 3
"""Of JSON in texts of JSON."""
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""Of a name: they end at digits, at signs and where the case changes."""
_COOKIES: Final = frozenset(
    ("session", "sessionid", "sessid", "jsessionid", "phpsessid", "auth", "token", "tokens", "sid", "jwt", "secret")
) | {"key"}
_KEYS: Final = frozenset(
    ("token", "tokens", "auth", "oauth", "authorization", "session", "jwt", "secret", "bearer", "refresh", "access")
) | {"apikey", "password"}
_ORDINARY: Final = 2
"""Rank of a cookie that is no secret by its name."""
_FORGERY: Final = ("csrf", "xsrf")
_SCHEME: Final = re.compile(r"\A(?:Bearer|Basic|Token)\s+", re.IGNORECASE)
"""Before a token in a header (RFC 9110, 11.4)."""
_PIECE: Final = re.compile(r"[A-Za-z0-9._~+/-]+={0,2}")
"""What a token is written in (RFC 6750, 2.1)."""
_MIXED: Final = re.compile(r"[A-Za-z][0-9]|[0-9][A-Za-z]")
_PLACE: Final = re.compile(r"[a-z][a-z0-9+.-]*://|\d{4}-\d\d-\d\dT", re.IGNORECASE)
"""How addresses and times begin."""
_RUN: Final = re.compile(r"[A-Za-z0-9._-]+")
_JSON: Final = ("{", "[", '"')
_HEAD: Final = "eyJ"
"""How a header begins: `{"` in base64."""


class Found(NamedTuple):
    """Secrets, the likeliest first, and whether these are all."""

    tokens: list[str]
    whole: bool


class _Node(NamedTuple):
    """A value, the name it has, and what the names around it say."""

    name: str
    value: Any
    within: bool = False
    """One of them is called a token."""
    forgery: bool = False
    """One of them is called after CSRF."""
    level: int = 0
    """Of JSON in texts."""

    @property
    def own(self) -> bool:
        """Whether its own name is called a token."""
        return _names(self.name, _KEYS)

    def hold(self, parts: Iterable[tuple[str, Any]], *, level: int = 0) -> "list[_Node]":
        """What is in it, by names; the last of it first."""
        within = self.within or self.own
        forgery = self.forgery or _names_forgery(self.name)
        return [_Node(name, part, within, forgery, self.level + level) for name, part in parts][::-1]


class _EnoughRead(Exception):  # noqa: N818 — what has happened
    """There is more than is read."""


def find_tokens(state: dict[str, Any]) -> Found:
    """The secrets in what a browser context keeps, as Playwright writes it, as many as are masked."""
    found: dict[str, None] = {}
    size = 0
    try:
        for token in filter(_fits, _read(state)):
            if token in found:
                continue
            if len(found) == MAX_TOKENS or size + len(token) > MAX_TOKEN_CHARACTERS:
                return Found(list(found), whole=False)
            found[token] = None
            size += len(token)
    except _EnoughRead:
        return Found(list(found), whole=False)
    return Found(list(found), whole=True)


def _fits(text: str) -> bool:
    return text.isascii() and MIN_LENGTH <= len(text) <= MAX_LENGTH and len(set(text)) >= _MIN_VARIETY


def _read(state: dict[str, Any]) -> Iterator[str]:
    walk = _Walk()
    for cookie in sorted(state.get("cookies", ()), key=_rank):
        value = str(cookie.get("value", ""))
        if _rank(cookie) < _ORDINARY and len(unquote(value)) >= MIN_LENGTH:
            yield value.strip('"')
        yield from _pick(walk.list_texts("", value))
    origins: list[Any] = list(state.get("origins", ()))
    for origin in origins:
        for item in origin.get("localStorage", ()):
            yield from _pick(walk.list_texts(str(item.get("name", "")), item.get("value")))
    for origin in origins:
        for database in origin.get("indexedDB", ()):
            for store in database.get("stores", ()):
                for record in store.get("records", ()):
                    value = record.get("value", record.get("valueEncoded"))
                    yield from _pick(walk.list_texts(str(record.get("key", "")), value))


def _rank(cookie: dict[str, Any]) -> int:
    """Those that pages can't read come first, then those that are called a session, and all others last."""
    name = str(cookie.get("name", ""))
    if _names_forgery(name):
        return _ORDINARY
    return 0 if cookie.get("httpOnly") else 1 if _names(name, _COOKIES) else _ORDINARY


def _names(name: str, words: frozenset[str]) -> bool:
    found = [word.lower() for word in _WORDS.findall(name)]
    return not words.isdisjoint(found) or ("apikey" in words and ("api", "key") in pairwise(found))


def _names_forgery(name: str) -> bool:
    return any(word in name.lower() for word in _FORGERY)


class _Walk:
    """Through all that is stored, as far as it is read."""

    def __init__(self) -> None:
        self._left = MAX_READ

    def list_texts(self, name: str, value: Any) -> Iterator[_Node]:
        """All texts in a value stored under a name, in their order, however deep, also in texts that are JSON."""
        todo = [_Node(name, value)]
        while todo:
            node = todo.pop()
            self._count(node)
            match node.value:
                case str() as text:
                    parsed = _parse(text) if node.level < _LEVELS else None
                    if parsed is None:
                        yield node
                    else:
                        todo += node.hold([(node.name, parsed)], level=1)
                case {"k": str() as key, "v": held, **rest} if not rest:  # so databases' values are written
                    todo += node.hold([(key, held)])
                case dict() as held:
                    todo += node.hold((str(key), part) for key, part in held.items())
                case list() as parts:
                    todo += node.hold((node.name, part) for part in parts)
                case _:
                    pass

    def _count(self, node: _Node) -> None:
        self._left -= len(node.name) + (len(node.value) if isinstance(node.value, str) else 1)
        if self._left < 0:
            raise _EnoughRead


def _parse(text: str) -> Any:
    """What a text is as JSON, also percent-encoded; None where it is no list, object or text of them."""
    text = text.lstrip()
    if text.startswith("%"):
        text = unquote(text)
    if not text.startswith(_JSON):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _pick(texts: Iterable[_Node]) -> Iterator[str]:
    for node in texts:
        if not (node.forgery or _names_forgery(node.name)):
            text = _SCHEME.sub("", node.value.strip())
            if not _PLACE.match(text) and (node.own or (node.within and _is_token(text))):
                yield text
        yield from _list_web_tokens(node.value)


def _is_token(text: str) -> bool:
    """Beside a token stand names, mails and sentences."""
    return _PIECE.fullmatch(text) is not None and _MIXED.search(text) is not None


def _list_web_tokens(text: str) -> Iterator[str]:
    if _HEAD not in text:
        return
    for run in _RUN.findall(text):
        parts, at = run.split("."), 0
        while at + 2 < len(parts):
            begins = parts[at].find(_HEAD)
            if begins < 0 or len(parts[at]) - begins < MIN_LENGTH:
                at += 1
                continue
            # signed ones have three parts and hold JSON in the second, encrypted ones five (RFC 7516, 3.1)
            size = 3 if parts[at + 1].startswith(_HEAD) or at + 4 >= len(parts) else 5
            yield ".".join([parts[at][begins:], *parts[at + 1 : at + size]])
            at += size
