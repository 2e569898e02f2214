"""Whether a stack can be used, asked as a visitor would."""

import http
import http.client
import json

from experience.cli.ports import LOOPBACK

PROBE_TIMEOUT_S = 5.0
DISPENSABLE = {"page"}
"""Without it the API works, and every path says how to build it."""


def probe_readiness(port: int) -> dict[str, str]:
    """What the stack behind `port` still lacks, each with the reason; empty when it is ready."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/ready", headers={"Host": f"localhost:{port}"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return {"traefik": "does not answer"}
    finally:
        connection.close()
    if answer.status == http.HTTPStatus.OK:
        return {}
    try:
        checks = dict(json.loads(body)["checks"])
    except (ValueError, KeyError, TypeError):  # Traefik's own 404 or 502
        return {"experience": "does not answer"}
    return {name: str(reason) for name, reason in checks.items() if reason != "ok"}
