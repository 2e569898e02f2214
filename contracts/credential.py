"""Credentials: what a workflow signs in with. Values go in and never come out; workflows name them."""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from contracts.model import (
    Contract,
    CredentialId,
    Cursor,
    ExecutionId,
    Instant,
    Limit,
    NodeId,
    UserId,
    Words,
)

MIN_SECRET = 4
"""Characters that a secret value has at least: a shorter one is part of ordinary words, and could not be masked."""
MAX_FIELDS = 20

CredentialName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"),
    Words("A name is a letter, then letters, digits, _ and -; at most 64 characters"),
]
"""What workflows call it, unique in its tenant."""
FieldName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$"),
    Words("A field's name is a letter, then letters, digits and _; at most 64 characters"),
]
SecretValue = Annotated[str, StringConstraints(min_length=1, max_length=16_384)]
Domain = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        to_lower=True,
        max_length=260,
        pattern=r"^(?:\*\.)?(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$",
    ),
    Words("Write a host: example.org, example.org:8443 or *.example.org"),
]
"""`example.org` (any port), `example.org:8443`, or `*.example.org` for the hosts below it; beyond ASCII in punycode."""
Domains = Annotated[list[Domain], Field(max_length=100)]


class CredentialKind(StrEnum):
    """What it is for, which says what fields it has."""

    LOGIN = "login"
    """`username` and `password`."""
    TOKEN = "token"
    """`token`: an API key or an access token, sent as a bearer unless the workflow says where it goes."""
    HEADER = "header"
    """`name` and `value` of an HTTP header."""
    FIELDS = "fields"
    """Fields of any name, all of them secret."""


KIND_FIELDS: dict[CredentialKind, tuple[str, ...]] = {
    CredentialKind.LOGIN: ("username", "password"),
    CredentialKind.TOKEN: ("token",),
    CredentialKind.HEADER: ("name", "value"),
}
"""The fields of each kind that says which; `fields` has what its maker gave it."""
OPEN_FIELDS: dict[CredentialKind, str] = {CredentialKind.LOGIN: "username", CredentialKind.HEADER: "name"}
"""The one field of a kind that names somebody or something rather than opening it; it may be short."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2: a token."""

Values = Annotated[dict[FieldName, SecretValue], Field(min_length=1, max_length=MAX_FIELDS, repr=False)]


def find_value_fault(kind: CredentialKind, values: dict[str, str]) -> str | None:
    """What is wrong with a credential's values, without quoting any of them; None when they fit."""
    wanted = KIND_FIELDS.get(kind)
    if wanted is not None and set(values) != set(wanted):
        return f"A credential of kind {kind} has the fields {' and '.join(wanted)}, no more and no less"
    for name, value in values.items():
        if name != OPEN_FIELDS.get(kind) and len(value) < MIN_SECRET:
            return f"“{name}” is shorter than {MIN_SECRET} characters, too short to be kept out of logs"
    if kind is CredentialKind.HEADER and not _HEADER_NAME.fullmatch(values["name"]):
        return "“name” is no name of an HTTP header"
    return None


class Credential(Contract):
    """What may be known of a credential: everything but its values."""

    credential_id: CredentialId
    name: CredentialName
    kind: CredentialKind
    fields: list[FieldName]
    """Names of its fields, for `{{credential.NAME.FIELD}}`."""
    domains: list[str]
    """Hosts where it may be typed or sent; empty: nowhere until somebody says where."""
    version: int
    """1 at first; each replacement of the values makes the next and throws the one before away."""
    created_at: Instant
    created_by: UserId | None
    updated_at: Instant
    last_used_at: Instant | None


class CreateCredential(Contract):
    name: CredentialName
    kind: CredentialKind
    values: Values
    """By field; never shown again."""
    domains: Domains = []

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        fault = find_value_fault(self.kind, self.values)
        if fault is not None:
            raise ValueError(fault)
        return self


class CredentialRef(Contract):
    credential_id: CredentialId


class ListCredentials(Contract):
    cursor: Cursor | None = None
    limit: Limit = 50


class ChangeCredential(Contract):
    """Renames it or says anew where it may go; what is left out stays. Its values stay in any case."""

    credential_id: CredentialId
    name: CredentialName | None = None
    """Workflows that name it by the old one have to be changed."""
    domains: Domains | None = None


class ReplaceValues(Contract):
    """New values for all fields, as its kind has them; those before are gone."""

    credential_id: CredentialId
    values: Values


class CredentialUse(Contract):
    """One use: where a value went, and which node of which execution took it there."""

    credential_id: CredentialId
    name: str
    """What it was called then."""
    version: int
    fields: list[str]
    host: str
    execution_id: ExecutionId
    node_id: NodeId
    at: Instant


class ListUses(Contract):
    credential_id: CredentialId
    cursor: Cursor | None = None
    limit: Limit = 50
