"""The policy of a tenant: what holds for everybody, under its lists."""

import time
from collections import OrderedDict
from typing import Final

from contracts.model import TenantId
from runtime.egress.policy import Policy, read_lists
from runtime.store.egress import EgressRecords

FRESH_S: Final = 5.0
"""How long lists are not asked for again: a change counts for what begins this much later, in every process."""
_MAX_KEPT: Final = 1_000


class Policies:
    """Asks the store, and remembers for a moment."""

    def __init__(self, base: Policy, records: EgressRecords) -> None:
        self._base = base
        self._records = records
        self._kept: OrderedDict[TenantId, tuple[float, Policy]] = OrderedDict()

    async def find(self, tenant_id: TenantId) -> Policy:
        """The policy of what a tenant begins now. Raises DatabaseAway."""
        now = time.monotonic()
        until, policy = self._kept.get(tenant_id, (0.0, None))
        if policy is not None and now < until:
            return policy
        stored = await self._records.get(tenant_id)
        policy = self._base.narrow(read_lists(stored.allow, stored.deny))
        self._kept[tenant_id] = (now + FRESH_S, policy)
        self._kept.move_to_end(tenant_id)
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return policy
