"""What a site sees of a context that was made with options, and that parked pages stay for those without."""

import json
from typing import Any

import pytest

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure
from runtime.browser.options import ContextOptions
from runtime.browser.pool import Lease, Pool
from tests.support.site import Site

pytestmark = pytest.mark.asyncio(loop_scope="session")
SAYS = """<title>…</title><script>
  document.title = JSON.stringify([
    navigator.language, Intl.DateTimeFormat().resolvedOptions().timeZone, innerWidth, innerHeight, navigator.userAgent,
    (1234.5).toLocaleString(),
  ])
</script>"""
OPTIONS = ContextOptions(640, 480, "de-AT", "Asia/Tokyo", "Stagedoor/1 (test)")
SEEN = ["de-AT", "Asia/Tokyo", 640, 480, "Stagedoor/1 (test)", "1234,5"]


async def look(lease: Lease, site: Site, options: ContextOptions) -> list[Any]:
    site.pages["/says"] = SAYS
    page = await lease.open_page("node-1", options)
    await page.open_url(site.url("/says"))
    seen: list[Any] = json.loads(await page.read_title())
    seen[5] = seen[5].replace("\N{NO-BREAK SPACE}", "")
    return seen


async def test_a_site_sees_what_was_asked_for(lease: Lease, site: Site) -> None:
    assert await look(lease, site, OPTIONS) == SEEN


async def test_a_page_that_is_opened_again_keeps_its_options(lease: Lease, site: Site) -> None:
    await look(lease, site, OPTIONS)
    state = await lease.page("node-1").read_state()
    assert state is not None
    page = await lease.reopen_page("node-1", state)
    assert json.loads(await page.read_title())[:5] == SEEN[:5]


async def test_a_page_with_options_leaves_the_parked_one_alone(lease: Lease, pool: Pool, site: Site) -> None:
    await lease.open_page("node-1")
    chromium = await pool.obtain(lease.permit.tenant_id)
    await chromium.park_page()
    await lease.open_page("node-2", ContextOptions(locale="fr-FR"))
    assert chromium.has_parked


@pytest.mark.parametrize("options", [ContextOptions(timezone="Europe/Atlantis"), ContextOptions(locale="x")])
async def test_what_chromium_does_not_know_is_said_and_harms_nobody(
    lease: Lease, site: Site, options: ContextOptions
) -> None:
    site.pages["/"] = "<title>Here</title>"
    neighbour = await lease.open_page("other")
    with pytest.raises(BrowserFailure) as caught:
        await lease.open_page("node-1", options)
    assert (caught.value.code, caught.value.retryable) == (FailureCode.INVALID_INPUT, False)
    await neighbour.open_url(site.url("/"))
    assert await neighbour.read_title() == "Here"
