"""The same-site rule, case by case. Pure."""

import pytest

from experience.auth.origin import Origins

OURS = "https://stagedoor.test"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # no browser
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),  # typed into the address bar, a bookmark
        ({"sec-fetch-site": "same-site"}, False),  # a sibling subdomain: its requests carry the cookie
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "something-new"}, False),
        ({"origin": OURS}, True),
        ({"origin": OURS, "sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://evil.test"}, False),
        ({"origin": "https://evil.test", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "https://evil.stagedoor.test", "sec-fetch-site": "same-site"}, False),
        ({"origin": "http://stagedoor.test"}, False),  # another scheme
        ({"origin": "https://stagedoor.test:8443"}, False),  # another port
        ({"origin": "https://stagedoor.test.evil.test"}, False),
        ({"origin": "null"}, False),  # a sandboxed frame, a file
        ({"origin": ""}, False),
    ],
)
def test_writes(headers: dict[str, str], *, allowed: bool) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert Origins(OURS).allow_write(method, headers) is allowed
    for method in ("GET", "HEAD", "OPTIONS"):
        assert Origins(OURS).allow_write(method, headers)


@pytest.mark.parametrize(
    ("public_url", "origin", "own"),
    [
        ("http://localhost:8080", "http://localhost:8080", True),
        ("http://localhost:8080", "http://127.0.0.1:8080", True),
        ("http://127.0.0.1:8080", "http://localhost:8080", True),
        ("http://127.0.0.1:8080", "http://[::1]:8080", True),
        ("http://localhost:8080", "http://localhost:8081", False),
        ("http://localhost:8080", "https://localhost:8080", False),
        ("http://localhost:8080", "http://localhost.evil.test:8080", False),
        ("http://localhost", "http://127.0.0.1", True),
        (OURS, "https://localhost", False),
        (OURS, "https://127.0.0.1", False),
    ],
)
def test_a_local_installation_answers_to_all_its_local_names(public_url: str, origin: str, *, own: bool) -> None:
    assert Origins(public_url).are_own(origin) is own


def test_a_socket_with_a_cookie_needs_our_own_origin() -> None:
    origins = Origins(OURS)
    assert origins.allow_socket({"origin": OURS}, with_cookie=True)
    assert not origins.allow_socket({}, with_cookie=True)
    assert origins.allow_socket({}, with_cookie=False)
    for with_cookie in (True, False):
        assert not origins.allow_socket({"origin": "https://evil.test"}, with_cookie=with_cookie)
