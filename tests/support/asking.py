"""Small questions that tests of handlers ask again and again."""

from collections.abc import Awaitable
from typing import Any

import pytest

from contracts.errors import ApiError, Code


async def refused(call: Awaitable[Any]) -> Code:
    """The code a call is refused with; every refusal says what failed and what to do."""
    with pytest.raises(ApiError) as caught:
        await call
    assert caught.value.detail
    assert caught.value.hint
    return caught.value.code
