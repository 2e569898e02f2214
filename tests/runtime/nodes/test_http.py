"""Requests over real sockets through the real door: methods, bodies, tries, redirects, limits, secrets."""

import base64
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from contracts.credential import CredentialKind
from contracts.execution import Artifact, ArtifactKind, FailureCode
from contracts.model import ArtifactId, ExecutionId
from contracts.workflow import Node as DrawnNode
from runtime.egress.backend import DoorBackend
from runtime.egress.door import Door
from runtime.engine.plan import is_safe
from runtime.engine.references import Reference
from runtime.node import NodeFailure, Opened
from runtime.nodes.http import HttpRequest
from tests.runtime.egress.played import Internet
from tests.runtime.nodes.stage import MemoryStage
from tests.support.api_site import Api
from tests.support.browsers import TENANT, make_permit
from tests.support.sockets import Served, serve

CANARY = 'ca"nary&1'


class HttpStage(MemoryStage):
    """A stage whose artifacts need no browser."""

    async def store_artifact(self, kind: ArtifactKind, name: str, media_type: str, data: bytes, **_: Any) -> Artifact:
        made = Artifact(
            artifact_id=ArtifactId(uuid7()),
            execution_id=ExecutionId(uuid7()),
            node_id=self.node_id,
            kind=kind,
            name=name,
            media_type=media_type,
            size=len(data),
            sha256="",
            width=None,
            height=None,
            page_url=None,
            created_at=datetime.now(UTC),
        )
        self.artifacts.append((made, data))
        return made


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def served(api: Api) -> AsyncIterator[Served]:
    async with serve(api.app()) as running:
        yield running


@pytest.fixture
async def other(api: Api) -> AsyncIterator[Served]:
    """Another origin, and to the policy another host."""
    async with serve(api.app()) as running:
        yield running


@pytest.fixture
async def stage(served: Served, other: Served) -> AsyncIterator[HttpStage]:
    door = Door()
    permit = make_permit(TENANT, f"127.0.0.1:{served.port}", f"127.0.0.1:{other.port}", "localhost")
    yield HttpStage(seconds=20, network=DoorBackend(door, permit))
    permit.close()
    door.close()


async def ask(stage: HttpStage, url: str, **inputs: Any) -> dict[str, Any]:
    named = {name.replace("_", " "): value for name, value in inputs.items()}
    return await HttpRequest().perform({"URL": url, **named}, stage)


async def fail(stage: HttpStage, url: str, **inputs: Any) -> NodeFailure:
    with pytest.raises(NodeFailure) as failed:
        await ask(stage, url, **inputs)
    return failed.value


async def test_an_answer_in_json_is_data(stage: HttpStage, served: Served) -> None:
    query = {"q": "a b&c", "many": ["1", "2"], "on": True}
    got = await ask(stage, served.http("/echo?there=1"), Query=query, Headers='{"X-One": "1"}')
    assert (got["Status"], got["Final URL"]) == (200, served.http("/echo"))
    assert got["Headers"]["content-type"] == "application/json"
    seen = got["Body"]
    assert (seen["method"], seen["query"]) == ("GET", {"there": "1", "q": "a b&c", "many": "2", "on": "true"})
    assert (seen["headers"]["x-one"], seen["headers"]["user-agent"]) == ("1", "Stagedoor")
    assert "Artifact" not in got


@pytest.mark.parametrize(
    ("kind", "body", "sent", "media_type"),
    [
        ("json", {"a": "ü"}, '{"a":"ü"}', "application/json"),
        ("json", '{"a": 1}', '{"a":1}', "application/json"),
        ("json", "plain", '"plain"', "application/json"),
        ("form", {"a": "x y", "b": ["1", "2"]}, "a=x+y&b=1&b=2", "application/x-www-form-urlencoded"),
        ("text", "as it is", "as it is", "text/plain"),
    ],
)
async def test_bodies(stage: HttpStage, served: Served, kind: str, body: Any, sent: str, media_type: str) -> None:
    got = await ask(stage, served.http("/echo"), Method="POST", Body_Type=kind, Body=body)
    assert (got["Body"]["body"], got["Body"]["headers"]["content-type"]) == (sent, media_type)


