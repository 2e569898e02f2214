"""Access tokens and the refresh tokens that renew them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from uuid_utils.compat import uuid7

from contracts.identity import Role
from contracts.model import LoginId
from experience.auth.keyring import Keyring
from experience.auth.opaque import digest, mint_salt, succeed
from experience.store.db import SystemSession
from experience.store.logins import delete_login
from experience.store.tables import LoginRow
from experience.store.tokens import insert_refresh_token, is_unspent, lock_refresh_token, spend_refresh_token

ACCESS_AUDIENCE = "stagedoor"
ACCESS_LIFETIME = timedelta(minutes=10)
GRACE = timedelta(seconds=10)
"""An answer may get lost: for so long a spent token answers its successor again, as long as nobody has used that."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """A family goes on with this token."""

    login: LoginRow
    refresh_token: str


@dataclass(frozen=True, slots=True)
class Stolen:
    """A spent token came again: the family has ended."""

    login: LoginRow


def sign_access_token(keyring: Keyring, login: LoginRow, role: Role, now: datetime) -> str:
    """A JWT for ACCESS_LIFETIME. Tenant and role are for its reader; what counts here is the login it names."""
    claims = {
        "sub": str(login.user_id),
        "tenant": str(login.tenant_id),
        "role": role.value,
        "sid": str(login.login_id),
        "jti": str(uuid7()),
    }
    return keyring.sign(ACCESS_AUDIENCE, claims, now=now, lifetime=ACCESS_LIFETIME)


async def rotate(session: SystemSession, refresh_token: str, now: datetime) -> Renewed | Stolen | None:
    """Exchange a refresh token for its successor, or end its family; None when it is not (any more) one of ours.

    Commit whatever comes back: a family's end is an outcome and not an error.
    """
    known = await lock_refresh_token(session, digest(refresh_token), now)
    if known is None:
        return None
    if known.spent_at is None or known.successor_salt is None:
        salt = mint_salt()
        successor = succeed(refresh_token, salt)
        await spend_refresh_token(session, digest(refresh_token), salt=salt, now=now)
        await insert_refresh_token(session, digest(successor), known.login, now)
        return Renewed(known.login, successor)
    successor = succeed(refresh_token, known.successor_salt)
    if now - known.spent_at <= GRACE and await is_unspent(session, digest(successor)):
        return Renewed(known.login, successor)
    await delete_login(session, LoginId(known.login.login_id))
    return Stolen(known.login)
