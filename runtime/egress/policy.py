"""What may be reached: the public internet, less what a tenant's lists say, plus what the owner excepts. Pure.

The lists of addresses are explicit (IANA's special-purpose registries, and the metadata services of clouds): Python's
`is_global` takes multicast, NAT64, 6to4 and others for public. A list of a tenant or an execution can only narrow; what
lies inside the installation's own networks is opened by its owner alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, NetmaskValueError
from typing import Final

from contracts.errors import Fault
from runtime.egress.hosts import Address, Host, NotAHost, Target, read_address, read_host, split_port

Network = IPv4Network | IPv6Network


class Rule(StrEnum):
    """Why something is not reached."""

    NOT_A_HOST = "not_a_host"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    MULTICAST = "multicast"
    RESERVED = "reserved"
    DENIED = "denied"
    """By a list of the tenant or of the execution."""
    CLOSED = "closed"
    """By the owner of the installation, for everybody."""
    NOT_ALLOWED = "not_allowed"
    """There is a list of what is allowed, and it is not on it."""
    BYTES = "bytes"
    """The run has moved as many bytes as it may."""
    CONNECTIONS = "connections"
    """The run has as many connections open as it may."""
    OVER = "over"
    """The run has ended; never on record, since nobody is there to be told."""


WORDS: Final = {
    Rule.NOT_A_HOST: "it is not a host",
    Rule.LOOPBACK: "it is this machine itself",
    Rule.PRIVATE: "it lies in a private network",
    Rule.LINK_LOCAL: "it lies on the local link",
    Rule.METADATA: "it is a cloud's metadata service",
    Rule.MULTICAST: "it is a multicast address",
    Rule.RESERVED: "its address is no public one",
    Rule.DENIED: "a list of denied hosts names it",
    Rule.CLOSED: "the owner of this installation has closed it",
    Rule.NOT_ALLOWED: "it is not on the list of allowed hosts",
    Rule.BYTES: "this run has used up its traffic",
    Rule.CONNECTIONS: "this run has too many connections open",
    Rule.OVER: "this run is over",
}
ADDRESS_RULES: Final = frozenset(
    {Rule.LOOPBACK, Rule.PRIVATE, Rule.LINK_LOCAL, Rule.METADATA, Rule.MULTICAST, Rule.RESERVED}
)
"""Those that the owner of the installation can lift with an exception."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was not reached, and why. It never tells to which address a name led: that is the network's business."""

    host: str
    """As it was checked; a text that names no host as it came."""
    port: int | None
    rule: Rule

    @property
    def where(self) -> str:
        """Host and port."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def message(self) -> str:
        """A sentence for people."""
        return f"{self.where} may not be reached: {WORDS[self.rule]}."

    @property
    def hint(self) -> str:
        """What to do about it."""
        if self.rule in ADDRESS_RULES and self.rule not in _HINTS:
            return (
                f"If it should be, the owner of the installation adds {self.where} to STAGEDOOR_RUNTIME_ALLOWED_HOSTS "
                "and restarts Runtime."
            )
        return _HINTS[self.rule]


_HINTS: Final = {
    Rule.NOT_A_HOST: "Give the whole address of a page.",
    Rule.METADATA: "Nothing an execution does needs it; it hands out the machine's own credentials.",
    Rule.DENIED: "An admin of your tenant can take it off the list (PUT /api/admin/egress).",
    Rule.CLOSED: "The owner of the installation opens it: STAGEDOOR_RUNTIME_DENIED_HOSTS names it or its network.",
    Rule.NOT_ALLOWED: "It has to stand on the tenant's list, which admins set (PUT /api/admin/egress), and in "
    "allowed_domains of the workflow and of the run, where those have any.",
    Rule.BYTES: "Fetch less in one execution, or raise STAGEDOOR_RUNTIME_EGRESS_MAX_BYTES.",
    Rule.CONNECTIONS: "Let a page open fewer connections at once.",
    Rule.OVER: "Start the workflow again.",
}


class Refused(Exception):  # noqa: N818 — what happened to a connection
    """The policy says no."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.where}: {refusal.rule}")
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Pattern:
    """An entry of a list: a host, all hosts below a name, or a network; at one port or at any."""

    name: str = ""
    below: bool = False
    network: Network | None = None
    port: int | None = None

    def matches(self, target: Target, addresses: Iterable[Address] = ()) -> bool:
        """Whether the target is meant by its name, or any of the addresses by the network."""
        if self.port not in (None, target.port):
            return False
        if self.network is not None:
            found = [target.host.address] if target.host.address is not None else list(addresses)
            return any(_is_in(address, self.network) for address in found)
        if self.below:
            return target.host.address is None and target.host.name.endswith(f".{self.name}")
        return target.host.name == self.name