@pytest.mark.parametrize("levels", [101, 900, 5_000])
async def test_a_body_may_be_as_deep_as_it_likes_as_a_text_alone(
    stage: HttpStage, served: Served, api: Api, levels: int
) -> None:
    deep = "[" * levels + "]" * levels
    failed = await fail(stage, served.http("/echo"), Method="POST", Body=deep)
    assert (failed.code, "100 levels" in failed.message, api.asked) == (FailureCode.INVALID_INPUT, True, [])
    await ask(stage, served.http("/echo"), Method="POST", Body=deep, Body_Type="text")
    assert api.asked[-1]["body"] == deep
    odd = await fail(stage, served.http("/echo"), Headers=deep)
    assert odd.code is FailureCode.INVALID_INPUT


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_methods(stage: HttpStage, served: Served, api: Api, method: str) -> None:
    got = await ask(stage, served.http("/echo"), Method=method)
    assert (got["Status"], api.asked[-1]["method"]) == (200, method)
    assert (got["Body"] == "") is (method == "HEAD")


async def test_what_may_be_repeated_is_tried_again(stage: HttpStage, served: Served, api: Api) -> None:
    got = await ask(stage, served.http("/busy?times=2&code=502"))
    assert (got["Body"], len(stage.lines)) == ({"tried": 3}, 2)
    assert "answered 502" in stage.lines[0][1]


async def test_what_may_not_is_sent_again_only_where_it_was_not_carried_out(
    stage: HttpStage, served: Served, api: Api
) -> None:
    failed = await fail(stage, served.http("/busy?code=502"), Method="POST")
    assert (failed.code, api.counted["/busy"]) == (FailureCode.HTTP_FAILED, 1)
    api.counted.clear()
    got = await ask(stage, served.http("/busy?code=429&after=1"), Method="POST")
    assert got["Body"] == {"tried": 2}
    lost = await fail(stage, "http://localhost:3/", Method="POST", Retries=1)
    assert (lost.code, len(stage.lines)) == (FailureCode.HTTP_FAILED, 2)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("to", "failure"),
    [
        ("/busy?times=9%26code=429%26after=0", FailureCode.HTTP_FAILED),
        ("/busy?times=9%26code=503%26after=0", FailureCode.HTTP_FAILED),
        ("/status/404", FailureCode.HTTP_FAILED),
        ("http://localhost:3/", FailureCode.HTTP_FAILED),  # nobody listens there
        ("http://10.0.0.1/", FailureCode.HOST_REFUSED),
        ("ftp://localhost/", FailureCode.HTTP_FAILED),
        ("/go?to=/echo", FailureCode.HTTP_FAILED),  # one redirect too many
    ],
)
async def test_what_was_answered_with_a_redirect_may_have_been_done_whatever_comes_of_the_redirect(
    stage: HttpStage, served: Served, api: Api, code: int, to: str, failure: FailureCode
) -> None:
    """A shop takes the order and answers 303: that its page is busy then is no reason to order once more."""
    url = served.http(f"/go?code={code}&to={to}")
    failed = await fail(stage, url, Method="POST", Redirects=1, Body={"lamp": 1})
    assert (failed.code, failed.acted, stage.lines) == (failure, True, [])
    assert sum(asked["path"] == "/go" and asked["query"].get("code") is not None for asked in api.asked) == 1


async def test_what_may_be_repeated_is_tried_again_behind_a_redirect_too(
    stage: HttpStage, served: Served, api: Api
) -> None:
    to = "/busy?times=1%26code=429%26after=0"
    got = await ask(stage, served.http(f"/go?to={to}"))
    assert (got["Body"], api.counted["/go"]) == ({"tried": 2}, 2)
    api.counted.clear()
    got = await ask(stage, served.http(f"/go?code=303&to={to}"), Method="POST", Idempotency_Key=True)
    assert (got["Body"], api.counted["/go"]) == ({"tried": 2}, 2)


