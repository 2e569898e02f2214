"""Keeps the values of credentials out of all that a run leaves behind (spec I4, W9).

A value is looked for as it is and in the forms in which pages and programs usually repeat one: percent-encoded, as HTML
or JSON escapes, wholly or in part, in other letter case, in base64, also broken over lines, and in hexadecimal digits.
Who wants to smuggle a value out of a page that was given it finds another form; what keeps it from being given to such
a page are the credential's domains.

Looking takes time in proportion to the text, whatever stands in it: sites write these texts, and a worker that looks at
one does nothing else. So values are looked for as fixed strings, in the text and in what it reads like without escapes.
Credentials are few, and are looked for one by one. Of what sites keep in a saved login there may be hundreds: those are
looked for all at once.
"""

import base64
import re
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from runtime.charsets import LATIN_1, UTF_8, find_charset
from runtime.needles import Needles
from runtime.spellings import View, find_unfinished, fold
from runtime.tokens import MAX_TOKEN_CHARACTERS, MAX_TOKENS

MIN_LENGTH: Final = 4
"""Characters from which on a value is masked; shorter ones are parts of ordinary words."""
MIN_OPEN_LENGTH: Final = 8
"""The same for what names rather than opens, such as a user's name; a shorter one is masked where it is a word by
itself: `admin` is part of many addresses."""
MIN_WORD_LENGTH: Final = 3
"""Of what names; one or two letters are masked nowhere."""
CUT: Final = "…"
"""What stands at the end of a text that was shortened."""
_MIN_BASE64: Final = 8
_MIN_HEX: Final = 8
_MIN_BINARY: Final = 8
"""Characters from which on a value is looked for in files of any kind: a shorter one may stand there by chance."""
_LEVELS: Final = 3
"""Of escapes that are undone: JSON in JSON in JSON has three."""
_MAX_SPELLED: Final = 16
"""Characters that one may become by being escaped, several times over."""
_WINDOW: Final = 524_288
"""Characters that are looked at in one go: other threads get a turn in between."""
_MARGIN: Final = 64
"""Characters that a window has beyond its ends, so that what stands at them has neighbours."""
_MAX_TRIES: Final = 32
_MIN_SURE: Final = 16
_TEXT_TYPES: Final = re.compile(
    r"text/|application/(?:json|xml|javascript|ecmascript|x-www-form-urlencoded|x-ndjson|yaml|x-yaml|sql|graphql)"
    r"|[\w.+/-]+\+(?:json|xml)\b",
    re.IGNORECASE,
)
_CHARSET: Final = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
_BEFORE_WORD: Final = re.compile(r"(?<![\w./%-])")
_AFTER_WORD: Final = re.compile(r"(?![\w/-]|\.\w)")
"""Around a word by itself: what stands in a path or a host's name is a place, and must stay one to be gone to."""
_live: "weakref.WeakSet[Redactor]" = weakref.WeakSet()


@dataclass(frozen=True)
class _Form:
    """One way in which a value is written: a string to be found as it is."""

    written: str
    least: int
    """Characters of it that are enough at the end of a text that was cut off."""


@dataclass(frozen=True)
class _Secret:
    """One value, ready to be found."""

    alias: str
    alone: bool
    """It counts only as a word by itself."""
    size: int
    folded: tuple[_Form, ...]
    """To be found in folded texts."""
    exact: tuple[_Form, ...]
    wide: tuple[bytes, ...] = field(repr=False)
    """In UTF-16."""

    @property
    def fits_binary(self) -> bool:
        """Whether it is long enough not to stand in a file by chance."""
        return self.size >= _MIN_BINARY and not self.alone


def _prepare(alias: str, value: str, *, alone: bool) -> _Secret:
    return _Secret(
        f"[{alias}]",
        alone,
        len(value),
        (
            *(_Form(written, MIN_LENGTH) for written in _fold_all(value)),
            *(() if alone else (_Form(value.encode("utf-8", "replace").hex(), _MIN_HEX),)),
        ),
        tuple(_Form(written, _MIN_BASE64) for written in sorted(_encode(value))),
        tuple(value.encode(coding, "replace") for coding in ("utf-16-le", "utf-16-be")),
    )


