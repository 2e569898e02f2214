"""`/api/admin/egress`: where a tenant's executions may go."""

from contracts.declare import Endpoint
from contracts.egress import EgressRefusal, EgressSettings, ListRefusals, SetEgress
from contracts.identity import Scope
from contracts.model import Nothing, Page


class EgressApi:
    """For owners and admins of a tenant."""

    get_egress = Endpoint(
        method="GET",
        path="/api/admin/egress",
        request=Nothing,
        result=EgressSettings,
        summary="What the tenant allows and denies its executions to reach.",
        scope=Scope.EGRESS,
        tag="admin",
    )
    set_egress = Endpoint(
        method="PUT",
        path="/api/admin/egress",
        request=SetEgress,
        result=EgressSettings,
        summary="Replace both lists. They narrow the public internet and open nothing private.",
        scope=Scope.EGRESS,
        tag="admin",
        idempotent=True,
    )
    list_refusals = Endpoint(
        method="GET",
        path="/api/admin/egress/refusals",
        request=ListRefusals,
        result=Page[EgressRefusal],
        summary="What executions were refused to reach, newest first.",
        scope=Scope.AUDIT,
        tag="admin",
    )