async def test_a_failure_behind_a_redirect_says_where_the_redirect_led(stage: HttpStage, served: Served) -> None:
    failed = await fail(stage, served.http("/go?code=303&to=/status/404"), Method="POST")
    assert failed.message.startswith(f"{served.http('/go')} led to {served.http('/status/404')}, which answered 404: ")


async def test_where_the_other_side_honours_a_key_a_post_may_be_repeated_with_the_same(
    stage: HttpStage, served: Served, api: Api
) -> None:
    got = await ask(stage, served.http("/busy?times=2&code=502"), Method="POST", Idempotency_Key=True)
    assert got["Body"] == {"tried": 3}
    keys = [asked["headers"].get("idempotency-key") for asked in api.asked]
    assert (len(keys), set(keys)) == (3, {stage.idempotency_key})
    own = {"Idempotency-Key": "mine"}
    await ask(stage, served.http("/echo"), Method="POST", Idempotency_Key=True, Headers=own)
    await ask(stage, served.http("/echo"), Method="POST")
    assert [asked["headers"].get("idempotency-key") for asked in api.asked[-2:]] == ["mine", None]


async def test_a_longer_wait_than_there_is_time_for_is_not_begun(stage: HttpStage, served: Served, api: Api) -> None:
    failed = await fail(stage, served.http("/busy?code=429&after=3600"))
    assert ("answered 429" in failed.message, api.counted["/busy"]) == (True, 1)
    assert (await ask(stage, served.http("/busy?times=9&code=503"), Retries=0, Fail_On_Error=False))["Status"] == 503


async def test_a_faulty_status_fails_or_is_handed_on(stage: HttpStage, served: Served) -> None:
    failed = await fail(stage, served.http("/status/404?token=x"))
    assert (failed.code, failed.retryable) == (FailureCode.HTTP_FAILED, False)
    assert 'answered 404: {"detail":"as you asked"}' in failed.message
    assert "token" not in failed.message
    got = await ask(stage, served.http("/status/418"), Fail_On_Error=False)
    assert (got["Status"], got["Body"]) == (418, {"detail": "as you asked"})


async def test_redirects_are_followed_as_browsers_do(stage: HttpStage, served: Served) -> None:
    to = served.http("/echo")
    got = await ask(stage, served.http(f"/go?to={to}"), Method="POST", Body={"a": 1})
    assert (got["Final URL"], got["Body"]["method"], got["Body"]["body"]) == (to, "GET", "")
    got = await ask(stage, served.http(f"/go?code=307&to={to}"), Method="POST", Body={"a": 1})
    assert (got["Body"]["method"], got["Body"]["body"]) == ("POST", '{"a":1}')
    got = await ask(stage, served.http("/go?to=/echo"), Redirects=0)
    assert (got["Status"], got["Headers"]["location"]) == (302, "/echo")
    circle = await fail(stage, served.http("/go?to=/go?to=/echo"), Redirects=1)
    assert "redirect" in circle.message
    odd = await fail(stage, served.http("/go?to=file:///etc/passwd"))
    assert (odd.code, "no http or https" in odd.message) == (FailureCode.HTTP_FAILED, True)


async def test_what_may_not_be_reached_is_not_reached_by_redirects_either(
    stage: HttpStage, served: Served, api: Api
) -> None:
    for url in (
        "http://169.254.169.254/latest",
        "http://127.0.0.1:1/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
    ):
        for asked in (url, served.http(f"/go?to={url}")):
            failed = await fail(stage, asked)
            assert (failed.code, bool(failed.hint)) == (FailureCode.HOST_REFUSED, True), asked