def read_pattern(text: str) -> Pattern:
    """`example.org`, `*.example.org`, `203.0.113.7`, `[2001:db8::7]`, each with `:port` or without; `203.0.113.0/24`.

    Raises NotAHost, whose message says what an entry may look like.
    """
    entry = text.strip()
    try:
        if "/" in entry:
            return Pattern(network=_read_network(entry))
        return _read_named(entry)
    except NotAHost as error:
        shown = entry if len(entry) <= 100 else entry[:100] + "…"  # noqa: PLR2004 — fits a sentence
        raise NotAHost(
            f"“{shown}” is no entry: write host, *.host, host:port, an address, or a network such as 192.0.2.0/24"
        ) from error


def _read_named(entry: str) -> Pattern:
    below = entry.startswith("*.")
    name, port = split_port(entry[2:] if below else entry)
    host = read_host(name)
    if below and host.address is not None:
        raise NotAHost("addresses have nothing below them")
    return Pattern(host.name, below=below, port=port)


@dataclass(frozen=True, slots=True)
class Lists:
    """What somebody allows and denies. An empty list of the allowed allows everything; the denied go before."""

    allow: tuple[Pattern, ...] = ()
    deny: tuple[Pattern, ...] = ()

    def judge(self, target: Target, addresses: Sequence[Address] | None) -> Rule | None:
        """`addresses` is None while they are not known; what hangs on them is then left open."""
        if any(entry.matches(target, addresses or ()) for entry in self.deny):
            return Rule.DENIED
        if not self.allow or any(entry.matches(target) for entry in self.allow):
            return None
        networks = [entry for entry in self.allow if entry.network is not None]
        if addresses is None and networks:
            return None
        if addresses and all(any(entry.matches(target, [one]) for entry in networks) for one in addresses):
            return None
        return Rule.NOT_ALLOWED


def find_entry_faults(where: str, entries: Sequence[str]) -> list[Fault]:
    """Entries of a list at `where` that are none."""
    found = []
    for place, entry in enumerate(entries):
        try:
            read_pattern(entry)
        except NotAHost as error:
            found.append(Fault(where=f"{where}[{place}]", rule="entry", detail=str(error)))
    return found


def read_lists(allow: Iterable[str] = (), deny: Iterable[str] = ()) -> Lists:
    """Lists from their entries. Raises NotAHost naming the first that is none."""
    return Lists(tuple(map(read_pattern, allow)), tuple(map(read_pattern, deny)))


@dataclass(frozen=True, slots=True)
class Policy:
    """What one run may reach."""

    exceptions: tuple[Pattern, ...] = ()
    """Hosts of the installation's own networks that may be reached nevertheless, by exactly this name."""
    closed: tuple[Pattern, ...] = ()
    """What nobody reaches though it is public, but by an exception: the installation's own services there."""
    lists: tuple[Lists, ...] = field(default=())
    """Each narrows: the tenant's, and the execution's."""

    def narrow(self, lists: Lists) -> "Policy":
        """The same policy under one more pair of lists."""
        return replace(self, lists=(*self.lists, lists))

    def judge_name(self, target: Target) -> Refusal | None:
        """What can be said before a name is resolved, so that what is denied isn't even asked for."""
        rule: Rule | None
        for lists in self.lists:
            if (rule := lists.judge(target, None)) is not None:
                return _refuse(target, rule)
        if self.excepts(target):
            return None
        if any(entry.matches(target) for entry in self.closed):
            rule = Rule.CLOSED
        elif target.host.address is not None:
            rule = classify(target.host.address)
        elif target.host.name == "localhost" or target.host.name.endswith(".localhost"):
            rule = Rule.LOOPBACK  # RFC 6761, whatever a resolver says
        else:
            rule = None
        return _refuse(target, rule) if rule is not None else None

    def judge(self, target: Target, addresses: Sequence[Address]) -> Refusal | None:
        """Whether a target that resolved to these may be connected to: every one of them has to pass."""
        for lists in self.lists:
            if (rule := lists.judge(target, addresses)) is not None:
                return _refuse(target, rule)
        if self.excepts(target):
            return None
        if any(entry.matches(target, addresses) for entry in self.closed):
            return _refuse(target, Rule.CLOSED)
        rules = [rule for address in addresses if (rule := classify(address)) is not None]
        return _refuse(target, rules[0]) if rules else None

    def judge_own(self, target: Target, address: Address, own: Address | None) -> Refusal | None:
        """Whether a connection may be used whose own end has that address: of both ends in one place, this is it.

        Machines have public addresses, too, and what listens there for neighbours trusts who comes from within.
        """
        reached_itself = own is not None and unwrap(own) == unwrap(address)
        return _refuse(target, Rule.LOOPBACK) if reached_itself and not self.excepts(target) else None

    def excepts(self, target: Target) -> bool:
        """Whether the owner of the installation has opened exactly this."""
        return any(entry.matches(target) for entry in self.exceptions)


