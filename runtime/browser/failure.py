"""How anything that has to do with a browser fails: one exception, with a code, a sentence and a way out."""

from contracts.execution import FailureCode


class BrowserFailure(Exception):  # noqa: N818 — a failure is what it is called everywhere
    """A failure of a page or its browser.

    Args:
        retryable: the same call may succeed a little later, by itself.
        acted: what was asked for may have happened all the same.
    """

    def __init__(
        self,
        code: FailureCode,
        message: str,
        hint: str,
        *,
        retryable: bool = False,
        acted: bool = False,
        page_url: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.acted = acted
        self.page_url = page_url