@pytest.mark.parametrize("port", [1, 22, 25, 6000, 6667, 10080])
async def test_ports_of_other_protocols_are_not_asked(stage: HttpStage, served: Served, api: Api, port: int) -> None:
    url = f"http://localhost:{port}/"
    led = served.http(f"/go?to={url}")
    for asked in (url, f"http://LOCALHOST.:{port}", led):
        failed = await fail(stage, asked, Method="POST")
        assert (failed.code, failed.acted) == (FailureCode.HOST_REFUSED, asked == led), asked
        assert f"port {port} belongs to another protocol" in failed.message
        assert f":{port} to STAGEDOOR_RUNTIME_ALLOWED_HOSTS" in failed.hint
    assert len(api.asked) == 1


async def test_a_port_that_the_owner_has_opened_is_asked() -> None:
    door = Door()
    for entry, code in (("localhost:6667", FailureCode.HTTP_FAILED), ("localhost", FailureCode.HOST_REFUSED)):
        permit = make_permit(TENANT, entry)
        stage = HttpStage(seconds=20, network=DoorBackend(door, permit))
        assert (await fail(stage, "http://localhost:6667/", Retries=0)).code is code
        permit.close()
    door.close()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"URL": "ftp://a.test/"}, "no http or https"),
        ({"URL": "a.test"}, "no http or https"),
        ({"URL": "https://ada:secret@a.test/"}, "name or password"),
        ({"URL": "https://a.test/", "Body": "x"}, "takes no body"),
        ({"URL": "https://a.test/", "Headers": {"Host": "b.test"}}, "not yours to set"),
        ({"URL": "https://a.test/", "Headers": {"X": "a\r\nY: b"}}, "malformed"),
    ],
)
async def test_what_makes_no_request_is_refused(stage: HttpStage, inputs: dict[str, Any], said: str) -> None:
    with pytest.raises(NodeFailure, match=said) as failed:
        await HttpRequest().perform(inputs, stage)
    assert failed.value.code is FailureCode.INVALID_INPUT
    assert "secret" not in failed.value.message


async def test_each_call_is_noted_without_its_query(stage: HttpStage, served: Served) -> None:
    url = served.http("/echo")
    await HttpRequest().perform({"Method": "POST", "URL": f"{url}?key=secret", "Body": "[1]"}, stage)
    with pytest.raises(NodeFailure):
        await HttpRequest().perform({"URL": served.http("/status/404")}, stage)
    one, two = stage.tools
    assert (one.tool, one.what, one.outcome, one.sent) == ("http_request", f"POST {url}", "ok", 3)
    assert one.received > 100
    assert (two.outcome, two.node_id) == ("http_failed", stage.node_id)


async def test_a_slow_answer_ends_in_time(stage: HttpStage, served: Served) -> None:
    failed = await fail(stage, served.http("/slow?s=9"), Timeout=0.5, Retries=0)
    assert failed.code is FailureCode.TIMEOUT


async def test_large_and_binary_answers_are_artifacts(stage: HttpStage, served: Served) -> None:
    got = await ask(stage, served.http("/bytes?size=300000&type=text/plain"))
    assert ("Body" in got, got["Artifact"]["size"], got["Artifact"]["media_type"][:10]) == (
        False,
        300_000,
        "text/plain",
    )
    got = await ask(stage, served.http("/bytes?size=10&type=image/png"))
    assert (got["Artifact"]["name"], stage.artifacts[-1][1]) == ("bytes", b"x" * 10)
    assert (await ask(stage, served.http("/bytes?size=10&type=text/plain")))["Body"] == "x" * 10


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "unicode_escape", "utf-7", "nonsense"])
async def test_an_answer_does_not_choose_a_codec_of_pythons(stage: HttpStage, served: Served, charset: str) -> None:
    """Such as punycode, which takes the square of what it is given: 260 KB would hold up every run of the worker."""
    got = await ask(stage, served.http("/bytes?size=10"), Query={"type": f"text/plain; charset={charset}"})
    assert got["Body"] == "x" * 10
    failed = await fail(
        stage, served.http("/said"), Query={"status": 404, "content-type": f"text/plain; charset={charset}"}
    )
    assert failed.message.endswith("answered 404: said-\\u0041")
    at_once = await ask(stage, served.http("/said"), Query={"content-type": f"text/plain; charset={charset}"})
    assert at_once["Body"] == "said-\\u0041"


