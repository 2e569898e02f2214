"""Hosts in one spelling: what is checked must be what is connected to, however it was written. Pure.

Numbers are read as browsers read them (WHATWG URL, host parser): `2130706433`, `0x7f.1` and `0177.0.0.1` are addresses,
names that end in a number are no names, and what is left is a name in ASCII (IDNA, UTS 46).
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import urlsplit

import idna

Address = IPv4Address | IPv6Address

WEB_PORTS: Final = {"http": 80, "https": 443}
"""Where a scheme is served if its address does not say."""
MAX_NAME: Final = 253
"""Characters of a name (RFC 1035)."""
MAX_PORT: Final = 65_535
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_MAX_PARTS: Final = 4


class NotAHost(ValueError):  # noqa: N818 — what it is
    """A text that names no host; says so in words."""


@dataclass(frozen=True, slots=True)
class Host:
    """A name (`shop.example`, lower case, no dot at the end) or an address, in its canonical form."""

    name: str
    address: Address | None = None

    def __str__(self) -> str:
        return f"[{self.name}]" if isinstance(self.address, IPv6Address) else self.name


@dataclass(frozen=True, slots=True)
class Target:
    """Where a connection is to go."""

    host: Host
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def read_host(text: str) -> Host:
    """The host that a text names, in brackets or not. Raises NotAHost."""
    bare = text.strip().lower()
    if bare.startswith("["):
        if not bare.endswith("]"):
            raise NotAHost(f"“{_shorten(text)}” opens a bracket and does not close it")
        inner = bare[1:-1]
        return _read_ipv6(inner, text)
    if ":" in bare:
        return _read_ipv6(bare, text)
    name = _to_ascii(bare, text)
    if _ends_in_number(name):
        return _read_ipv4(name, text)
    if not name or len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise NotAHost(f"“{_shorten(text)}” is not the name of a host")
    return Host(name)


def read_target(text: str, default_port: int | None = None) -> Target:
    """`host:port`, or a host alone where there is a default. Raises NotAHost."""
    host, port = split_port(text)
    if port is None:
        if default_port is None:
            raise NotAHost(f"“{_shorten(text)}” has no port")
        port = default_port
    return Target(read_host(host), port)


def read_web_target(url: str) -> Target:
    """Host and port of an http or https address. Raises NotAHost, which says what is wrong with any other."""
    shown = _shorten(url)
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise NotAHost(f"“{shown}” is not an address") from error
    if parts.scheme not in WEB_PORTS:
        raise NotAHost(f"“{shown}” is not an http or https address")
    if not parts.hostname:
        raise NotAHost(f"“{shown}” names no host")
    return Target(read_host(parts.hostname), WEB_PORTS[parts.scheme] if port is None else port)


def split_port(text: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare v6. Raises NotAHost for no port at all."""
    text = text.strip()
    if text.count(":") > 1 and not text.startswith("["):
        return text, None
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text, None
    if not (port.isascii() and port.isdigit()) or len(port) > len(str(MAX_PORT)) or not 0 < int(port) <= MAX_PORT:
        raise NotAHost(f"“{_shorten(text)}” has a port that is none")
    return host, int(port)


def read_address(text: str) -> Address:
    """An address as a resolver answers it; one with a zone is read without. Raises NotAHost."""
    try:
        return IPv4Address(text)
    except AddressValueError:
        return _parse_ipv6(text.partition("%")[0], text)


def _to_ascii(bare: str, text: str) -> str:
    name = bare
    if not bare.isascii():
        try:
            name = idna.encode(bare, uts46=True, transitional=False).decode().lower()
        except (idna.IDNAError, UnicodeError) as error:
            raise NotAHost(f"“{_shorten(text)}” is not the name of a host") from error
    return name.removesuffix(".")


def _ends_in_number(name: str) -> bool:
    return bool(_NUMBER.fullmatch(name.rpartition(".")[2]))


def _read_ipv4(name: str, text: str) -> Host:
    parts = name.split(".")
    if len(parts) > _MAX_PARTS or not all(_NUMBER.fullmatch(part) for part in parts):
        raise NotAHost(f"“{_shorten(text)}” ends like an address and is none")
    try:
        *leading, last = [_read_number(part) for part in parts]
    except ValueError as error:
        raise NotAHost(f"“{_shorten(text)}” ends like an address and is none") from error
    if any(number > 255 for number in leading) or last >= 256 ** (5 - len(parts)):  # noqa: PLR2004 — octets
        raise NotAHost(f"“{_shorten(text)}” is beyond the addresses there are")
    value = last + sum(number << (8 * (3 - place)) for place, number in enumerate(leading))
    address = IPv4Address(value)
    return Host(str(address), address)


def _read_number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if len(part) > 1 and part.startswith("0") else int(part)


def _read_ipv6(bare: str, text: str) -> Host:
    address = _parse_ipv6(bare, text)
    return Host(address.compressed, address)


def _parse_ipv6(bare: str, text: str) -> IPv6Address:
    try:
        address = IPv6Address(bare)
    except AddressValueError as error:
        raise NotAHost(f"“{_shorten(text)}” is not an address") from error
    if address.scope_id is not None:
        raise NotAHost(f"“{_shorten(text)}” names an interface of this machine")
    return address


def _shorten(text: str) -> str:
    limit = 100
    return text if len(text) <= limit else text[:limit] + "…"