class _Crowd:
    """Secrets of ASCII, however many, ready to be found all at once; it never changes."""

    def __init__(self, tokens: Mapping[str, _Secret]) -> None:
        self.tokens = dict(tokens)
        secrets = self.tokens.values()
        self.size = max((secret.size for secret in secrets), default=0)
        # escapes may stand for what is no ASCII, or no character at all
        folded = ((form.written, secret) for secret in secrets for form in secret.folded if form.written.isascii())
        self.folded = Needles({written.encode(): secret for written, secret in folded})
        self.exact = Needles({form.written.encode(): secret for secret in secrets for form in secret.exact})
        self.wide = Needles({written: secret for secret in secrets for written in secret.wide})


@dataclass(frozen=True)
class _Span:
    """Where a value stands in a text."""

    start: int
    end: int
    secret: _Secret


class _Finder:
    """Finds the values of some secrets; it never changes."""

    def __init__(self, secrets: Iterable[_Secret], crowd: _Crowd) -> None:
        self.secrets = tuple(secrets)
        self.crowd = crowd
        self._reach = _MAX_SPELLED * max((crowd.size, *(secret.size for secret in self.secrets)))
        self._window = max(_WINDOW, self._reach)

    def mask(self, text: str) -> str:
        """The text with an alias in place of each value; the same object where there is none."""
        spans = self._find(text)
        if not spans:
            return text
        parts: list[str] = []
        done = 0
        for span in _merge(spans):
            parts += [text[done : span.start], span.secret.alias]
            done = span.end
        return "".join([*parts, text[done:]])

    def _find(self, text: str) -> list[_Span]:
        if len(text) <= self._window + self._reach:
            return list(self._look(text))
        found: list[_Span] = []
        for base in range(0, len(text), self._window):
            first = max(0, base - _MARGIN)
            last = base + self._window
            spans = self._look(text[first : last + self._reach + _MARGIN])
            moved = (_Span(first + span.start, first + span.end, span.secret) for span in spans)
            found += [span for span in moved if base <= span.start < last]
        return found

    def _look(self, text: str) -> Iterator[_Span]:
        view: View | None = View(text)
        for _ in range(_LEVELS + 1):
            if view is None:
                return
            folded = fold(view.text)
            for secret in self.secrets:
                for start, end in _find_forms(folded, secret.folded):
                    span = _Span(*view.locate(start, end), secret)
                    if not secret.alone or _is_alone(text, span):
                        yield span
            yield from _place(view, self.crowd.folded.find(folded))
            yield from self._find_exact(view)
            if (wrapped := view.unwrap(self._reach)) is not None:
                yield from self._find_exact(wrapped)
                yield from self._find_cut_off(wrapped, "")
            if CUT in view.text:
                yield from self._find_cut_off(view, folded)
            view = view.unfold(self._reach)

    def _find_exact(self, view: View) -> Iterator[_Span]:
        for secret in self.secrets:
            yield from _place(view, ((*found, secret) for found in _find_forms(view.text, secret.exact)))
        yield from _place(view, self.crowd.exact.find(view.text))

    def _find_cut_off(self, view: View, folded: str) -> Iterator[_Span]:
        """Whoever shortens a text may do it in the middle of a value, and of an escape."""
        before, end = 0, view.text.find(CUT)
        while end >= 0:
            ends = {end, find_unfinished(view.text, end)} if end - before >= MIN_LENGTH else set()
            for needles, text in ((self.crowd.folded, folded), (self.crowd.exact, view.text)):
                for begun in (needles.find_beginning(text, before, last) for last in ends):
                    if begun is not None:
                        yield _Span(*view.locate(begun[0], end), begun[1])
            for secret in self.secrets if ends else ():
                if secret.alone:
                    continue
                starts = [
                    start
                    for last in ends
                    for text, forms in ((folded, secret.folded), (view.text, secret.exact))
                    for form in forms
                    if (start := _find_beginning(text, form, before, last)) is not None
                ]
                if starts:
                    yield _Span(*view.locate(min(starts), end), secret)
            before, end = end + 1, view.text.find(CUT, end + 1)