async def test_an_answer_has_a_limit_however_it_is_packed(stage: HttpStage, served: Served) -> None:
    for path, inputs in (("/endless", {}), ("/bomb", {}), ("/bytes?size=5000", {"Max Size": 4_999})):
        tracemalloc.start()
        failed = await fail(stage, served.http(path), **{"Max Size": 1_000_000, **inputs})
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert failed.code is FailureCode.OUTPUT_TOO_LARGE
        assert path == "/bomb" or peak < 20_000_000  # the bomb is made in this process


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw"])
async def test_packed_answers_are_unpacked(stage: HttpStage, served: Served, coding: str) -> None:
    assert (await ask(stage, served.http(f"/packed/{coding}")))["Body"] == "unpacked"


@pytest.mark.parametrize("coding", ["br", "broken"])
async def test_what_can_not_be_unpacked_says_so(stage: HttpStage, served: Served, coding: str) -> None:
    assert (await fail(stage, served.http(f"/packed/{coding}"), Retries=0)).code is FailureCode.HTTP_FAILED


# --- secrets


@pytest.mark.parametrize(
    ("opened", "header", "value"),
    [
        (Opened(CredentialKind.TOKEN, {"token": CANARY}), "authorization", f"Bearer {CANARY}"),
        (
            Opened(CredentialKind.LOGIN, {"username": "ada", "password": CANARY}),
            "authorization",
            f"Basic {base64.b64encode(f'ada:{CANARY}'.encode()).decode()}",
        ),
        (Opened(CredentialKind.HEADER, {"name": "X-Key", "value": CANARY}), "x-key", CANARY),
    ],
)
async def test_a_credential_authenticates_and_stays_at_its_origin(
    stage: HttpStage, served: Served, other: Served, opened: Opened, header: str, value: str
) -> None:
    stage.opened = opened
    near = await ask(stage, served.http(f"/go?to={served.http('/echo')}"), Credential="shop", Headers={"X-Mine": "1"})
    assert near["Body"]["headers"][header] == value
    assert ("Credential", served.http(f"/go?to={served.http('/echo')}")) in stage.revealed
    far = await ask(stage, served.http(f"/go?to={other.http('/echo')}"), Credential="shop", Headers={"X-Mine": "1"})
    assert CANARY not in json.dumps(far["Body"])
    assert header not in far["Body"]["headers"]
    assert far["Body"]["headers"]["x-mine"] == "1"


async def test_references_are_filled_in_and_stay_at_their_origin(
    stage: HttpStage, served: Served, other: Served, api: Api
) -> None:
    named = {Reference("shop", "token"): CANARY}
    stage.credentials = {"Headers": named, "Body": named, "Query": named}
    text = "{{credential.shop.token}}"
    inputs: dict[str, Any] = {"Headers": {"X-Key": text}, "Query": {"key": text}, "Body": f'{{"pin": "<{text}>"}}'}
    got = await ask(stage, served.http("/echo"), Method="POST", **inputs)
    seen = got["Body"]
    assert (seen["headers"]["x-key"], seen["query"]["key"]) == (CANARY, CANARY)
    assert json.loads(seen["body"]) == {"pin": f"<{CANARY}>"}
    assert CANARY not in got["Final URL"]
    api.asked.clear()
    failed = await fail(stage, served.http(f"/go?code=308&to={other.http('/echo')}"), Method="POST", **inputs)
    assert (failed.code, len(api.asked)) == (FailureCode.CREDENTIAL_REFUSED, 1)
    got = await ask(stage, served.http(f"/go?code=303&to={other.http('/echo')}"), Method="POST", **inputs)
    assert CANARY not in json.dumps(got["Body"])


