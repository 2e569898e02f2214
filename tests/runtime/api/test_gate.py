"""Without Experience's signed token Runtime says nothing but that it is alive."""

import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uuid_utils.compat import uuid7

from contracts.model import TenantId
from contracts.wiring.internal import InternalSigner
from runtime.app import Ground


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/realms"),
        ("GET", "/api/runtime/executions"),
        ("POST", "/api/runtime/executions"),
        ("DELETE", "/api/runtime/executions"),
        ("GET", "/api/runtime/agents-internal"),
        ("GET", "/"),
        ("GET", "/health/"),
        ("GET", "/metrics/x"),
        ("OPTIONS", "/api/realms"),
        ("GET", "/docs"),
    ],
)
async def test_everything_else_answers_401(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["x-request-id"]


def forge(key: Ed25519PrivateKey, **changes: object) -> str:
    now = int(time.time())
    claims = {
        "aud": "stagedoor-runtime",
        "iat": now,
        "exp": now + 60,
        "tenant": str(uuid7()),
        "sub": "",
        "rid": "r",
        **changes,
    }
    return jwt.encode(claims, key, algorithm="EdDSA")


async def test_only_a_live_token_of_ours_opens(http: httpx.AsyncClient, key: Ed25519PrivateKey) -> None:
    good = await http.get("/api/realms", headers={"authorization": f"Bearer {forge(key)}"})
    assert good.status_code == 200
    stranger = Ed25519PrivateKey.generate()
    for token in (
        forge(stranger),
        forge(key, exp=int(time.time()) - 60),
        forge(key, aud="stagedoor"),
        forge(key, tenant="../.."),
        jwt.encode({"aud": "stagedoor-runtime"}, "x" * 32, algorithm="HS256"),
        "",
        "Bearer",
    ):
        refused = await http.get("/api/realms", headers={"authorization": f"Bearer {token}"})
        assert refused.status_code == 401
    basic = await http.get("/api/realms", headers={"authorization": f"Basic {forge(key)}"})
    assert basic.status_code == 401


async def test_with_a_token_unknown_paths_are_unknown(http: httpx.AsyncClient, signer: InternalSigner) -> None:
    token = signer.token(tenant_id=TenantId(uuid7()), user_id=None, request_id="r")
    headers = {"authorization": f"Bearer {token}"}
    assert (await http.get("/api/runtime/agents-internal", headers=headers)).status_code == 404
    assert (await http.delete("/api/realms", headers=headers)).status_code == 405


async def test_health_needs_no_token(http: httpx.AsyncClient, ground: Ground) -> None:
    assert (await http.get("/health")).json() == {"status": "ok", "checks": {}}
    ready = await http.get("/ready")
    unheard = "LISTEN can't be reached; readers look by themselves."  # nobody runs the wake-ups here
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["checks"] == {"database": "ok", "wake-ups": unheard}
    ground.telemetry.leases.inc()
    figures = (await http.get("/metrics")).text
    assert "worker_leases 1.0" in figures
    assert 'http_requests_total{method="GET",route="/health",status="200"} 1.0' in figures
