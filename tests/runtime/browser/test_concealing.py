"""Pictures show no secret: not in the field it was typed into, and not where the page repeats it."""

import pytest

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.page import Page
from runtime.browser.pool import Lease
from runtime.masking import Redactor
from tests.support.site import Site

SHOW = """<!doctype html><style>* { font: 20px monospace }</style><input id="field"><input id="echo">
<textarea id="area"></textarea><p id="text"></p><iframe id="frame" srcdoc="<p id='framed'></p>"></iframe>
<script>document.getElementById("field").oninput = event => {
  const value = event.target.value;
  document.getElementById("echo").value = value;
  document.getElementById("area").value = "typed " + value + " here";
  document.getElementById("text").innerHTML = "typed <b>" + value + "</b> here";
  document.getElementById("frame").srcdoc = "<style>* { font: 20px monospace }</style><p>" + value + "</p>";
};</script>"""
FIRST, SECOND = "horse-battery", "crow-and-shoes"[:13]


pytestmark = pytest.mark.asyncio(loop_scope="session")
PAGES = {"/secrets": SHOW, "/outer": "<iframe src='/secrets'></iframe><input id='field'>"}


async def picture_of(lease: Lease, name: str, site: Site, value: str, *, hidden: bool) -> bytes:
    page = await open_page(lease, site, name)
    if hidden:
        redactor = Redactor()
        redactor.add("credential.shop.password", value)
        page.conceal(redactor)
    await page.fill_secret("#field", lambda _: answer(value)) if hidden else await page.fill("#field", value)
    await page.wait_for("#text b", "visible")
    picture = await page.take_picture(format_="png")
    await page.close()
    return picture.data


async def open_page(lease: Lease, site: Site, name: str, path: str = "/secrets") -> Page:
    site.pages |= PAGES
    page = await lease.open_page(name)
    await page.open_url(site.url(path))
    return page


async def answer(value: str) -> str:
    return value


async def test_two_pages_that_differ_in_their_secret_look_the_same(lease: Lease, site: Site) -> None:
    first = await picture_of(lease, "a", site, FIRST, hidden=True)
    second = await picture_of(lease, "b", site, SECOND, hidden=True)
    seen = await picture_of(lease, "c", site, FIRST, hidden=False)
    other = await picture_of(lease, "d", site, SECOND, hidden=False)
    assert first == second
    assert len({first, seen, other}) == 3


KEEP = """<!doctype html><style>* { font: 20px monospace }</style>
<input id="field"><p id="text"></p><div id="host"></div><script>
  const kept = localStorage.getItem("token")
  document.getElementById("field").value = kept
  document.getElementById("text").innerHTML = "kept <b>" + kept + "</b> here"
  document.getElementById("host").attachShadow({mode: "open"}).innerHTML = "<p>" + kept + "</p>"
</script>"""


async def picture_of_kept(lease: Lease, name: str, site: Site, token: str, *, hidden: bool) -> bytes:
    site.pages |= {"/kept": KEEP, "/keep": f"<script>localStorage.setItem('token', '{token}')</script>"}
    page = await lease.open_page(name)
    if hidden:
        redactor = Redactor()
        redactor.add_tokens("profile.shop", [token, *(f"other{number}token0123456" for number in range(300))])
        page.conceal(redactor)
    await page.open_url(site.url("/keep"))
    await page.open_url(site.url("/kept"))
    await page.wait_for("#text b", "visible")
    picture = await page.take_picture(format_="png")
    await page.close()
    return picture.data


async def test_pages_that_show_one_of_many_tokens_look_the_same(lease: Lease, site: Site) -> None:
    tokens = ("a1b2c3d4e5f6g7h8", "h8g7f6e5d4c3b2a1")
    hidden = [await picture_of_kept(lease, f"hidden-{token}", site, token, hidden=True) for token in tokens]
    seen = [await picture_of_kept(lease, f"seen-{token}", site, token, hidden=False) for token in tokens]
    assert hidden[0] == hidden[1]
    assert len({hidden[0], *seen}) == 3


@pytest.mark.parametrize(
    "shown", ["<p>{}</p>", "<div><template shadowrootmode=open>{}</template></div>", "<input value={}>"]
)
async def test_a_page_that_shows_too_much_to_be_searched_has_no_picture(
    lease: Lease, site: Site, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    monkeypatch.setattr("runtime.browser.concealing.MAX_TEXT", 1_000)
    redactor = Redactor()
    redactor.add_tokens("profile.shop", ["a1b2c3d4e5f6g7h8"])
    for size in (900, 1_001):
        site.pages["/much"] = f"<!doctype html>{shown.format('x' * size)}"
        page = await lease.open_page(f"much-{size}")
        page.conceal(redactor)
        await page.open_url(site.url("/much"))
        if size < 1_000:
            assert (await page.take_picture()).data
            continue
        with pytest.raises(BrowserFailure, match="at most 1000 are searched") as failed:
            await page.take_picture()
        assert failed.value.code is FailureCode.OUTPUT_TOO_LARGE
        assert (await page.collect_evidence()).picture is None


async def test_what_decides_is_the_document_that_the_field_is_in(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "frames", "/outer")
    asked: list[str] = []

    async def refuse(url: str) -> str:
        asked.append(url)
        raise BrowserFailure(FailureCode.CREDENTIAL_REFUSED, "No.", "Never.")

    for selector in ("iframe >> internal:control=enter-frame >> #field", "#field"):
        with pytest.raises(BrowserFailure, match="No"):
            await page.fill_secret(selector, refuse)
    assert asked == [site.url("/secrets"), site.url("/outer")]


@pytest.mark.usefixtures("playwright_first")
async def test_a_field_that_is_not_there_or_not_to_be_filled_says_so(lease: Lease, site: Site) -> None:
    page = await open_page(lease, site, "missing")
    with pytest.raises(BrowserFailure, match="matched"):
        await page.fill_secret("#nowhere", lambda _: answer(FIRST), timeout_s=0.5)
    with pytest.raises(BrowserFailure) as failed:
        await page.fill_secret("#text", lambda _: answer(FIRST), timeout_s=0.5)
    assert FIRST not in failed.value.message
