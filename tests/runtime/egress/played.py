"""A played internet: names that resolve as a test says, and addresses of it that lie on loopback here."""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from uuid_utils.compat import uuid7

from contracts.model import ExecutionId, TenantId
from runtime.egress.door import Door, Streams
from runtime.egress.hosts import Address, read_address
from runtime.egress.permit import Limits, Permit, Tally
from runtime.egress.policy import Policy, read_exceptions

PUBLIC = "93.184.216.34"
"""A public address that nobody of these tests reaches: what is connected to it goes to loopback."""


@dataclass
class Internet:
    """Resolver and connector of a door."""

    names: dict[str, list[str]] = field(default_factory=dict)
    """Addresses of a name; one that is `rebinding` answers the first of them once, then the next."""
    lands: dict[str, int] = field(default_factory=dict)
    """Port of 127.0.0.1 that stands for an address, whatever port is asked for."""
    asked: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    rebinding: set[str] = field(default_factory=set)
    silence: int = 0
    """The resolver's error for names that are not here; by default that they do not exist."""

    async def resolve(self, name: str, port: int) -> Sequence[Address]:
        """As `Door` asks."""
        self.asked.append(name)
        if name not in self.names:
            raise socket.gaierror(self.silence or socket.EAI_NONAME, "Name or service not known")
        found = self.names[name]
        if name in self.rebinding and len(found) > 1:
            return [read_address(found.pop(0))]
        return [read_address(one) for one in found]

    async def connect(self, address: Address, port: int) -> Streams:
        """As `Door` connects."""
        self.connected.append(f"{address}:{port}")
        if str(address) in self.lands:
            return await asyncio.open_connection("127.0.0.1", self.lands[str(address)])
        return await asyncio.open_connection(str(address), port)

    def door(self) -> Door:
        """A door to it."""
        return Door(self.resolve, self.connect)


def make_permit(
    exceptions: Iterable[str] = (),
    *,
    limits: Limits | None = None,
    tally: Tally | None = None,
    policy: Policy | None = None,
) -> Permit:
    """A run that may do what is usual."""
    return Permit(TenantId(uuid7()), ExecutionId(uuid7()), policy or Policy(read_exceptions(exceptions)), limits, tally)
