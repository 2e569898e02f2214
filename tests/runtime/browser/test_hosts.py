"""Which addresses pass the check before a browser sees them."""

import pytest

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.hosts import check_address, find_target
from runtime.egress.policy import Policy, read_exceptions, read_lists

POLICY = Policy(read_exceptions(["127.0.0.1:8100", "[::1]:8100"])).narrow(read_lists(deny=["denied.example"]))


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "https://SHOP.example:8443/x?y#z",
        "http://shop.example./",
        "http://user:secret@shop.example/",
        "http://127.0.0.1:8100/cart",
        "http://2130706433:8100/cart",
        "http://[::1]:8100/",
        "https://bücher.example/",
        "about:blank",
    ],
)
def test_allowed(url: str) -> None:
    check_address(url, POLICY)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://127.0.0.1:8101/", "127.0.0.1:8101"),
        ("http://127.0.0.1/", "127.0.0.1:80"),
        ("https://localhost/", "localhost:443"),
        ("http://shop.example@127.0.0.1/", "127.0.0.1:80"),
        ("http://[::ffff:127.0.0.1]:8100/", "[::ffff:7f00:1]:8100"),
    ],
)
def test_refused_with_the_host_and_the_way_to_open_it(url: str, named: str) -> None:
    with pytest.raises(BrowserFailure) as caught:
        check_address(url, POLICY)
    assert caught.value.code is FailureCode.HOST_REFUSED
    assert caught.value.message.startswith(f"{named} may not be reached: it is ")
    assert f"adds {named} to STAGEDOOR_RUNTIME_ALLOWED_HOSTS" in caught.value.hint
    assert not caught.value.retryable


def test_a_clouds_metadata_comes_without_a_recipe_for_opening_it() -> None:
    with pytest.raises(BrowserFailure) as caught:
        check_address("http://169.254.169.254/latest", POLICY)
    assert caught.value.code is FailureCode.HOST_REFUSED
    assert caught.value.message == "169.254.169.254:80 may not be reached: it is a cloud's metadata service."
    assert "ALLOWED_HOSTS" not in caught.value.hint


def test_a_tenants_list_is_named() -> None:
    with pytest.raises(BrowserFailure) as caught:
        check_address("https://denied.example/", POLICY)
    assert caught.value.message == "denied.example:443 may not be reached: a list of denied hosts names it."
    assert "admin of your tenant" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", FailureCode.HOST_REFUSED),
        ("view-source:http://shop.example/", FailureCode.HOST_REFUSED),
        ("chrome://version", FailureCode.HOST_REFUSED),
        ("devtools://devtools/bundled/inspector.html", FailureCode.HOST_REFUSED),
        ("javascript:alert(1)", FailureCode.HOST_REFUSED),
        ("data:text/html,x", FailureCode.HOST_REFUSED),
        ("blob:http://shop.example/1", FailureCode.HOST_REFUSED),
        ("filesystem:http://shop.example/x", FailureCode.HOST_REFUSED),
        ("about:version", FailureCode.HOST_REFUSED),
        ("shop.example", FailureCode.INVALID_INPUT),
        ("//shop.example/", FailureCode.INVALID_INPUT),
        ("", FailureCode.INVALID_INPUT),
        ("http://", FailureCode.INVALID_INPUT),
        ("http://shop.example:99999/", FailureCode.INVALID_INPUT),
        ("http://[", FailureCode.INVALID_INPUT),
        ("http://1.2.3.4.5/", FailureCode.INVALID_INPUT),
    ],
)
def test_what_is_no_page_address(url: str, code: FailureCode) -> None:
    with pytest.raises(BrowserFailure) as caught:
        check_address(url, POLICY)
    assert caught.value.code is code


def test_web_sockets_have_the_ports_of_http() -> None:
    assert str(find_target("ws://a.example/live")) == "a.example:80"
    assert str(find_target("wss://a.example/live")) == "a.example:443"
    assert find_target("ftp://a.example/") is None
    assert find_target("http://[") is None
