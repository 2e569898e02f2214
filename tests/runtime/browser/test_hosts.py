"""Which addresses pass the check, and how the wall is told to Chromium."""

import pytest

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.hosts import AllowedHosts

HOSTS = AllowedHosts(["shop.example", "127.0.0.1:8100", "[::1]:8100", "xn--bcher-kva.example:443"])


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "https://SHOP.example:8443/x?y#z",
        "http://shop.example./",
        "http://user:secret@shop.example/",
        "http://127.0.0.1:8100/cart",
        "http://[::1]:8100/",
        "https://bücher.example/",
        "about:blank",
    ],
)
def test_allowed(url: str) -> None:
    HOSTS.check(url)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://elsewhere.example/", "elsewhere.example"),
        ("http://sub.shop.example/", "sub.shop.example"),
        ("http://127.0.0.1:8101/", "127.0.0.1:8101"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://localhost:8100/", "localhost:8100"),
        ("http://shop.example@evil.example/", "evil.example"),
        ("http://bücher.example/", "bücher.example"),
        ("http://169.254.169.254/latest", "169.254.169.254"),
    ],
)
def test_refused_with_the_host_and_the_way_to_allow_it(url: str, named: str) -> None:
    with pytest.raises(BrowserFailure) as caught:
        HOSTS.check(url)
    assert caught.value.code is FailureCode.HOST_REFUSED
    assert caught.value.message == f"Browsers may not reach {named}."
    assert f"add {named} to STAGEDOOR_RUNTIME_ALLOWED_HOSTS" in caught.value.hint
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", FailureCode.HOST_REFUSED),
        ("view-source:http://shop.example/", FailureCode.HOST_REFUSED),
        ("chrome://version", FailureCode.HOST_REFUSED),
        ("javascript:alert(1)", FailureCode.HOST_REFUSED),
        ("data:text/html,x", FailureCode.HOST_REFUSED),
        ("about:version", FailureCode.HOST_REFUSED),
        ("shop.example", FailureCode.INVALID_INPUT),
        ("//shop.example/", FailureCode.INVALID_INPUT),
        ("", FailureCode.INVALID_INPUT),
        ("http://", FailureCode.INVALID_INPUT),
        ("http://shop.example:99999/", FailureCode.INVALID_INPUT),
        ("http://[", FailureCode.INVALID_INPUT),
    ],
)
def test_what_is_no_page_address(url: str, code: FailureCode) -> None:
    with pytest.raises(BrowserFailure) as caught:
        HOSTS.check(url)
    assert caught.value.code is code


def test_nothing_is_allowed_by_an_empty_list() -> None:
    assert not AllowedHosts([]).allows("http://localhost/")


def test_web_sockets_count_as_their_host() -> None:
    assert HOSTS.allows("ws://127.0.0.1:8100/live")
    assert HOSTS.allows("wss://xn--bcher-kva.example/")
    assert not HOSTS.allows("ws://127.0.0.1:8101/")
    assert not HOSTS.allows("http://[")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.example",
        "http://a.example",
        "a.example/x",
        "a:0",
        "a:70000",
        "a;b",
        "a b",
        "a,b",
        "bücher.example",
        "a:b",
    ],
)
def test_an_entry_that_is_no_host_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host to allow"):
        AllowedHosts([entry])


def test_the_wall_is_a_dead_proxy_with_exceptions_and_names_that_do_not_resolve() -> None:
    proxy, bypass, rules, webrtc = AllowedHosts(["shop.example", "127.0.0.1:8100"]).make_arguments(9)
    assert proxy == "--proxy-server=http://127.0.0.1:9"
    assert bypass == "--proxy-bypass-list=<-loopback>;shop.example;127.0.0.1:8100"
    assert rules.endswith("MAP shop.example shop.example, MAP 127.0.0.1:8100 127.0.0.1:8100, MAP * ~NOTFOUND")
    assert webrtc.endswith("disable_non_proxied_udp")
