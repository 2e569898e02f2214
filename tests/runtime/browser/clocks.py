"""Whose clock ends a call on a page, on a machine that may stand still."""

import pytest

from runtime.browser.page import Page

LONG_S = 60.0


@pytest.fixture
def playwright_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Playwright's always does, with its better words. Not for pages that hang: those are ended by our own."""
    monkeypatch.setattr("runtime.browser.page._GRACE_S", LONG_S)


@pytest.fixture
def patient_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence is taken however long it takes; it is given up only of a page that hangs."""
    monkeypatch.setattr("runtime.browser.page._EVIDENCE_S", LONG_S)
    monkeypatch.setattr("runtime.browser.diary._READ_S", LONG_S)


async def let_spin(page: Page, script: str = "while (true) {}") -> None:
    """Have a page at rest run a script that never ends. It has begun when this returns, or does a moment later."""
    await page._page.evaluate(f"() => {{ setTimeout(() => {{ {script} }}) }}")
