"""Streams of the composed tier: who gets in, by which credential, and what an undelivered intent shows."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.front import PASSWORD
from tests.support.house import House, Visitor, register
from tests.support.sockets import open_socket, read_close, read_frame


@pytest.fixture
async def ada(house: House) -> AsyncIterator[Visitor]:
    visitor = await register(house)
    yield visitor
    await visitor.http.aclose()


@pytest.fixture
async def waiting(house: House, ada: Visitor) -> str:
    """An execution that Ada asked for while Runtime is away."""
    house.runtime.down()
    accepted = await ada.accepted()
    return str(accepted["execution_id"])


def url(house: House, execution_id: str, query: str = "") -> str:
    return f"ws://localhost:{house.port}/api/execution/{execution_id}/stream{query}"


async def hello_of(address: str, **options: Any) -> Any:
    async with open_socket(address, **options) as client:
        return await read_frame(client, 15)


async def test_what_runtime_has_not_heard_of_says_hello_and_waits(house: House, ada: Visitor, waiting: str) -> None:
    hello = await hello_of(url(house, waiting), additional_headers={"authorization": f"Bearer {ada.token}"})
    assert hello == {
        "type": "hello",
        "execution_id": waiting,
        "log_id": None,
        "from_seq": 0,
        "head_seq": 0,
        "status": "pending",
        "resumed": "fresh",
        "ping_interval": 30.0,
    }


async def test_a_ticket_opens_one_socket(house: House, ada: Visitor, waiting: str) -> None:
    ticket = (await ada.http.post("/api/auth/ticket")).json()["ticket"]
    offered = [f"stagedoor.ticket.{ticket}", "stagedoor"]
    async with open_socket(url(house, waiting), subprotocols=offered) as client:
        assert client.subprotocol == "stagedoor"
        assert (await read_frame(client, 15))["type"] == "hello"
    async with open_socket(url(house, waiting), subprotocols=offered) as client:
        assert (await read_close(client))[0] == 4401


async def test_a_token_in_the_query_opens_the_guides_stream_only(house: House, ada: Visitor, waiting: str) -> None:
    native = url(house, waiting, f"?token={ada.token}")
    async with open_socket(native) as client:
        assert (await read_close(client))[0] == 4401
    # and beside a credential that counts it is a parameter that this stream does not know
    async with open_socket(native, additional_headers={"authorization": f"Bearer {ada.token}"}) as client:
        assert (await read_close(client))[0] == 4400
    guide = f"ws://localhost:{house.port}/api/ws/executions/{waiting}?token={ada.token}"
    async with open_socket(guide) as client:
        await client.send("ping")
        assert await read_frame(client, 15) == {"type": "pong"}


async def test_a_login_cookie_needs_the_pages_own_origin(house: House, waiting: str, ada: Visitor) -> None:
    me = (await ada.http.get("/api/auth/me")).json()
    async with house.visit() as browser:
        own = {"origin": f"http://localhost:{house.port}"}
        body = {"email": me["user"]["email"], "password": PASSWORD, "transport": "cookie"}
        signed_in = await browser.post("/api/auth/login", json=body, headers=own)
        assert signed_in.status_code == 200, signed_in.text
        cookie = {"cookie": signed_in.headers["set-cookie"].split(";")[0]}
    assert (await hello_of(url(house, waiting), additional_headers=cookie, origin=own["origin"]))["type"] == "hello"
    for origin in ("https://evil.example", f"http://localhost:{house.port + 1}", "null", None):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url(house, waiting), additional_headers=cookie, origin=origin, proxy=None).__aenter__()  # type: ignore[arg-type]  # a NewType of str
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic eDp5"}])
async def test_without_a_credential_that_counts_it_closes_with_4401(house: House, headers: dict[str, str]) -> None:
    async with open_socket(url(house, str(uuid4())), additional_headers=headers) as client:
        code, reason, frames = await read_close(client)
    assert (code, reason["code"], reason["retry"], frames) == (4401, "unauthenticated", False, [])


async def test_unknown_and_foreign_executions_are_told_alike(house: House, ada: Visitor) -> None:
    accepted = await ada.accepted()
    eve = await register(house)
    answers = []
    for execution_id in (str(uuid4()), accepted["execution_id"], "exec-123"):
        bearer = {"authorization": f"Bearer {eve.token}"}
        async with open_socket(url(house, execution_id), additional_headers=bearer) as client:
            answers.append(await read_close(client, 15))
    await eve.http.aclose()
    assert answers[0][0] == 4404
    assert answers == answers[:1] * 3


@pytest.mark.parametrize("door", ["execution/{}/stream", "ws/executions/{}"])
async def test_what_runtime_has_pruned_is_unknown(house: House, ada: Visitor, door: str) -> None:
    accepted = await ada.accepted()
    assert (await ada.intent(accepted))["status"] == "delivered"
    del house.runtime.executions[ada.tenant_id][UUID(accepted["execution_id"])]
    address = f"ws://localhost:{house.port}/api/{door.format(accepted['execution_id'])}"
    async with open_socket(address, additional_headers={"authorization": f"Bearer {ada.token}"}) as client:
        code, reason, _ = await read_close(client, 15)
    assert (code, reason["code"], reason["retry"]) == (4404, "not_found", False)


async def test_plain_http_on_a_stream_is_told_what_it_is(house: House, ada: Visitor) -> None:
    answer: httpx.Response = await ada.http.get(f"/api/execution/{uuid4()}/stream")
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
