"""What can be asked for: Runtime's catalogue, kept so that intents are checked while Runtime is away."""

import asyncio
from collections.abc import Iterator
from typing import Any

import structlog
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from contracts.declare import NOTHING
from contracts.errors import ApiError, Code, Fault, explain_schema_rule
from contracts.execution import Realms
from contracts.workflow import JsonObject
from experience.audit import Clock
from experience.runtime_calls import NOBODY, RuntimeCalls
from experience.store.catalogue import load_catalogue, save_catalogue
from experience.store.db import SystemDatabase

REFRESH_S = 30.0
_RETRY_S = 2.0
_FETCH_S = 2.0
_MOST_FAULTS = 50
_LONGEST_DETAIL = 300

log = structlog.get_logger()


class Catalogue:
    """The catalogue as Runtime last gave it: to this process or, before it has, to any."""

    def __init__(self, runtime: RuntimeCalls, system: SystemDatabase, clock: Clock) -> None:
        self._runtime = runtime
        self._system = system
        self._clock = clock
        self._known: Realms | None = None
        self._validators: dict[tuple[str, str], Draft202012Validator] = {}

    async def read(self) -> Realms:
        """The catalogue.

        Raises:
            ApiError: UNAVAILABLE when Runtime is away and has never been there.
        """
        if self._known is not None:
            return self._known
        try:
            return await self._fetch()
        except ApiError:
            async with self._system.transaction() as session:
                stored = await load_catalogue(session)
            if stored is None:
                raise
            return self._keep(stored)

    async def check(self, realm: str, intent: str, parameters: JsonObject, *, root: str) -> None:
        """Refuse parameters that the intent's JSON Schema does not allow.

        Args:
            realm: name of a realm.
            intent: name of an intent in it.
            parameters: what the caller sent.
            root: where the parameters are in the request, so that faults point into what was sent.

        Raises:
            ApiError: INVALID, with a fault for each parameter that is wrong; as `read`.
        """
        known = await self.read()
        validator = self._validators.get((realm, intent))
        if validator is None:
            raise _unknown(known, realm, intent)
        faults = [fault for error in validator.iter_errors(parameters) for fault in _faults(error, root)]
        if faults:
            faults.sort(key=lambda fault: fault.where)
            first = f"{faults[0].where}: {faults[0].detail}"
            detail = first if len(faults) == 1 else f"{first} And {len(faults) - 1} more."
            hint = "Mend the named parameters; /api/intent/catalogue has the JSON Schema and an example of each intent."
            raise ApiError(Code.INVALID, detail, hint, faults=faults[:_MOST_FAULTS])

    async def run(self) -> None:
        """Keep the catalogue fresh, for ever."""
        while True:
            try:
                await self._fetch()
                await asyncio.sleep(REFRESH_S)
            except ApiError as error:
                log.info("catalogue not refreshed", code=error.code)
                await asyncio.sleep(_RETRY_S)

    async def _fetch(self) -> Realms:
        client = self._runtime.speak_for(NOBODY, None, "catalogue", timeout_s=_FETCH_S)
        fetched = await self._runtime.shared.share("realms", lambda: client.get_realms(NOTHING))
        if fetched != self._known:
            async with self._system.transaction() as session:
                await save_catalogue(session, fetched, now=self._clock())
        return self._keep(fetched)

    def _keep(self, realms: Realms) -> Realms:
        self._known = realms
        self._validators = {
            (realm.realm, kind.intent): Draft202012Validator(
                kind.parameters, format_checker=Draft202012Validator.FORMAT_CHECKER
            )
            for realm in realms.realms
            for kind in realm.intents
        }
        return realms


def _unknown(known: Realms, realm: str, intent: str) -> ApiError:
    intents = {entry.realm: [kind.intent for kind in entry.intents] for entry in known.realms}
    if realm in intents:
        where, sent, can_be = "body.intent", intent, intents[realm]
    else:
        where, sent, can_be = "body.realm", realm, list(intents)
    detail = f"There is no {where.removeprefix('body.')} {sent[:100]!r}; known here: {', '.join(can_be) or 'none'}."
    fault = Fault(where=where, rule="unknown", detail=detail)
    return ApiError(Code.INVALID, detail, "See /api/intent/catalogue for what can be asked for.", faults=[fault])


def _faults(error: ValidationError, root: str) -> Iterator[Fault]:
    """One fault per parameter that is missing, unknown or wrong."""
    found: Any = best_match([error])  # of an anyOf, the branch that was meant
    where = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found.absolute_path)
    match found.validator:
        case "required":
            name = next(name for name in found.validator_value if found.message.startswith(f"{name!r} is"))
            yield Fault(where=f"{where}.{name}", rule="missing", detail="This parameter is required.")
        case "additionalProperties":
            known = found.schema.get("properties", {})
            for name in found.instance.keys() - known.keys():
                detail = f"Unknown parameter; known here: {', '.join(known) or 'none'}."
                yield Fault(where=f"{where}.{name[:100]}", rule="unknown", detail=detail)
        case rule:
            message = found.message[:_LONGEST_DETAIL]
            clause = explain_schema_rule(str(rule), found.validator_value, found.schema, message)
            yield Fault(where=where, rule=str(rule), detail=f"{clause}.")
