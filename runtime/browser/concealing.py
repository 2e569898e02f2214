"""What is covered on pictures of a page: fields that were filled with a secret, and whatever shows one.

A page is never told what to look for: texts are found by Playwright's selectors, which run in a world of their own, and
the contents of fields are brought here and compared here.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

from playwright.async_api import Error, Frame, Locator
from playwright.async_api import Page as PlaywrightPage

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure

COLOUR: Final = "#1f2430"
_FIELDS: Final = "input, textarea, select"
MAX_TEXT: Final = 5_000_000
"""Characters of a page, or of its fields, that are searched for what must not be seen."""
_READ_FIELDS: Final = """(found, limit) => {
  const texts = found.slice(0, 2000).map(one => [
    one.value, one.placeholder, one.selectedOptions && one.selectedOptions[0] && one.selectedOptions[0].text,
  ].filter(text => typeof text === "string").join("\\n"));
  const size = texts.reduce((sum, text) => sum + text.length, 0);
  return size > limit ? size : texts;
}"""
_READ_TEXTS: Final = """(roots, limit) => {
  const texts = [], left = [...roots];
  let size = 0;
  while (left.length) {
    const root = left.pop();
    const text = root.textContent;
    size += text.length;
    if (size > limit) return size;
    texts.push(text);
    for (const one of root.querySelectorAll("*")) if (one.shadowRoot) left.push(one.shadowRoot);
    if (root.shadowRoot) left.push(root.shadowRoot);
  }
  return texts;
}"""
"""Also in open shadow roots, where Playwright's selectors look too."""
_MAX_FILLED: Final = 100


class Secrets(Protocol):
    """What a run has used so far and must not be seen; it grows."""

    @property
    def values(self) -> Sequence[str]:
        """Those values."""
        ...

    @property
    def holds_tokens(self) -> bool:
        """Whether there are more of them than can be looked for one by one."""
        ...

    def find_tokens(self, text: str) -> Collection[str]:
        """Those of these that stand in a text."""
        ...

    def clean_text(self, text: str) -> str:
        """A text without them."""
        ...


class Concealed:
    """Of one page."""

    def __init__(self, page: PlaywrightPage) -> None:
        self._page = page
        self._filled: list[Locator] = []
        self.secrets: Secrets | None = None

    def note_filled(self, field: Locator) -> None:
        """Cover this field from now on, whatever a script makes of what is in it."""
        self._filled = [*self._filled[1 - _MAX_FILLED :], field]

    async def find(self) -> list[Locator]:
        """What to cover now. Raises output_too_large where there is too much to be looked through."""
        secrets = self.secrets
        if secrets is None or not (secrets.values or secrets.holds_tokens):
            return self._filled
        found = list(self._filled)
        for frame in self._page.frames:
            try:
                found += await self._find_in(frame, secrets)
            except Error:
                if not frame.is_detached():  # one that has gone shows nothing
                    raise
        return found

    async def _find_in(self, frame: Frame, secrets: Secrets) -> list[Locator]:
        fields = frame.locator(_FIELDS)
        contents = self._check_size(await fields.evaluate_all(_READ_FIELDS, MAX_TEXT))
        values = list(secrets.values)
        if secrets.holds_tokens:
            shown = self._check_size(await frame.locator(":root").evaluate_all(_READ_TEXTS, MAX_TEXT))
            values += await asyncio.to_thread(secrets.find_tokens, "\n".join([*contents, *shown]))
        showing = [index for index, text in enumerate(contents) if _shows(text, values)]
        return [*(fields.nth(index) for index in showing), *(frame.get_by_text(value) for value in values)]

    def _check_size(self, read: Any) -> list[str]:
        """The texts that were read; of too many there is but the size."""
        if isinstance(read, list):
            return [str(text) for text in read]
        raise BrowserFailure(
            FailureCode.OUTPUT_TOO_LARGE,
            f"The page shows {read} characters; at most {MAX_TEXT} are searched for what must not be on a picture.",
            "Take the picture on a page that shows less.",
            page_url=self._page.url,
        )

    def clean(self, text: str) -> str:
        """What the page said, without any of it."""
        return text if self.secrets is None else self.secrets.clean_text(text)


def _shows(text: str, values: Sequence[str]) -> bool:
    lowered = text.lower()
    return any(value.lower() in lowered for value in values)