async def test_fields_alone_say_nothing_about_how_they_are_sent(stage: HttpStage, served: Served) -> None:
    stage.opened = Opened(CredentialKind.FIELDS, {"pin": CANARY})
    failed = await fail(stage, served.http("/echo"), Credential="bank")
    assert ("{{credential.bank.FIELD}}" in failed.hint, CANARY in failed.message) == (True, False)


@pytest.mark.parametrize(
    ("inputs", "safe"),
    [
        ({}, True),
        ({"Method": "HEAD"}, True),
        ({"Method": None}, True),
        ({"Method": "PUT"}, True),
        ({"Method": "DELETE"}, True),
        ({"Method": "POST"}, False),
        ({"Method": "PATCH"}, False),
        ({"Method": "POST", "Idempotency Key": True}, True),
    ],
)
def test_whether_it_may_run_twice_hangs_on_its_method_and_the_other_side(inputs: dict[str, str], *, safe: bool) -> None:
    node = DrawnNode.model_validate({"id": "n", "type": "http_request", "data": {"inputs": inputs}})
    assert is_safe(node, HttpRequest.describe(), []) is safe


class FullStage(HttpStage):
    """A stage without room for artifacts."""

    async def store_artifact(self, kind: ArtifactKind, name: str, media_type: str, data: bytes, **_: Any) -> Artifact:
        raise NodeFailure(FailureCode.ARTIFACT_STORE, "The disk is full.", "Make room.")


async def test_a_failure_says_whether_the_other_side_may_have_acted(stage: HttpStage, served: Served) -> None:
    late = await fail(stage, served.http("/slow?s=3"), Method="POST", Timeout=0.3)
    assert (late.code, late.acted) == (FailureCode.TIMEOUT, True)
    assert (await fail(stage, served.http("/status/500"), Method="POST")).acted
    assert not (await fail(stage, served.http("/status/422"), Method="POST")).acted
    assert not (await fail(stage, "http://10.0.0.1/", Method="POST")).acted


async def test_an_answer_without_room_is_of_a_request_that_was_sent(stage: HttpStage, served: Served) -> None:
    full = FullStage(seconds=20, network=stage.network)
    failed = await fail(full, served.http("/bytes?size=2000000"), Method="POST")
    assert (failed.code, failed.acted) == (FailureCode.ARTIFACT_STORE, True)


async def test_what_cookies_hold_is_masked_and_what_they_are_is_not(stage: HttpStage, served: Served) -> None:
    said = ["sid=s3cr3t==; Path=/; HttpOnly", "lang=; Max-Age=0", "b4re-s3cr3t", f"{CANARY}=s3cr3t"]
    got = await ask(stage, served.http("/cookies"), Query={"set": said})
    kept = f"sid=[cookie]; Path=/; HttpOnly, lang=; Max-Age=0, [cookie], {CANARY}=[cookie]"
    assert got["Headers"]["set-cookie"] == kept


async def test_a_host_that_does_not_exist_is_not_asked_for_again() -> None:
    internet = Internet()
    permit = make_permit(TENANT)
    stage = HttpStage(seconds=20, network=DoorBackend(internet.door(), permit))
    failed = await fail(stage, "https://nosuch.example/v1", Method="POST", Retries=2)
    assert (failed.code, failed.retryable, failed.acted) == (FailureCode.HOST_NOT_FOUND, False, False)
    assert failed.message == "There is no host “nosuch.example”: its name does not resolve."
    assert "spelling" in failed.hint
    assert (internet.asked, stage.lines) == (["nosuch.example"], [])


async def test_a_resolver_that_does_not_answer_is_asked_again() -> None:
    internet = Internet(silence=socket.EAI_AGAIN)
    stage = HttpStage(seconds=20, network=DoorBackend(internet.door(), make_permit(TENANT)))
    failed = await fail(stage, "https://nosuch.example/v1", Retries=1)
    assert failed.code is FailureCode.HTTP_FAILED
    assert "its name can't be resolved now" in failed.message
    assert len(internet.asked) == 2
