"""What lets somebody in is told by where it stands, and all else that sites keep is left alone."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from runtime.masking import Redactor
from runtime.tokens import MAX_LENGTH, MAX_READ, MAX_TOKEN_CHARACTERS, MAX_TOKENS, find_tokens
from tests.support.growth import FOURFOLD_LIMIT, measure_growth

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.4bXrW1f-Q0_2mYk9sZ7t"
JWE = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..48V1_ALb6US04U3b.5eym8TW_c8SuK0ltJ3rpYIzOeDQz7TALvtu6UG9oMo4.XFBoMYUZodet"
)
HEX = "9f86d081884c7d65"
UUID = "0b9c3f8e-51d2-4a77-9c1e-2f6a8d0b7e41"
SLUG = "iphone-15-pro-max-256gb"


def keep(cookies: dict[str, str] | None = None, hidden: dict[str, str] | None = None, **stored: str) -> dict[str, Any]:
    """A state with cookies, with those that pages can't read, and with local storage."""
    return {
        "cookies": [
            *({"name": name, "value": value, "httpOnly": False} for name, value in (cookies or {}).items()),
            *({"name": name, "value": value, "httpOnly": True} for name, value in (hidden or {}).items()),
        ],
        "origins": [
            {"origin": "https://a.test", "localStorage": [{"name": n, "value": v} for n, v in stored.items()]},
        ],
    }


def keep_record(key: Any, **value: Any) -> dict[str, Any]:
    stores = [{"name": "s", "autoIncrement": False, "records": [{"key": key, **value}], "indexes": []}]
    return {"origins": [{"origin": "https://a.test", "indexedDB": [{"name": "n", "version": 1, "stores": stores}]}]}


ORDINARY = {
    "slugs": keep(recentlyViewed=json.dumps([SLUG, "lamp-2024-best-of-the-year"]), last_product=SLUG),
    "hosts": keep({"edge": "api2.example.org:8443"}, apiHost="api2.example.org", cdn="https://cdn3.example.org/v2/a1"),
    "files": keep(lastUpload="report-2026-q3-final.pdf", upload0=json.dumps({"name": "IMG_20260131_1842.jpeg"})),
    "analytics": keep(
        {"_ga": "GA1.2.1283746501.1732891234", "_fbp": "fb.1.1732891234567.1283746501", "ajs_anonymous_id": UUID},
        ajs_anonymous_id=json.dumps(UUID),
        mixpanel=json.dumps({"distinct_id": UUID, "$device_id": "18c1f2ab3d4e5f"}),
    ),
    "forgery": keep(
        {"XSRF-TOKEN": HEX + UUID, "csrftoken": "Zb3xY" * 4 + HEX, "csrf_token": HEX + "ab"},
        {"__Host-psifi.x-csrf-token": f"{HEX}%7C{HEX}"},
        csrfToken=HEX + UUID,
        auth=json.dumps({"csrf": {"token": HEX + UUID}, "xsrfToken": HEX + "cd"}),
    ),
    "words that only begin so": keep(
        {"author": SLUG, "tokenizer": "cl100k_base_v2_2026", "monkey": SLUG, "keyboard": "qwertz-102-de-model-b"},
        author=SLUG,
        tokenizer="cl100k_base_v2_2026",
        accessory=SLUG,
        passwordless="magic-link-2026-beta-1",
    ),
    "beside tokens": keep(
        auth=json.dumps(
            {
                "user": {
                    "name": "Augusta Ada King-Noel",
                    "mail": "augusta.ada.king@example.org",
                    "roles": ["administrators"],
                },
                "scope": "openid profile email offline_access",
                "tokenEndpoint": "https://login.example.org/oauth2/token",
                "sessionExpires": "2026-11-29T18:58:55.123Z",
            }
        ),
    ),
    "keys of cookies only": keep(key=SLUG, sid=SLUG),
    "short, or of few characters": keep(
        {"session": "9f86d081884c7d6"},
        {"id": "a1" * 12, "chosen": "%7B%22lang%22%3A%22de%22%7D"},
        token="A1" + "b2" * MAX_LENGTH,
    ),
    "files that look like web tokens": keep(file="eyJquery.eyJ.min.js", version="eyJ.1.2"),
    "a database": keep_record("recent", value={"product": SLUG, "visitor": UUID}),
}


@pytest.mark.parametrize("state", ORDINARY.values(), ids=ORDINARY)
def test_what_ordinary_sites_store_is_left_alone(state: dict[str, Any]) -> None:
    assert find_tokens(state) == ([], True)


def test_a_form_s_token_and_a_slug_reach_later_nodes_as_they_are() -> None:
    form = HEX + UUID
    session = "s%3Aq8Zr1tYw.bX0%2FvN3kLmP5"
    state = keep({"csrftoken": form, "seen": SLUG}, {"connect.sid": session}, recent=json.dumps([SLUG]))
    redactor = Redactor()
    redactor.add_tokens("profile.shop", find_tokens(state).tokens)
    read = {"Token": form, "Link": f"https://api2.example.org/p/{SLUG}?visitor={UUID}"}
    assert redactor.clean(read) == read
    told = f"{session} s:q8Zr1tYw.bX0/vN3kLmP5"
    assert redactor.clean(told) == "[profile.shop] [profile.shop]"


