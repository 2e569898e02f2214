"""What Runtime can be asked to do."""

from contracts.api.runtime import RuntimeApi
from contracts.execution import Realms
from contracts.model import Nothing
from contracts.wiring.internal import InternalCaller
from contracts.wiring.server import Call, Server


class RealmHandlers:
    """The same for every tenant."""

    def __init__(self, realms: Realms) -> None:
        self._realms = realms

    def serve(self, server: Server[InternalCaller]) -> None:
        """Bind the handler."""
        server.on(RuntimeApi.get_realms, self.get_realms)

    async def get_realms(self, _: Call[InternalCaller], __: Nothing) -> Realms:
        """Each intent with the JSON Schema of its parameters."""
        return self._realms
