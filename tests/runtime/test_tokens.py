"""What lets somebody in is told from words, addresses and times."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from runtime.tokens import MAX_LENGTH, find_tokens
from tests.support.growth import FOURFOLD_LIMIT, measure_growth

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.4bXrW1f-Q0_2mYk9sZ7t"
HEX = "9f86d081884c7d65"
BASE64 = "Zm9v+YmF5/YmF6cXV4MTIz=="
UUID = "0b9c3f8e-51d2-4a77-9c1e-2f6a8d0b7e41"


def keep(*stored: str, **cookies: str) -> dict[str, Any]:
    items = [{"name": f"item-{number}", "value": value} for number, value in enumerate(stored)]
    return {
        "cookies": [{"name": name, "value": value, "httpOnly": name == "session"} for name, value in cookies.items()],
        "origins": [{"origin": "https://a.test", "localStorage": items}],
    }


@pytest.mark.parametrize("token", [JWT, HEX, BASE64, UUID, "s3cretS3creT9qZw"])
@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda token: f"Bearer {token}",
        lambda token: quote(token, safe=""),
        lambda token: f"s:{token}|2026-01-31T10:00:00Z",
        lambda token: json.dumps({"user": {"access_token": token}}),
        lambda token: json.dumps(json.dumps({"token": token})).replace("/", "\\/"),
        lambda token: quote(json.dumps({"token": token}), safe=""),
        lambda token: f"https://a.test/products/lamp-with-3-arms?access_token={token}&next=1",
        lambda token: f"long_name_of_oauth2_token={token}",
    ],
)
def test_a_token_is_found_however_it_is_kept(token: str, write: Any) -> None:
    assert find_tokens(keep(write(token))) == [token]
    assert find_tokens(keep(token=write(token))) == [token]


@pytest.mark.parametrize(
    "value",
    [
        "dark",
        "a-rather-long-setting-with-many-words",
        "showAdvancedSettingsPanel",
        "lamp-2024-best-of-the-year",
        "https://shop.test/products/a1b2c3d4e5f60718293a4b5c6d7e8f90/reviews",
        "/products/2024/lamps/with-arms",
        "2026-11-29T18:58:55.123+01:00",
        "Mozilla/5.0 (X11; Linux x86_64)",
        "17328912345678901234",
        "a1a1a1a1a1a1a1a1a1a1a1a1",
        "9f86d081884c7d6",
        "A1" + "b2c3d4e5" * (MAX_LENGTH // 8),
    ],
)
def test_words_addresses_and_times_are_none(value: str) -> None:
    assert find_tokens(keep(value)) == []


def test_cookies_that_pages_can_t_read_come_first_and_databases_last() -> None:
    state = keep("local0storage1token2x", other="other0cookie1token2x", session="session0cookie1token")
    records = [{"key": "k", "valueEncoded": {"o": [{"k": "t", "v": "database0token1xyz"}], "id": 1}}]
    state["origins"][0]["indexedDB"] = [{"name": "n", "version": 1, "stores": [{"name": "s", "records": records}]}]
    expected = ["session0cookie1token", "other0cookie1token2x", "local0storage1token2x", "database0token1xyz"]
    assert find_tokens(state) == expected


def test_each_is_named_once_and_an_empty_state_has_none() -> None:
    assert find_tokens(keep(HEX, f"again {HEX}", session=HEX)) == [HEX]
    assert find_tokens({}) == []


@pytest.mark.parametrize("text", ["a1", "%41%", "=", "a1b2c3d4e5f6g7h8/", '{"a":', "https://", "../", "a" * 15 + " "])
def test_what_a_site_stores_takes_time_in_proportion(text: str) -> None:
    def prepare(size: int) -> Any:
        state = keep((text * size)[:size])
        return lambda: find_tokens(state)

    assert measure_growth(prepare, 30_000) < FOURFOLD_LIMIT