@pytest.mark.parametrize(
    "name",
    [
        "session",
        "user_session",
        "SESSIONID",
        "authToken",
        "auth-token",
        "app.sid",
        "JWT",
        "jwt2",
        "AppSecret",
        "api_key",
    ],
)
@pytest.mark.parametrize("value", [HEX, UUID, SLUG, "q8Zr1tYw0q%2FbX0==", '"q8Zr1tYwvbX0kLm3"'])
def test_a_cookie_that_is_called_a_session_is_one(name: str, value: str) -> None:
    assert find_tokens(keep({name: value})) == ([value.strip('"')], True)


def test_a_cookie_that_pages_can_t_read_is_one_whatever_it_is_called() -> None:
    assert find_tokens(keep({}, {"a": SLUG})) == ([SLUG], True)


@pytest.mark.parametrize("token", [JWT, JWE])
@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda token: f"Bearer {token}",
        lambda token: json.dumps({"user": {"id": token}}),
        lambda token: json.dumps(json.dumps({"a": token})),
        lambda token: quote(json.dumps({"a": token}), safe=""),
        lambda token: f"https://a.test/{SLUG}?state%3D{token}&next=1",
        lambda token: f"en {token}. And on",
    ],
)
def test_a_web_token_is_found_wherever_it_stands(token: str, write: Any) -> None:
    for state in (
        keep({"locale": write(token)}),
        keep(locale=write(token)),
        keep({"csrf": write(token)}),
        keep_record("k", value=[{"a": write(token)}]),
    ):
        assert find_tokens(state) == ([token], True)


@pytest.mark.parametrize("token", [HEX, UUID, "Zm9v+YmF5/YmF6cXV4MTIz=="])
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("token", str),
        ("accessToken", str),
        ("refresh_token", json.dumps),
        ("shop:auth", lambda token: f"Bearer {token}"),
        ("API-KEY", str),
        ("apiKey", str),
        ("@@auth0spajs@@::a", lambda token: json.dumps({"body": {"access_token": token, "scope": "openid email"}})),
        ("persist:root", lambda token: json.dumps({"auth": json.dumps({"user": {"id": 1, "value": token}})})),
        ("oidc.user", lambda token: quote(json.dumps({"session": [token]}))),
        ("login", lambda token: json.dumps({"password": token})),
    ],
)
def test_a_text_under_a_key_that_is_called_a_token_is_one(name: str, write: Any, token: str) -> None:
    assert find_tokens(keep(**{name: write(token)})) == ([token], True)


@pytest.mark.parametrize(
    "state",
    [
        keep_record("token", value=HEX),
        keep_record(1, value={"fbase_key": "a", "stsTokenManager": {"refreshToken": HEX}}),
        keep_record(1, valueEncoded={"o": [{"k": "refreshToken", "v": HEX}], "id": 1}),
        keep_record(1, valueEncoded={"o": [{"k": "auth", "v": {"o": [{"k": "value", "v": HEX}], "id": 2}}], "id": 1}),
    ],
)
def test_databases_are_read_as_they_are_written(state: dict[str, Any]) -> None:
    assert find_tokens(state) == ([HEX], True)


def test_cookies_that_pages_can_t_read_come_first_and_databases_last() -> None:
    state = keep({"token": "other0cookie1token2x"}, {"a": "hidden0cookie1token2"}, token="local0storage1token2x")
    state["origins"] += keep_record("token", value="database0token1xyz")["origins"]
    expected = ["hidden0cookie1token2", "other0cookie1token2x", "local0storage1token2x", "database0token1xyz"]
    assert find_tokens(state) == (expected, True)


def test_each_is_named_once_and_an_empty_state_has_none() -> None:
    assert find_tokens(keep({"session": HEX}, {"a": HEX}, token=HEX)) == ([HEX], True)
    assert find_tokens({}) == ([], True)


def test_no_more_is_read_than_is_masked() -> None:
    many = [f"token{number:04}abcdefg" for number in range(MAX_TOKENS + 1)]
    assert find_tokens(keep(token=json.dumps(many[:-1]))) == (many[:-1], True)
    assert find_tokens(keep(token=json.dumps(many))) == (many[:-1], False)
    long = [f"{number:02}abcdef" + "x" * (4_096 - 8) for number in range(17)]
    assert find_tokens(keep(token=json.dumps(long))) == (long[: MAX_TOKEN_CHARACTERS // 4_096], False)
    assert find_tokens(keep({}, {"a": HEX}, picture="x" * MAX_READ, token=UUID)) == ([HEX], False)


@pytest.mark.parametrize(
    "text",
    [
        "a1",
        "%41%",
        "[",
        '{"a":',
        "eyJ",
        "eyJ.",
        "eyJhbGciOiJIUzI1NiJ9.",
        '"',
        "\\",
        "%22",
        "aA",
        base64.b64encode(b'{"').decode(),
    ],
)
@pytest.mark.parametrize("name", ["token", "a"])
def test_what_a_site_stores_takes_time_in_proportion(name: str, text: str) -> None:
    def prepare(size: int) -> Any:
        stored: dict[str, Any] = {name: (text * size)[:size]}
        state = keep({(text * size)[:size]: text}, **stored)
        return lambda: find_tokens(state)

    assert measure_growth(prepare, 30_000) < FOURFOLD_LIMIT
