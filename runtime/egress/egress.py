"""All that one process has for traffic that leaves it: the door, the proxy, what the owner excepts, and the count."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from contracts.model import ExecutionId, TenantId
from runtime.egress.door import Door
from runtime.egress.permit import Limits, Permit, Tally
from runtime.egress.policy import Policy, read_policy
from runtime.egress.proxy import EgressProxy


class Egress:
    """Open it before anything that sends, close it after."""

    def __init__(
        self,
        private_hosts: Iterable[str] = (),
        *,
        closed_hosts: Iterable[str] = (),
        limits: Limits | None = None,
        door: Door | None = None,
    ) -> None:
        """`private_hosts` may be reached nevertheless, `closed_hosts` not though they are public.

        Raises NotAHost (a ValueError) for an entry that is none.
        """
        self.policy = read_policy(private_hosts, closed_hosts)
        """What holds for everybody, before a tenant's lists."""
        self.door = door or Door()
        self.proxy = EgressProxy(self.door)
        self.tally = Tally()
        self._limits = limits or Limits()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Let the proxy listen. Raises OSError."""
        self._stack.callback(self.door.close)
        await self._stack.enter_async_context(self.proxy)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut off everybody."""
        await self._stack.aclose()

    def admit(
        self, tenant_id: TenantId, execution_id: ExecutionId, policy: Policy | None = None, used: int = 0
    ) -> Permit:
        """The permit of a run that begins; close it when the run ends. `policy` is the tenant's, if it has one."""
        return Permit(tenant_id, execution_id, policy or self.policy, self._limits, self.tally, used)
