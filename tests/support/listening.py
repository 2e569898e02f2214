"""What a client is told, noted by the endpoint that tells it, so that a new one can't go unheard."""

import re
from collections.abc import Iterable

import httpx

from contracts.api.public import PublicApi
from contracts.declare import channels, endpoints


class Listening:
    """To every answer that a client gets. `bind` it to each."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        """Body and headers of each answer, by request."""
        self.answered: set[str] = set()
        """Endpoints, by name, that have answered with what was asked for."""
        self._paths = [(name, one.method, _compile(one.path)) for name, one in endpoints(PublicApi)]

    def bind(self, client: httpx.AsyncClient) -> None:
        """Listen to this one from now on."""
        client.event_hooks["response"] = [*client.event_hooks["response"], self._note]

    def note(self, name: str, text: str) -> None:
        """What a stream has said."""
        self.told[name] = text
        self.answered.add(name)

    def unheard(self, excused: Iterable[str]) -> set[str]:
        """Endpoints and streams that have told nothing, but those; and those that are excused and have, or are none."""
        declared = {name for name, _ in (*endpoints(PublicApi), *channels(PublicApi))}
        return declared ^ (self.answered | set(excused))

    async def _note(self, answer: httpx.Response) -> None:
        await answer.aread()
        request = answer.request
        text = answer.content.decode("utf-8", "replace") + str(answer.headers)
        self.told[f"{len(self.told)} {request.method} {request.url.raw_path.decode()}"] = text
        if answer.is_success:
            path = request.url.path
            self.answered |= {
                name for name, method, at in self._paths if (method, bool(at.fullmatch(path))) == (request.method, True)
            }


def _compile(path: str) -> re.Pattern[str]:
    # the words of a path go before its names, as in the routes: /api/intent/pending is nobody's id
    return re.compile(re.sub(r"\{\w+\}", r"[0-9a-f-]{36}", path))
