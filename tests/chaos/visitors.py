"""People and programs outside: they submit until they are answered, and watch until they are told that it is over."""

import asyncio
import json
import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.chaos.documents import Document
from tests.chaos.ledger import Ledger, Sighting

PASSWORD = "correct horse battery"
PATIENCE_S = 120.0
"""How long a visitor goes on trying before the stack has failed it."""
JITTER_S = 1.0
"""Between a cut and the next attempt, as the close codes ask for."""
_ABNORMAL = 1006
_DONE = 1000
_NO_EVENTS = frozenset({"hello", "ping", "pong", "reset", "auth_expiring", "fault"})
_RETRY = frozenset({429, 502, 503, 504})
"""Come again later. A 500 is none of them: that is a fault of ours, whatever was broken."""
_NO_ROUTES_YET = "404 page not found"
"""Traefik's own words: it listens a moment before it has read its routes. None of ours answers in plain text."""

Json = dict[str, Any]
Start = Literal["failed", "node", "beginning"]


class Questioned(Exception):  # noqa: N818 — an answer like any other
    """Nodes of which only a person knows whether they happened."""

    def __init__(self, node_ids: list[str]) -> None:
        super().__init__(", ".join(node_ids))
        self.node_ids = node_ids


class Answered(Exception):  # noqa: N818 — an answer like any other
    """Somebody has said it before: a question is answered once."""


@dataclass
class Visitor:
    """Somebody with a tenant of their own."""

    url: str
    http: httpx.AsyncClient
    tenant_id: str
    token: str
    ledger: Ledger
    watching: list["asyncio.Task[Sighting]"] = field(default_factory=list)

    # --- asking

    async def ask(self, method: str, path: str, body: Json | None = None, key: str | None = None) -> httpx.Response:
        """Ask until there is an answer that is not about the weather; writes need a key to be repeated safely."""
        headers = {"idempotency-key": key} if key else {}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = await self.http.request(method, path, json=body, headers=headers)
            except httpx.TransportError as error:
                said = type(error).__name__
            else:
                if answer.status_code not in _RETRY and answer.text.strip() != _NO_ROUTES_YET:
                    return answer
                said = answer.text
            assert time.monotonic() < deadline, f"{method} {path} was not answered: {said}"
            await asyncio.sleep(random.uniform(0.1, 0.4))

    async def save(self, document: Document) -> str:
        """Keep a workflow; returns its id."""
        answer = await self.ask("POST", "/api/workflow", document, key=uuid4().hex)
        assert answer.status_code == 201, answer.text
        assert answer.json()["valid"], answer.json()["faults"]
        return str(answer.json()["workflow_id"])

    async def run(self, workflow_id: str, key: str | None = None) -> str:
        """Start a workflow, with one key however often it has to be asked; returns the execution's id."""
        body = {"realm": "workflow", "intent": "run", "parameters": {"workflow_id": workflow_id}}
        answer = await self.ask("POST", "/api/intent", body, key=key or uuid4().hex)
        assert answer.status_code == 202, answer.text
        execution_id = str(answer.json()["execution_id"])
        self.ledger.accepted[execution_id] = self.tenant_id
        return execution_id

    async def start(self, document: Document) -> str:
        """Keep a workflow and run it."""
        return await self.run(await self.save(document))

    async def cancel(self, execution_id: str) -> None:
        """Ask for the end; one that has ended meanwhile is fine."""
        answer = await self.ask("POST", f"/api/execution/{execution_id}/cancel", {"reason": "chaos"})
        assert answer.status_code in {202, 409}, answer.text

    async def turn(self, execution_id: str, verb: Literal["pause", "resume"]) -> None:
        """Pause or resume; one that can't be, by now, is fine."""
        answer = await self.ask("POST", f"/api/execution/{execution_id}/{verb}", {})
        assert answer.status_code in {202, 404, 409}, answer.text

    async def retry(self, execution_id: str, start_at: Start, *, node_id: str | None = None) -> str:
        """Do it once more; returns the new execution's id.

        Raises:
            Questioned: a person has to say more.
            Answered: of a node of which a person has said it all before.
        """
        return await self._again(f"/api/execution/{execution_id}/retry", _begin(start_at, node_id))

    async def retry_all_the_same(
        self, execution_id: str, questioned: list[str], start_at: Start = "failed", *, node_id: str | None = None
    ) -> str:
        """As `retry`; a person says of those nodes, and of others it is asked about, to run them."""
        known = set(questioned)
        while True:
            try:
                body = {**_begin(start_at, node_id), "answers": dict.fromkeys(known, "run_again")}
                return await self._again(f"/api/execution/{execution_id}/retry", body)
            except Questioned as more:
                if known.issuperset(more.node_ids):
                    raise
                known |= set(more.node_ids)

    async def answer(self, execution_id: str, answer: Literal["happened", "run_again"]) -> str:
        """Answer its question; returns the id of the execution that goes on."""
        return await self._again(f"/api/execution/{execution_id}/answer", {"answer": answer})

    async def _again(self, path: str, body: Json) -> str:
        answer = await self.ask("POST", path, body, key=uuid4().hex)
        if answer.status_code == 409 and (faults := answer.json().get("faults")):
            raise Questioned([fault["node_id"] for fault in faults if fault["rule"] == "answer_needed"])
        if answer.status_code == 409 and "answered already" in answer.json()["detail"]:
            raise Answered
        assert answer.status_code == 202, answer.text
        execution_id = str(answer.json()["execution_id"])
        self.ledger.accepted[execution_id] = self.tenant_id
        return execution_id

    async def status(self, execution_id: str) -> Json:
        """How it stands."""
        answer = await self.ask("GET", f"/api/execution/{execution_id}/status?tenant_id={self.tenant_id}")
        assert answer.status_code == 200, answer.text
        body: Json = answer.json()
        return body

    async def ended(self, execution_id: str, patience_s: float = PATIENCE_S) -> Json:
        """How it stands once nothing can follow."""
        deadline = time.monotonic() + patience_s
        while (status := await self.status(execution_id))["finished_at"] is None:
            assert time.monotonic() < deadline, f"{execution_id} did not end: {status}"
            await asyncio.sleep(0.1)
        return status

    # --- watching

    def watch(self, execution_id: str, **options: Any) -> Sighting:
        """Watch from the beginning to the end, in the background, however often the line is cut."""
        sighting = Sighting(execution_id)
        self.ledger.sightings.append(sighting)
        self.watching.append(asyncio.create_task(self._watch(sighting, **options)))
        return sighting

    async def seen(self, patience_s: float = PATIENCE_S) -> None:
        """Until every watch of this visitor is over. Raises what went wrong in one."""
        watching, self.watching = self.watching, []
        async with asyncio.timeout(patience_s):
            await asyncio.gather(*watching)

    async def _watch(
        self,
        sighting: Sighting,
        *,
        pause_s: float = 0.0,
        jitter_s: float = JITTER_S,
        gate: asyncio.Event | None = None,
        url: str | None = None,
    ) -> Sighting:
        """As `watch`, at the front door or at another `url`.

        With a `gate` nothing is read before it opens, and the kernel takes little.
        """
        log_id: str | None = None
        while not sighting.done:
            path = f"/api/execution/{sighting.execution_id}/stream?after={sighting.head}"
            address = f"{(url or self.url).replace('http', 'ws', 1)}{path}" + (f"&log={log_id}" if log_id else "")
            try:
                stalled = {"max_queue": 1, "ping_interval": None, "sock": make_small_socket(address)} if gate else {}
                async with open_line(address, self.token, **stalled) as line:
                    if gate is not None:
                        await gate.wait()
                    log_id = await self._read(line, sighting, log_id, pause_s)
            except (OSError, TimeoutError, InvalidHandshake, EOFError):
                sighting.closes.append(_ABNORMAL)
            if not sighting.done:
                await asyncio.sleep(random.uniform(0, jitter_s))
        return sighting

    async def _read(self, line: ClientConnection, sighting: Sighting, log_id: str | None, pause_s: float) -> str | None:
        try:
            async for text in line:
                frame = json.loads(text)
                match frame["type"]:
                    case "hello":
                        sighting.opened.append(time.monotonic())
                        log_id = frame["log_id"]
                    case "reset":
                        sighting.resets += 1
                    case kind if kind not in _NO_EVENTS:
                        sighting.seqs.append(frame["seq"])
                        sighting.bodies.append(frame)
                        sighting.arrived.append(time.time())
                        await asyncio.sleep(pause_s)
                    case _:
                        pass
        except ConnectionClosed:
            pass
        code = line.close_code or _ABNORMAL
        sighting.closes.append(code)
        sighting.done = code == _DONE
        assert code < 4_400 or code in {4_401, 4_408, 4_429}, f"refused with {code}: {line.close_reason}"
        return log_id


