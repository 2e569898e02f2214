"""When a failed attempt at a node is followed by another, and how long after (spec W6)."""

MAX_ATTEMPTS = 5
_DELAYS_S = (0.0, 2.0, 4.0, 8.0, 16.0)
_SPREAD = 0.25


def default_attempts(*, safe: bool) -> int:
    """Attempts a node gets where its settings name none: a node that may do harm twice gets one."""
    return MAX_ATTEMPTS if safe else 1


def delay_before(attempt: int, jitter: float) -> float:
    """Seconds to wait before an attempt (1, 2 …). `jitter` in [0, 1) spreads it by up to a quarter, never below."""
    if attempt < 1:
        raise ValueError(f"attempts count from 1, not {attempt}")
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must be in [0, 1), not {jitter}")
    base = _DELAYS_S[min(attempt, MAX_ATTEMPTS) - 1]
    return base * (1 + _SPREAD * jitter)