def _place(view: View, found: Iterable[tuple[int, int, _Secret]]) -> Iterator[_Span]:
    for start, end, secret in found:
        yield _Span(*view.locate(start, end), secret)


def _find_forms(text: str, forms: Iterable[_Form]) -> Iterator[tuple[int, int]]:
    for form in forms:
        size = len(form.written)
        at = text.find(form.written)
        while at >= 0:
            yield at, at + size
            at = text.find(form.written, at + size)


def _find_beginning(text: str, form: _Form, start: int, end: int) -> int | None:
    """Where the longest beginning of a form stands that ends at `end`; all of it would be no beginning."""
    written = form.written
    first, last = max(start, end - len(written) + 1), end - form.least
    head, sure = written[: form.least], written[:_MIN_SURE]
    tries = 0
    at = text.find(head, first, end) if first <= last else -1
    while 0 <= at <= last:
        if end - at < _MIN_SURE or text.startswith(sure, at):
            tries += 1
            # a value that repeats itself might be compared at every place: rather too much is masked than that
            if tries > _MAX_TRIES or written.startswith(text[at:end]):
                return at
        at = text.find(head, at + 1, end)
    return None


def _is_alone(text: str, span: _Span) -> bool:
    return bool(_BEFORE_WORD.match(text, span.start) and _AFTER_WORD.match(text, span.end))


def _merge(spans: Iterable[_Span]) -> list[_Span]:
    """Those that share a character as one, called as the longest value among them."""
    merged: list[_Span] = []
    for span in sorted(spans, key=attrgetter("start", "end")):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            secret = max(last.secret, span.secret, key=attrgetter("size"))
            merged[-1] = _Span(last.start, max(last.end, span.end), secret)
        else:
            merged.append(span)
    return merged


class Redactor:
    """The values that one run has used, and how each is called where it stood."""

    def __init__(self) -> None:
        self._secrets: dict[str, _Secret] = {}
        self._crowd = _Crowd({})
        self._adding = threading.Lock()
        """Held by who adds tokens, in whatever thread."""
        self._changing = threading.Lock()
        """Held for a moment, while what is looked for is exchanged."""
        self._renew()
        _live.add(self)

    @property
    def armed(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._secrets or self._crowd.tokens)

    @property
    def values(self) -> list[str]:
        """What must not be seen wherever it stands, the longest first; without tokens."""
        found = [value for value, secret in self._secrets.items() if not secret.alone]
        return sorted(found, key=len, reverse=True)

    @property
    def holds_tokens(self) -> bool:
        """Whether there are any."""
        return bool(self._crowd.tokens)

    def find_tokens(self, text: str) -> set[str]:
        """What stands in a text of tokens, in small letters: as they are, without escapes, or in hexadecimal digits."""
        folded = fold(text)
        return {folded[start:end] for start, end, _ in self._crowd.folded.find(folded)}

    def add(self, alias: str, value: str, *, names: bool = False) -> None:
        """Mask `value` from now on, and each of its lines, by `[alias]`.

        Args:
            names: it names somebody or something rather than opening it; a short one is masked as a word by itself.
        """
        secrets = dict(self._secrets)
        for part in {value, value.strip(), *value.splitlines()}:
            alone = names and len(part) < MIN_OPEN_LENGTH
            known = secrets.get(part)
            if len(part) >= (MIN_WORD_LENGTH if alone else MIN_LENGTH) and (known is None or known.alone > alone):
                secrets[part] = _prepare(alias, part, alone=alone)
        if secrets != self._secrets:  # what is under way in another thread keeps what it began with
            with self._changing:
                self._secrets = secrets
                self._renew()

    def add_tokens(self, alias: str, tokens: Iterable[str]) -> int:
        """Mask tokens from now on by `[alias]`, as many as there is room for; best called in a thread.

        Args:
            tokens: of ASCII, each of 16 characters or more.

        Returns: how many there was no room for.
        """
        with self._adding:
            known = self._crowd.tokens
            new = [token for token in dict.fromkeys(tokens) if token not in known]
            taken = {token: _prepare(alias, token, alone=False) for token in _fit(new, known)}
            if taken:
                crowd = _Crowd(known | taken)
                with self._changing:
                    self._crowd = crowd
                    self._renew()
            return len(new) - len(taken)

    def _renew(self) -> None:
        secrets = self._secrets.values()
        self._everywhere = _Finder(secrets, self._crowd)
        self._in_binary = _Finder((secret for secret in secrets if secret.fits_binary), self._crowd)

    def clean(self, value: Any) -> Any:
        """A JSON value with all of them masked, in keys and numbers too."""
        if not self.armed:
            return value
        match value:
            case str():
                return self.clean_text(value)
            case dict():
                return {self.clean_text(str(key)): self.clean(part) for key, part in value.items()}
            case list() | tuple():
                return [self.clean(part) for part in value]
            case int() | float() if not isinstance(value, bool):
                masked = self.clean_text(str(value))
                return value if masked == str(value) else masked
            case _:
                return value

    def clean_text(self, text: str) -> str:
        """A text with all of them masked."""
        return self._everywhere.mask(text) if self.armed else text

    def clean_bytes(self, data: bytes, media_type: str) -> bytes:
        """A file with all of them masked: in one that is no text, those of eight characters and more.

        It may be called in another thread than what adds values: it masks those there were when it began.
        """
        if not self.armed:
            return data
        everywhere, in_binary = self._everywhere, self._in_binary
        named = _CHARSET.search(media_type)
        read, charsets = "", [find_charset(named[1] if named else "utf-8", data) or UTF_8]
        if _TEXT_TYPES.match(media_type.strip()):
            charsets.append(LATIN_1)
        for charset in charsets:
            try:
                text = charset.decode(data, "strict")
            except UnicodeDecodeError:
                continue
            masked = everywhere.mask(text)
            data = data if masked is text else charset.encode(masked)
            read = charset.name
            break
        return _clean_binary(data, in_binary, wide_only=read == UTF_8.name)


