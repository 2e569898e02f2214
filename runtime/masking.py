"""Keeps the values of credentials out of all that a run leaves behind (spec I4, W9).

A value is looked for as it is and in the forms in which pages and programs usually repeat one: percent-encoded, as HTML
or JSON escapes, in other letter case, in base64. Who wants to smuggle a value out of a page that was given it finds
another form; what keeps it from being given to such a page are the credential's domains.
"""

import base64
import re
import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

from runtime.charsets import LATIN_1, UTF_8, find_charset

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
_MIN_BINARY: Final = 8
"""Characters from which on a value is looked for in files of any kind: a shorter one may stand there by chance."""
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_TEXT_TYPES: Final = re.compile(
    r"text/|application/(?:json|xml|javascript|ecmascript|x-www-form-urlencoded|x-ndjson|yaml|x-yaml|sql|graphql)"
    r"|[\w.+/-]+\+(?:json|xml)\b",
    re.IGNORECASE,
)
_CHARSET: Final = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
_WORD: Final = re.compile(r"[a-z0-9]+")
_ALONE: Final = (r"(?<![\w./%-])", r"(?![\w/-]|\.\w)")
"""Around a word by itself: what stands in a path or a host's name is a place, and must stay one to be gone to."""
_live: "weakref.WeakSet[Redactor]" = weakref.WeakSet()


class _Secret:
    """One value, ready to be found."""

    def __init__(self, alias: str, value: str, *, alone: bool = False) -> None:
        """`alone`: it counts only as a word by itself."""
        self.alias = f"[{alias}]"
        self.alone = alone
        before, after = _ALONE if alone else ("", "")
        self._pattern = re.compile(before + "".join(map(_spell, value)) + after, re.IGNORECASE)
        # nearly every text holds no secret: looking for its longest word first makes that quick to see
        self._clue = max(_WORD.findall(value.lower()), key=len, default="")
        self._encoded = sorted(_encode(value), key=len, reverse=True)
        self._written = {value.lower(), quote(value, safe="").lower(), quote_plus(value).lower()}
        self._written = set() if alone else self._written
        self._wide = [value.encode(coding, "replace") for coding in ("utf-16-le", "utf-16-be")]
        self._fits_binary = len(value) >= _MIN_BINARY and not alone

    def mask(self, text: str, lowered: str) -> str:
        if self._clue in lowered:
            text = self._pattern.sub(lambda _: self.alias, text)
        for form in self._encoded:
            if form in text:
                text = text.replace(form, self.alias)
        return self._mask_cut_off(text) if CUT in text else text

    def mask_bytes(self, data: bytes, lowered: bytes) -> bytes:
        """Bytes of any kind without it, as UTF-8, UTF-16 or base64; what is not it stays as it is."""
        if not self._fits_binary:
            return data
        for form in self._wide:
            data = data.replace(form, self.alias.encode())
        if self._clue.encode() not in lowered and not any(form.encode() in data for form in self._encoded):
            return data
        text = data.decode("utf-8", "surrogateescape")
        return self.mask(text, text.lower()).encode("utf-8", "surrogateescape")

    def _mask_cut_off(self, text: str) -> str:
        """Whoever shortens a text may do it in the middle of a value."""
        for written in self._written:
            for length in range(len(written) - 1, MIN_LENGTH - 1, -1):
                while (at := text.lower().find(written[:length] + CUT)) >= 0:
                    text = f"{text[:at]}{self.alias}{text[at + length :]}"
        return text


class Redactor:
    """The values that one run has used, and how each is called where it stood."""

    def __init__(self) -> None:
        self._secrets: dict[str, _Secret] = {}
        _live.add(self)

    @property
    def armed(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._secrets)

    @property
    def values(self) -> list[str]:
        """What must not be seen wherever it stands, the longest first."""
        return [value for value, secret in self._secrets.items() if not secret.alone]

    def add(self, alias: str, value: str, *, names: bool = False) -> None:
        """Mask `value` from now on, and each of its lines, by `[alias]`.

        Args:
            names: it names somebody or something rather than opening it; a short one is masked as a word by itself.
        """
        for part in {value, value.strip(), *value.splitlines()}:
            alone = names and len(part) < MIN_OPEN_LENGTH
            known = self._secrets.get(part)
            if len(part) >= (MIN_WORD_LENGTH if alone else MIN_LENGTH) and (known is None or known.alone > alone):
                self._secrets[part] = _Secret(alias, part, alone=alone)
        # a value that holds another one goes first, or what is left of it would stay
        self._secrets = dict(sorted(self._secrets.items(), key=lambda item: len(item[0]), reverse=True))

    def clean(self, value: Any) -> Any:
        """A JSON value with all of them masked, in keys and numbers too."""
        if not self._secrets:
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
        lowered = text.lower() if self._secrets else ""
        for secret in list(self._secrets.values()):
            text = secret.mask(text, lowered)
        return text

    def clean_bytes(self, data: bytes, media_type: str) -> bytes:
        """A file with all of them masked: in one that is no text, those of eight characters and more.

        It may be called in another thread than what adds values: it masks those there were when it began.
        """
        if not self._secrets:
            return data
        named = _CHARSET.search(media_type)
        charsets = [find_charset(named[1] if named else "utf-8", data) or UTF_8]
        if _TEXT_TYPES.match(media_type.strip()):
            charsets.append(LATIN_1)
        for charset in charsets:
            try:
                text = charset.decode(data, "strict")
            except UnicodeDecodeError:
                continue
            masked = self.clean_text(text)
            data = data if masked == text else charset.encode(masked)
            break
        lowered = data.lower()
        for secret in list(self._secrets.values()):
            data = secret.mask_bytes(data, lowered)
        return data


def scrub(line: str) -> str:
    """A line of this process's log, without the values that any of its runs has used."""
    for redactor in list(_live):
        line = redactor.clean_text(line)
    return line


def _spell(char: str) -> str:
    """A pattern for one character in each of the ways it may be written; letters and digits are rarely escaped."""
    if char.isascii() and char.isalnum():
        return char
    code = ord(char)
    forms = {re.escape(char), re.escape(quote(char, safe="")), f"&#0*{code};", f"&#x0*{code:x};"}
    if char in _ENTITIES:
        forms.add(re.escape(_ENTITIES[char]))
    if char == " ":
        forms |= {r"\+", "&nbsp;", "\xa0"}
    forms |= set(_spell_json(char))
    return f"(?:{'|'.join(sorted(forms, key=len, reverse=True))})"


def _spell_json(char: str) -> Iterator[str]:
    # once, and once more where JSON stands in JSON
    units = char.encode("utf-16-be")
    escaped = "".join(
        rf"\\+u{unit:04x}" for unit in (int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2))
    )
    yield escaped
    if char in '"\\/':
        yield rf"\\+{re.escape(char)}"
    named = {"\n": "n", "\r": "r", "\t": "t"}.get(char)
    if named:
        yield rf"\\+{named}"


def _encode(value: str) -> Iterable[str]:
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
