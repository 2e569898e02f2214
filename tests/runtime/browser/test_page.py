"""What may be done to a page, and every way it can fail."""

import asyncio

import pytest

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.page import Page
from runtime.browser.picture import read_size
from runtime.browser.pool import Lease
from runtime.egress.hosts import NotAHost, read_host
from tests.runtime.browser.clocks import let_spin
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

FORM = """<!doctype html><title>Form</title>
<form><input id=name value=old><input id=cb type=checkbox><input id=fixed readonly>
<select id=size><option value=s>Small</option><option value=l>Large</option></select></form>
<button id=go onclick="document.title = 'clicked ' + document.querySelector('#name').value
  + document.querySelector('#size').value">Go on</button>
<button id=hidden style="display:none">Unseen</button><button id=off disabled>Off</button>
<p class=row><a href="/one">One</a> <b>1</b></p><p class=row><a href="/two">Two</a></p>"""


async def open_page(lease: Lease, site: Site, html: str = FORM, path: str = "/form") -> Page:
    site.pages[path] = html
    page = await lease.open_page("node-1")
    await page.open_url(site.url(path))
    return page


async def test_fill_select_click_and_read(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site)
    await page.fill("#name", "Ada ")
    await page.select("#size", "Large")
    await page.click("text=Go on")
    assert await page.read_title() == "clicked Ada l"
    assert page.url == site.url("/form")
    html = await page.read_html()
    assert html.startswith("<!DOCTYPE html>")
    assert 'id="name"' in html


@pytest.mark.parametrize(
    "selector", ["#go", "//button[@id='go']", "xpath=//button", "text=Go on", 'role=button[name="Go on"]']
)
async def test_every_kind_of_selector_finds(lease: Lease, site: Site, selector: str) -> None:
    page = await open_page(lease, site)
    await page.click(selector)
    assert (await page.read_title()).startswith("clicked")


@pytest.mark.parametrize("selector", ["##", "a[", "//[", "foo=bar", "role=button[name=", "a:nth-childd(2)", "text=/[/"])
async def test_a_selector_that_is_none_is_named_with_a_way_out(lease: Lease, site: Site, selector: str) -> None:
    page = await open_page(lease, site)
    with pytest.raises(BrowserFailure) as caught:
        await page.click(selector)
    assert caught.value.code is FailureCode.INVALID_SELECTOR
    assert selector in caught.value.message
    assert "XPath" in caught.value.hint
    assert not caught.value.retryable


@pytest.mark.usefixtures("playwright_first")
async def test_what_is_not_there_is_named_with_where(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site)
    for action in (page.click("#nowhere", timeout_s=0.2), page.wait_for("#nowhere", "visible", timeout_s=0.2)):
        with pytest.raises(BrowserFailure) as caught:
            await action
        assert caught.value.code is FailureCode.ELEMENT_NOT_FOUND
        assert "#nowhere" in caught.value.message
        assert site.url("/form") in caught.value.message
        assert caught.value.page_url == site.url("/form")


@pytest.mark.usefixtures("playwright_first")
@pytest.mark.parametrize(("selector", "why"), [("#hidden", "not visible"), ("#off", "not enabled")])
async def test_what_can_not_be_clicked_says_why(lease: Lease, site: Site, selector: str, why: str) -> None:
    page = await open_page(lease, site)
    with pytest.raises(BrowserFailure) as caught:
        await page.click(selector, timeout_s=4)
    assert caught.value.code is FailureCode.TIMEOUT
    assert why in caught.value.message


@pytest.mark.usefixtures("playwright_first")
async def test_what_was_typed_never_shows_in_a_failure(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site)
    for selector, code in (
        ("#cb", FailureCode.INVALID_INPUT),
        ("#fixed", FailureCode.TIMEOUT),
        ("p", FailureCode.INVALID_INPUT),
    ):
        with pytest.raises(BrowserFailure) as caught:
            await page.fill(selector, "hunter2", timeout_s=1.5)
        assert caught.value.code is code
        assert "hunter2" not in str(caught.value) + caught.value.hint


@pytest.mark.usefixtures("playwright_first")
async def test_an_option_that_is_not_there(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site)
    with pytest.raises(BrowserFailure) as caught:
        await page.select("#size", "Huge", timeout_s=4)
    assert caught.value.code is FailureCode.ELEMENT_NOT_FOUND
    assert "no such option" in caught.value.message


@pytest.mark.usefixtures("playwright_first")
async def test_waiting_for_something_to_go(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "<p id=spinner>…</p><script>setTimeout(() => spinner.remove(), 150)</script>")
    await page.wait_for("#spinner", "hidden")
    await page.wait_for("#never", "hidden")
    page = await open_page(lease, site)
    with pytest.raises(BrowserFailure) as caught:
        await page.wait_for("#go", "hidden", timeout_s=0.2)
    assert caught.value.code is FailureCode.TIMEOUT