def read_policy(private: Iterable[str], closed: Iterable[str]) -> Policy:
    """What the owner of the installation says: private hosts that may be reached, public ones that may not.

    Raises NotAHost naming the entry that is none.
    """
    return Policy(read_exceptions(private), tuple(map(read_pattern, closed)))


def read_exceptions(entries: Iterable[str]) -> tuple[Pattern, ...]:
    """`host` or `host:port`, exact names. Raises NotAHost naming the entry that is neither."""
    found = []
    for entry in entries:
        pattern = read_pattern(entry)
        if pattern.below or pattern.network is not None:
            raise NotAHost(f"“{entry}” is too wide: private hosts are opened one by one, as host or host:port")
        found.append(pattern)
    return tuple(found)


def _refuse(target: Target, rule: Rule) -> Refusal:
    return Refusal(str(target.host), target.port, rule)


def _is_in(address: Address, network: Network) -> bool:
    inner = unwrap(address)
    return any(one.version == network.version and one in network for one in {address, inner})


def _read_network(text: str) -> Network:
    bare = text.replace("[", "").replace("]", "")
    for kind in (IPv4Network, IPv6Network):
        try:
            return kind(bare)
        except (AddressValueError, NetmaskValueError, ValueError):
            continue
    raise NotAHost(f"“{text}” is not a network")


# --- addresses

_METADATA: Final = frozenset(
    map(read_address, ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"])
)
"""AWS, Google and most others; Azure; Alibaba; Oracle; AWS over IPv6."""
_IPV4: Final = [
    (IPv4Network(network), rule)
    for network, rule in (
        ("127.0.0.0/8", Rule.LOOPBACK),
        ("0.0.0.0/8", Rule.LOOPBACK),  # “this host on this network”: Linux connects it to itself
        ("10.0.0.0/8", Rule.PRIVATE),
        ("172.16.0.0/12", Rule.PRIVATE),
        ("192.168.0.0/16", Rule.PRIVATE),
        ("100.64.0.0/10", Rule.PRIVATE),  # shared behind carriers' NAT, RFC 6598
        ("169.254.0.0/16", Rule.LINK_LOCAL),
        ("224.0.0.0/4", Rule.MULTICAST),
        ("192.0.0.0/24", Rule.RESERVED),  # IETF protocol assignments
        ("192.0.2.0/24", Rule.RESERVED),  # documentation, as the next two
        ("198.51.100.0/24", Rule.RESERVED),
        ("203.0.113.0/24", Rule.RESERVED),
        ("192.88.99.0/24", Rule.RESERVED),  # 6to4 relays, RFC 7526
        ("198.18.0.0/15", Rule.RESERVED),  # benchmarks
        ("240.0.0.0/4", Rule.RESERVED),  # with broadcast
    )
]
_IPV6: Final = [
    (IPv6Network(network), rule)
    for network, rule in (
        ("::1/128", Rule.LOOPBACK),
        ("::/128", Rule.LOOPBACK),
        ("fc00::/7", Rule.PRIVATE),
        ("fec0::/10", Rule.PRIVATE),  # site-local, deprecated and still routed by some
        ("fe80::/10", Rule.LINK_LOCAL),
        ("ff00::/8", Rule.MULTICAST),
        ("2001::/23", Rule.RESERVED),  # protocol assignments, Teredo and ORCHID among them
        ("2001:db8::/32", Rule.RESERVED),
        ("2002::/16", Rule.RESERVED),  # 6to4: leads to any IPv4 address
        ("3fff::/20", Rule.RESERVED),
        ("3ffe::/16", Rule.RESERVED),  # the 6bone, given back
    )
]
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
"""All that IANA has given out for the internet; everything beside it is refused."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOW_32: Final = 0xFFFF_FFFF


def classify(address: Address) -> Rule | None:
    """Why an address is no public one; None for one that is."""
    inner = unwrap(address)
    if inner in _METADATA or address in _METADATA:
        return Rule.METADATA
    if isinstance(inner, IPv4Address):
        return next((rule for network, rule in _IPV4 if inner in network), None)
    found = next((rule for network, rule in _IPV6 if inner in network), None)
    return found if found is not None or inner in _PUBLIC_IPV6 else Rule.RESERVED


def unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, NAT64 of RFC 6052); any other as it is."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & _LOW_32)
    return address


def name_host(text: str) -> Host:
    """The host of a text as policies see it. Raises Refused for a text that names none."""
    try:
        return read_host(text)
    except NotAHost as error:
        raise Refused(Refusal(text[:100], None, Rule.NOT_A_HOST)) from error