def _begin(start_at: Start, node_id: str | None) -> Json:
    """Nodes that have changed meanwhile, of which there are none here, would run again, too."""
    return {"start_at": start_at, "node_id": node_id, "version": "latest" if node_id else "same"}


def make_small_socket(address: str) -> socket.socket:
    """A connection that takes next to nothing before the sender has to wait."""
    parts = urlsplit(address)
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.connect((parts.hostname, parts.port))
    made.setblocking(False)  # noqa: FBT003
    return made


@asynccontextmanager
async def open_line(address: str, token: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket that notices within seconds that nobody is there any more."""
    async with connect(
        address,
        additional_headers={"authorization": f"Bearer {token}"},
        proxy=None,
        compression=None,
        open_timeout=10,
        close_timeout=1,
        **({"ping_interval": 5, "ping_timeout": 10} | options),
    ) as line:
        yield line


@asynccontextmanager
async def visiting(url: str, ledger: Ledger) -> AsyncIterator[Visitor]:
    """Register somebody, through the front door."""
    async with httpx.AsyncClient(base_url=url, timeout=15) as http:
        body = {"email": f"{uuid4().hex[:12]}@chaos.test", "password": PASSWORD}
        answer = await http.post("/api/auth/register", json=body, timeout=60)
        assert answer.status_code == 201, answer.text
        token = answer.json()["access_token"]
        http.headers["authorization"] = f"Bearer {token}"
        visitor = Visitor(url, http, answer.json()["tenant"]["tenant_id"], token, ledger)
        try:
            yield visitor
        finally:
            for task in visitor.watching:
                task.cancel()
            await asyncio.gather(*visitor.watching, return_exceptions=True)