async def test_rows_with_text_attributes_and_whole_addresses(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site)
    fields = {
        "name": ("a", ""),
        "link": ("a", "href"),
        "number": ("b", ""),
        "class": ("", "class"),
        "none": ("a", "title"),
    }
    assert await page.read_rows(".row", fields) == [
        {"name": "One", "link": site.url("/one"), "number": "1", "class": "row", "none": None},
        {"name": "Two", "link": site.url("/two"), "number": None, "class": "row", "none": None},
    ]
    with pytest.raises(BrowserFailure) as caught:
        await page.read_rows(".row", {"bad": ("[[", "")})
    assert caught.value.code is FailureCode.INVALID_SELECTOR
    assert "[[" in caught.value.message


async def test_too_many_rows_and_too_much_markup_are_refused(
    lease: Lease, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.browser.page.MAX_ROWS", 10)
    monkeypatch.setattr("runtime.browser.page.MAX_HTML", 200)
    page = await open_page(
        lease, site, "<ul></ul><script>document.querySelector('ul').innerHTML = '<li>'.repeat(11)</script>"
    )
    with pytest.raises(BrowserFailure, match="matches 11 elements") as caught:
        await page.read_rows("li", {"x": ("", "class")})
    assert caught.value.code is FailureCode.OUTPUT_TOO_LARGE
    with pytest.raises(BrowserFailure, match=r"\d+ characters; at most 200") as caught:
        await page.read_html()
    assert caught.value.code is FailureCode.OUTPUT_TOO_LARGE


async def test_pictures_know_their_size(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "<div style='height:3000px'>tall</div>")
    seen = await page.take_picture()
    assert (seen.media_type, seen.width, seen.height) == ("image/jpeg", 1280, 800)
    assert seen.page_url == site.url("/form")
    whole = await page.take_picture(format_="png", full_page=True)
    assert (whole.media_type, whole.width) == ("image/png", 1280)
    assert whole.height > 3000
    assert read_size(whole.data) == (whole.width, whole.height)


@pytest.mark.parametrize(("status", "busy"), [(404, False), (403, False), (429, True), (500, True), (503, True)])
async def test_answers_that_may_be_better_later_are_failures(lease: Lease, site: Site, status: int, busy: bool) -> None:  # noqa: FBT001
    page = await open_page(lease, site)
    if not busy:
        assert await page.open_url(site.url(f"/status/{status}")) == status
        return
    with pytest.raises(BrowserFailure, match=str(status)) as caught:
        await page.open_url(site.url(f"/status/{status}"))
    assert (caught.value.code, caught.value.retryable) == (FailureCode.NAVIGATION_FAILED, True)


async def test_a_site_that_does_not_answer(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site)
    site.slow["/slow"] = 1.0
    with pytest.raises(BrowserFailure) as caught:
        await page.open_url(site.url("/slow"), timeout_s=0.3)
    assert (caught.value.code, caught.value.retryable) == (FailureCode.TIMEOUT, True)


async def test_navigations_in_quick_succession_after_a_failed_one(lease: Lease, site: Site, elsewhere: Site) -> None:
    page = await open_page(lease, site)
    for _ in range(3):
        with pytest.raises(BrowserFailure) as caught:
            await page.open_url(site.url(f"/go?to={elsewhere.url('/')}"))
        assert caught.value.code is FailureCode.HOST_REFUSED
        assert await page.open_url(site.url("/form")) == 200


async def test_dialogs_are_dismissed_and_do_not_hold_anything_up(lease: Lease, site: Site) -> None:
    page = await open_page(
        lease, site, "<script>alert('a'); document.title = String(confirm('b')) + prompt('c')</script>"
    )
    assert await page.read_title() == "falsenull"
    page = await open_page(lease, site, "<script>onbeforeunload = () => 'stay'</script>")
    assert await page.open_url(site.url("/form")) == 200


async def test_a_page_that_never_rests_is_closed_in_time_and_its_neighbour_lives(lease: Lease, site: Site) -> None:
    site.pages["/calm"] = "<title>Calm</title>"
    neighbour = await lease.open_page("other")
    await neighbour.open_url(site.url("/calm"))
    page = await lease.open_page("node-1")
    await page.open_url(site.url("/calm"))
    await let_spin(page)
    await asyncio.sleep(0.2)
    with pytest.raises(BrowserFailure) as caught:
        async with asyncio.timeout(60):
            await page.read_title(timeout_s=0.3)
    assert (caught.value.code, caught.value.retryable, caught.value.acted) == (FailureCode.TIMEOUT, True, True)
    with pytest.raises(BrowserFailure) as caught:
        await page.click("body")
    assert caught.value.code is FailureCode.PAGE_CLOSED
    assert await neighbour.read_title() == "Calm"


async def test_a_page_that_crashes_says_so(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site)
    wire = await page._context.new_cdp_session(page._page)
    crash = asyncio.ensure_future(wire.send("Page.crash"))  # never answered: the one who would is gone
    await asyncio.wait([crash], timeout=0.5)
    crash.cancel()
    with pytest.raises(BrowserFailure) as caught:
        await page.read_title()
    assert (caught.value.code, caught.value.retryable) == (FailureCode.BROWSER_CRASHED, True)


async def test_a_page_that_closes_itself(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "<title>x</title><button onclick='close()'>bye</button>")
    await page._page.evaluate("setTimeout(() => { open('', '_self'); close() }, 10)")
    await asyncio.sleep(0.3)
    if page.lost is None:
        await page._page.close()
    with pytest.raises(BrowserFailure) as caught:
        await page.click("button")
    assert (caught.value.code, caught.value.retryable) == (FailureCode.PAGE_CLOSED, True)


async def test_a_storm_of_popups_is_held_down(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "<script>for (let n = 0; n < 14; n++) open('about:blank')</script>storm")
    for _ in range(600):
        if len(page._context.pages) <= 10:
            break
        await asyncio.sleep(0.1)
    assert len(page._context.pages) <= 10
    assert "storm" in await page.read_html()


@pytest.mark.usefixtures("patient_evidence")
async def test_evidence_tells_of_page_console_and_looks(lease: Lease, site: Site, elsewhere: Site) -> None:
    html = f"<img src='{elsewhere.url('/x.png')}'><script>console.error('broken cart'); undefinedThing()</script>"
    page = await open_page(lease, site, html)
    evidence = await page.collect_evidence()
    assert evidence.page_url == site.url("/form")
    assert "error: broken cart" in evidence.console
    assert any(line.startswith("uncaught: ") and "undefinedThing" in line for line in evidence.console)
    assert any(line.startswith("refused: ") and elsewhere.host in line for line in evidence.console)
    assert evidence.picture is not None
    assert evidence.picture.width == 1280
    await page.close()
    gone = await page.collect_evidence()
    assert gone.picture is None
    assert "error: broken cart" in gone.console


async def test_a_page_that_hung_or_crashed_leaves_its_console(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "<script>console.log('before')</script>")
    await let_spin(page)
    await asyncio.sleep(0.2)
    with pytest.raises(BrowserFailure):
        await page.read_title(timeout_s=0.3)
    assert "log: before" in (await page.collect_evidence()).console
    page = await open_page(lease, site, "<script>console.log('before')</script>")
    wire = await page._context.new_cdp_session(page._page)
    crash = asyncio.ensure_future(wire.send("Page.crash"))
    await asyncio.wait([crash], timeout=0.5)
    crash.cancel()
    assert "log: before" in (await page.collect_evidence()).console


@pytest.mark.usefixtures("patient_evidence")
async def test_secrets_are_left_out_of_the_console_before_lines_are_cut(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "<script>console.log('x'.repeat(485) + 'hunter2-hunter2')</script>")
    page.conceal(Known())
    (line,) = (await page.collect_evidence()).console
    assert line == f"log: {'x' * 485}***"


class Known:
    """What a run has used."""

    holds_tokens = False

    def find_tokens(self, text: str) -> list[str]:
        return []

    values = ("hunter2-hunter2",)

    def clean_text(self, text: str) -> str:
        return text.replace(self.values[0], "***")


async def test_downloads_are_off(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "<a id=d href='data:application/zip,x' download=x.zip>get</a>")
    await page.click("#d")
    assert "get" in await page.read_html()


READ_HOST = "host => URL.canParse(`https://${host}`) ? new URL(`https://${host}`).hostname : ''"
HOSTS = [
    "busineß.com",
    "straße.de",
    "ς.gr",
    "क\u094d\u200d.com",
    "good。com",
    "SHOP.test.",
    "0x7f.1",
    "good\u200dsite.com",
]


@pytest.mark.parametrize("host", HOSTS)
async def test_chromium_and_the_policy_read_hosts_alike(lease: Lease, site: Site, host: str) -> None:
    """What a page says of its host decides where a credential may be typed."""
    page = await open_page(lease, site)
    said = await page._page.evaluate(READ_HOST, host)
    try:
        read = read_host(host).name
    except NotAHost:
        read = ""
    assert said.removesuffix(".") == read
