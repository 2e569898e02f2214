"""A scripted API behind the real page: the page is served as in production, the answers are made up.

The end-to-end tests run the page on the whole stack. Here it meets what that stack hardly ever does: closes with every
code, silence, a restored backup, three hundred nodes, a burst of events.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from contracts.browser_profile import BrowserProfile
from contracts.credential import KIND_FIELDS, Credential, CredentialKind
from contracts.errors import ApiError, Code
from contracts.events import StepUpdated
from contracts.execution import (
    Accepted,
    ExecutionStatus,
    Failure,
    FailureCode,
    Intent,
    IntentStatus,
    Links,
    StepStatus,
)
from contracts.frames import Hello, Ping, Reset
from contracts.identity import ROLE_SCOPES, Grant, Me, Role, Scope, Tenant, TenantLimits, User
from contracts.model import ArtifactId, BrowserProfileId, CredentialId, ExecutionId, IntentId, TenantId, UserId
from contracts.recovery import DeadLetterDetail, RunRecord
from contracts.shortcoming import FoundShortcoming, Shortcomings
from contracts.tool import ToolEvent
from contracts.wiring.server import build_app, problem_response
from contracts.workflow import DataType, NodeType, Port, Workflow, WorkflowStatus, WorkflowSummary
from experience.pages import page_routes
from tests.experience.web.story import Story, chain
from tests.support.sockets import Served, serve

Handler = Callable[[Request], Awaitable[Response]]
PASSWORD = "a very long password"
CODE = "one-time-code"
COOKIE = "stagedoor"


@dataclass
class Playhouse:
    """What the page will find. Change it, and open pages see it."""

    web_dir: Path
    stories: list[Story] = field(default_factory=list)
    workflows: list[WorkflowSummary] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    credentials: list[Credential] = field(default_factory=list)
    profiles: list[BrowserProfile] = field(default_factory=list)
    letters: list[DeadLetterDetail] = field(default_factory=list)
    tools: list[ToolEvent] = field(default_factory=list)
    shortcomings: list[FoundShortcoming] = field(default_factory=list)
    """What an operator is told of; Ada is one while there is something."""
    unavailable: str = ""
    """Why the one type of node can't be run."""
    wishes: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the retries and answers that were asked for, in order."""
    insecure: bool = False
    role: Role = Role.OWNER
    ping_interval: float = 30
    away: bool = False
    """Every request fails as if Runtime were gone."""
    opened: list[dict[str, str]] = field(default_factory=list)
    """Query of each stream that was opened, in order."""
    _sockets: set[WebSocket] = field(default_factory=set)
    _logins: set[str] = field(default_factory=set)
    _told: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        now = datetime.now(UTC)
        self.user = User(
            user_id=UserId(uuid4()), email="ada@stage.test", display_name="Ada", operator=True, created_at=now
        )
        limits = TenantLimits()
        self.tenant = Tenant(tenant_id=TenantId(uuid4()), name="House", suspended=False, limits=limits, created_at=now)

    def log_in(self) -> dict[str, str]:
        """A login that is there already: its cookie."""
        secret = uuid4().hex
        self._logins.add(secret)
        return {"name": COOKIE, "value": secret}

    def log_everybody_out(self) -> None:
        """Every login ends."""
        self._logins.clear()

    async def tell(self) -> None:
        """The stories went on: streams send what is new."""
        async with self._told:
            self._told.notify_all()

    async def wait_for_streams(self, count: int) -> None:
        """Until so many have been opened, all in all."""
        async with asyncio.timeout(60), self._told:
            await self._told.wait_for(lambda: len(self.opened) >= count)

    async def close_streams(self, code: int, reason: dict[str, Any] | None = None) -> None:
        """Close all open streams with a code."""
        for socket in list(self._sockets):
            await socket.close(code, json.dumps(reason) if reason else "")

    def app(self) -> Starlette:
        """The page and its API."""
        endpoints: list[tuple[str, str, Handler]] = [
            ("GET", "/api/auth/me", self._me),
            ("POST", "/api/auth/login", self._log_in),
            ("POST", "/api/auth/register", self._log_in),
            ("POST", "/api/auth/link/redeem", self._redeem),
            ("POST", "/api/auth/logout", self._log_out),
            ("GET", "/api/intent/pending", self._pending),
            ("POST", "/api/intent/{id}/cancel", self._cancel_intent),
            ("GET", "/api/execution", self._executions),
            ("GET", "/api/execution/{id}/status", self._status),
            ("GET", "/api/execution/{id}/steps", self._steps),
            ("POST", "/api/execution/{id}/cancel", self._cancel),
            ("POST", "/api/execution/{id}/pause", self._pause),
            ("POST", "/api/execution/{id}/resume", self._resume),
            ("POST", "/api/execution/{id}/retry", self._retry),
            ("POST", "/api/execution/{id}/answer", self._retry),
            ("GET", "/api/admin/dead-letters", self._letters),
            ("GET", "/api/admin/dead-letters/{id}", self._letter),
            ("POST", "/api/admin/dead-letters/{id}/discard", self._discard),
            ("GET", "/api/admin/shortcomings", self._shortcomings),
            ("GET", "/api/admin/tool-events", self._tools),
            ("GET", "/api/credential", self._credentials),
            ("GET", "/api/browser-profile", self._profiles),
            ("GET", "/api/artifact/{id}", self._artifact),
            ("GET", "/api/node-types", self._node_types),
            ("GET", "/api/workflow", self._workflows),
            ("GET", "/api/workflow/{id}", self._workflow),
            ("POST", "/api/workflow/{id}/run", self._run),
        ]
        routes: list[BaseRoute] = [
            Route(path, self._guard(path, one), methods=[method]) for method, path, one in endpoints
        ]
        routes.append(WebSocketRoute("/api/execution/{id}/stream", self._stream))
        return build_app([*routes, *page_routes(self.web_dir)])

    def _guard(self, path: str, handler: Handler) -> Handler:
        async def answer(request: Request) -> Response:
            try:
                if not path.startswith("/api/auth/l") and not path.endswith("register"):
                    self._check_login(request.cookies)
                self._check_presence(path)
                return await handler(request)
            except ApiError as error:
                return problem_response(request.scope["state"]["request_id"], error)

        return answer

    def _check_login(self, cookies: dict[str, str]) -> None:
        if cookies.get(COOKIE) not in self._logins:
            raise ApiError(Code.UNAUTHENTICATED, "Nobody is signed in.")

    def _check_presence(self, path: str) -> None:
        if self.away and "/auth/" not in path:
            raise ApiError(Code.UNAVAILABLE, "Runtime does not answer.")

    async def _me(self, _request: Request) -> Response:
        return _show(
            Me(
                user=self.user,
                tenant=self.tenant,
                role=self.role,
                scopes=sorted(ROLE_SCOPES[self.role] | ({Scope.INSTALLATION} if self.shortcomings else set())),
                via="login",
                insecure=self.insecure,
            )
        )

    async def _log_in(self, request: Request) -> Response:
        if (await request.json())["password"] != PASSWORD:
            raise ApiError(Code.UNAUTHENTICATED, "Address and password do not fit.", "Check both and try again.")
        return self._grant()

    async def _redeem(self, request: Request) -> Response:
        if (await request.json())["code"] != CODE:
            raise ApiError(Code.UNAUTHENTICATED, "This link has been used or is too old.", "Ask for a new one.")
        return self._grant()

    def _grant(self) -> Response:
        grant = Grant(
            user=self.user, tenant=self.tenant, role=self.role, access_token=None, refresh_token=None, expires_in=None
        )
        response = _show(grant)
        response.set_cookie(COOKIE, self.log_in()["value"], httponly=True, samesite="lax")
        return response

    async def _log_out(self, request: Request) -> Response:
        self._logins.discard(request.cookies.get(COOKIE, ""))
        return Response(status_code=204)

    async def _pending(self, _request: Request) -> Response:
        return _page(self.intents)

    async def _cancel_intent(self, request: Request) -> Response:
        self.intents = [one for one in self.intents if str(one.intent_id) != request.path_params["id"]]
        return Response(status_code=204)

    async def _executions(self, request: Request) -> Response:
        query = request.query_params
        rows = [story.summary() for story in self.stories]
        rows = [row for row in rows if query.get("status") in (None, row.status)]
        rows = [row for row in rows if query.get("text", "").lower() in row.name.lower()]
        start, limit = int(query.get("cursor", "0")), int(query.get("limit", "50"))
        more = str(start + limit) if len(rows) > start + limit else None
        return _page(rows[start : start + limit], more)

    async def _status(self, request: Request) -> Response:
        return _show(self._find(request.path_params["id"]).snapshot())

    async def _cancel(self, request: Request) -> Response:
        story = self._find(request.path_params["id"])
        story.cancel_requested = True
        return _show(story.snapshot(), 202)

    async def _pause(self, request: Request) -> Response:
        story = self._find(request.path_params["id"])
        story.pause_requested = True
        return _show(story.snapshot(), 202)

    async def _resume(self, request: Request) -> Response:
        story = self._find(request.path_params["id"])
        story.pause_requested = False
        return _show(story.snapshot(), 202)

    async def _retry(self, request: Request) -> Response:
        """A new story that has taken over what ended well."""
        self.wishes.append(await request.json())
        before = self._find(request.path_params["id"])
        if request.url.path.endswith("/answer") and before.question is None:
            raise ApiError(Code.CONFLICT, "The question was answered already.")
        before.question = None
        self.intents = [one for one in self.intents if one.execution_id != before.execution_id]
        story = Story(before.document, is_stored=before.is_stored)
        story.retry_of = before.execution_id
        story.start()
        for node_id, state in before.states.items():
            if state is StepStatus.SUCCESS:
                story.take_over(node_id)
        self.stories.insert(0, story)
        return _show(_accept(story), 202)

    async def _steps(self, request: Request) -> Response:
        story = self._find(request.path_params["id"])
        steps = [
            {"node_id": event.step.node_id, "reused": event.step.node_id in story.reused}
            for event in story.events
            if isinstance(event, StepUpdated)
        ]
        return JSONResponse({"items": steps})

    async def _shortcomings(self, _request: Request) -> Response:
        return _show(Shortcomings(items=self.shortcomings))

    async def _tools(self, request: Request) -> Response:
        wanted = request.query_params["execution_id"]
        return _page([one for one in self.tools if str(one.execution_id) == wanted])

    async def _credentials(self, _request: Request) -> Response:
        return _page(self.credentials)

    async def _profiles(self, _request: Request) -> Response:
        return _page(self.profiles)

    async def _letters(self, request: Request) -> Response:
        decided = request.query_params.get("resolved") == "true"
        return _page([letter for letter in self.letters if (letter.resolution is not None) is decided])

    async def _letter(self, request: Request) -> Response:
        return _show(next(one for one in self.letters if str(one.execution_id) == request.path_params["id"]))

    async def _discard(self, request: Request) -> Response:
        letter = next(one for one in self.letters if str(one.execution_id) == request.path_params["id"])
        decided = letter.model_copy(update={"resolution": "discarded", "resolved_at": datetime.now(UTC)})
        self.letters = [decided if one is letter else one for one in self.letters]
        return _show(decided)

    async def _artifact(self, request: Request) -> Response:
        wanted = ArtifactId(UUID(request.path_params["id"]))
        for story in self.stories:
            if wanted in story.pictures:
                kind = next(one.media_type for one in story.artifacts if one.artifact_id == wanted)
                return Response(story.pictures[wanted], media_type=kind)
        raise ApiError(Code.NOT_FOUND, "There is no such artifact.")

    async def _node_types(self, _request: Request) -> Response:
        page = Port(name="Web Page", type=DataType.BROWSER_INSTANCE, description="The page.")
        click = NodeType(
            type="click_element",
            title="Click an element",
            group="Browser",
            icon="mouse-pointer-click",
            description="Clicks.",
            inputs=[page],
            outputs=[page],
            credits=1,
            can_be_start_node=True,
            safe=False,
            unavailable=self.unavailable,
        )
        return JSONResponse({"items": [click.model_dump(mode="json")]})

    async def _workflows(self, _request: Request) -> Response:
        return _page(self.workflows)

    async def _workflow(self, request: Request) -> Response:
        for story in self.stories:
            if str(story.workflow_id) == request.path_params["id"] and story.is_stored:
                now = story.began
                return _show(
                    Workflow(
                        workflow_id=story.workflow_id,
                        name=story.document.name,
                        description="",
                        status=WorkflowStatus.ACTIVE,
                        version=3,
                        etag="3",
                        document=story.document,
                        valid=True,
                        faults=[],
                        phases=[],
                        created_at=now,
                        updated_at=now,
                        created_by=None,
                    )
                )
        raise ApiError(Code.NOT_FOUND, "There is no such workflow.")

    async def _run(self, request: Request) -> Response:
        name = next(one.name for one in self.workflows if str(one.workflow_id) == request.path_params["id"])
        story = Story(chain(name, ["Open the shop", "Read the list"]))
        self.stories.insert(0, story)
        return _show(_accept(story), 202)

    def _find(self, execution_id: str) -> Story:
        for story in self.stories:
            if str(story.execution_id) == execution_id:
                return story
        raise ApiError(Code.NOT_FOUND, "There is no such execution.")

    async def _stream(self, socket: WebSocket) -> None:
        await socket.accept()
        self.opened.append(dict(socket.query_params))
        await self.tell()
        try:
            self._check_login(socket.cookies)
            story = self._find(socket.path_params["id"])
        except ApiError as error:
            await socket.close(4401 if error.code is Code.UNAUTHENTICATED else 4404)
            return
        self._sockets.add(socket)
        try:
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send_story(socket, story))
                try:
                    while True:
                        await socket.receive_text()
                except WebSocketDisconnect:
                    sending.cancel()
        finally:
            self._sockets.discard(socket)

    async def _send_story(self, socket: WebSocket, story: Story) -> None:
        sent = await self._greet(socket, story)
        while True:
            if fresh := story.events[sent:]:
                sent = story.head
                await socket.send_text(f"[{','.join(event.model_dump_json() for event in fresh)}]")
            if story.finished:
                await socket.close(1000)
                return
            async with self._told:
                try:
                    await asyncio.wait_for(self._told.wait(), self.ping_interval)
                except TimeoutError:
                    await socket.send_text(Ping(ts=0, seq=story.head).model_dump_json())

    async def _greet(self, socket: WebSocket, story: Story) -> int:
        query = socket.query_params
        after = int(query.get("after", "0"))
        is_known = query.get("log") in (None, str(story.log_id)) and after <= story.head
        hello = Hello(
            execution_id=story.execution_id,
            log_id=story.log_id,
            from_seq=after,
            head_seq=story.head,
            status=story.status,
            resumed=("recovered" if after else "fresh") if is_known else "reset",
            ping_interval=self.ping_interval,
        )
        await socket.send_text(hello.model_dump_json())
        if is_known:
            return after
        reset = Reset(reason="log_changed", snapshot=story.snapshot(), seq=story.head)
        await socket.send_text(reset.model_dump_json())
        return story.head


def summarise(name: str, nodes: int, *, valid: bool = True, days_old: float = 1) -> WorkflowSummary:
    """A workflow for the list."""
    then = datetime.now(UTC) - timedelta(days=days_old)
    return WorkflowSummary(
        workflow_id=Story(chain(name, ["one"])).workflow_id,
        name=name,
        description="Signs in to the demo shop, finds a lamp, buys it and reads the order number. Yours to change.",
        status=WorkflowStatus.DRAFT,
        version=3,
        valid=valid,
        nodes=nodes,
        created_at=then,
        updated_at=then,
    )


NO_LINKS = Links(**dict.fromkeys(Links.model_fields, ""))
"""The page needs none: it knows the addresses."""


def wish(minutes_old: float) -> Intent:
    """An intent that Runtime has not heard of."""
    return Intent(
        intent_id=IntentId(uuid4()),
        execution_id=Story(chain("visit", ["one"])).execution_id,
        session_id=None,
        realm="browser",
        intent="visit",
        parameters={"url": "http://localhost/"},
        status=IntentStatus.PENDING,
        error=None,
        cancel_requested=False,
        created_at=datetime.now(UTC) - timedelta(minutes=minutes_old),
        delivered_at=None,
        created_by=None,
        links=NO_LINKS,
    )


def ask(story: Story) -> Intent:
    """The intent of an execution that asks a person."""
    return wish(3).model_copy(
        update={"execution_id": story.execution_id, "status": IntentStatus.DELIVERED, "question": story.question}
    )


def bury(story: Story) -> DeadLetterDetail:
    """An execution that three workers were lost in."""
    now = datetime.now(UTC)
    runs = [
        RunRecord(
            epoch=epoch,
            worker=f"worker-{epoch}@stage-7f9c",
            started_at=now - timedelta(minutes=10 - epoch),
            ended_at=now - timedelta(minutes=9 - epoch),
            outcome="lost",
        )
        for epoch in (1, 2, 3)
    ]
    failure = Failure(
        code=FailureCode.WORKER_LOST,
        message="Three workers were lost while they ran this.",
        hint="Look at its last lines and at the nodes that were at work before you retry it.",
    )
    return DeadLetterDetail(
        execution_id=story.execution_id,
        name=story.document.name,
        workflow_id=story.workflow_id,
        workflow_version=3,
        failure=failure,
        losses=len(runs),
        died_at=now - timedelta(minutes=6),
        resolution=None,
        resolved_at=None,
        resolved_by=None,
        retried_as=None,
        runs=runs,
        in_flight=["place_order"],
    )


def lock_away(name: str, *domains: str, kind: CredentialKind = CredentialKind.LOGIN) -> Credential:
    """A credential."""
    now = datetime.now(UTC)
    return Credential(
        credential_id=CredentialId(uuid4()),
        name=name,
        kind=kind,
        fields=list(KIND_FIELDS.get(kind, ("pin", "tan"))),
        domains=list(domains),
        version=2,
        created_at=now - timedelta(days=3),
        created_by=None,
        updated_at=now,
        last_used_at=now - timedelta(hours=2) if domains else None,
    )


def save_login(name: str, *hosts: str) -> BrowserProfile:
    """A browser profile."""
    now = datetime.now(UTC)
    return BrowserProfile(
        browser_profile_id=BrowserProfileId(uuid4()),
        name=name,
        hosts=list(hosts),
        size=1_234,
        version=3,
        saved_by=ExecutionId(uuid4()),
        created_at=now - timedelta(days=3),
        updated_at=now - timedelta(hours=2),
        last_used_at=None,
    )


@asynccontextmanager
async def open_playhouse(house: Playhouse, port: int = 0) -> AsyncIterator[Served]:
    """The page on a port while the block runs; 0 finds a free one."""
    async with serve(house.app(), port) as served:
        yield served


def _accept(story: Story) -> Accepted:
    return Accepted(
        intent_id=IntentId(uuid4()),
        execution_id=story.execution_id,
        status=ExecutionStatus.PENDING,
        links=NO_LINKS,
    )


def _show(model: BaseModel, status: int = 200) -> Response:
    return Response(model.model_dump_json(), status, media_type="application/json")


def _page(items: Any, next_cursor: str | None = None) -> Response:
    return JSONResponse({"items": [item.model_dump(mode="json") for item in items], "next_cursor": next_cursor})