def _clean_binary(data: bytes, finder: _Finder, *, wide_only: bool) -> bytes:
    """Bytes of any kind, as UTF-8, UTF-16 or base64; what is no value stays as it is."""
    for secret in finder.secrets:
        for written in secret.wide:
            data = data.replace(written, secret.alias.encode())
    data = _replace_wide(data, finder.crowd)
    if wide_only or not (finder.secrets or finder.crowd.tokens):
        return data
    text = UTF_8.decode(data, "surrogateescape")
    masked = finder.mask(text)
    return data if masked is text else masked.encode("utf-8", "surrogateescape")


def _replace_wide(data: bytes, crowd: _Crowd) -> bytes:
    parts: list[bytes] = []
    done = 0
    for start, end, secret in crowd.wide.find_bytes(data):
        parts += [data[done:start], secret.alias.encode()]
        done = end
    return b"".join([*parts, data[done:]]) if parts else data


def _fit(new: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """As many of the new ones as there is room for beside those that are known."""
    sizes = [len(token) for token in known]
    room, characters = MAX_TOKENS - len(sizes), MAX_TOKEN_CHARACTERS - sum(sizes)
    for token in new:
        if room > 0 and len(token) <= characters:
            room, characters = room - 1, characters - len(token)
            yield token


def scrub(line: str) -> str:
    """A line of this process's log, without the values that any of its runs has used."""
    for redactor in list(_live):
        line = redactor.clean_text(line)
    return line


def _fold_all(value: str) -> list[str]:
    """A value folded, and again for each level of what looks like escapes in it: those are undone in texts too."""
    found = [value]
    view = View(value).unfold()
    for _ in range(_LEVELS):
        if view is None:
            break
        if len(view.text) >= MIN_OPEN_LENGTH:
            found.append(view.text)
        view = view.unfold()
    # forms write a space as a plus
    return list(dict.fromkeys(fold(form) for one in found for form in (one, one.replace(" ", "+"))))


def _encode(value: str) -> set[str]:
    """Its base64, also inside something longer, such as `user:password`: wherever it begins, its middle is there."""
    data = value.encode("utf-8", "replace")
    found = set()
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + data).decode()
        first, last = -(-offset * 8 // 6), (offset + len(data)) * 8 // 6
        core = text[first:last]
        if len(core) >= _MIN_BASE64:
            found |= {core, core.replace("+", "-").replace("/", "_")}
    return found
