"""The stage door: nothing but health and figures is answered without Experience's signed token, whatever the path."""

from contextvars import ContextVar
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.declare import Endpoint
from contracts.errors import ApiError
from contracts.wiring.internal import InternalCaller, InternalVerifier
from contracts.wiring.logging import bind_caller
from contracts.wiring.server import Envelope, problem_response

OPEN_PATHS: Final = frozenset({"/health", "/ready", "/metrics"})
_caller: ContextVar[InternalCaller] = ContextVar("internal_caller")


class Gate:
    """Middleware. It stands before routing, so that a stranger can't tell which paths there are."""

    def __init__(self, app: ASGIApp, verifier: InternalVerifier) -> None:
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. WebSockets have a guard of their own, which refuses in the handshake."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        try:
            caller = self._verifier.verify(token if scheme.lower() == "bearer" else "")
        except ApiError as error:
            await problem_response(scope["state"]["request_id"], error)(scope, receive, send)
            return
        _caller.set(caller)
        bind_caller(caller.tenant_id, caller.user_id)
        await self._app(scope, receive, send)


async def identify(_envelope: Envelope, _endpoint: Endpoint[Any, Any]) -> InternalCaller:
    """The guard of every endpoint: whom the gate let in."""
    return _caller.get()
