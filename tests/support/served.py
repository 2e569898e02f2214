"""An application on a real socket, in a thread and a loop of its own, so that a fixture may start and stop it."""

import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from contracts.wiring.uvicorn_socket import uvicorn_settings

START_TIMEOUT_S = 60.0


class ServedThread:
    """Serves from its making until `close`."""

    def __init__(self, app: ASGIApp, listening: socket.socket, *, abrupt: bool = False) -> None:
        """`abrupt` ends without waiting for anything, as a machine that falls over does; else as SIGTERM does."""
        self._listening = listening
        self._abrupt = abrupt
        self.port: int = self._listening.getsockname()[1]
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            proxy_headers=True,
            forwarded_allow_ips="127.0.0.1",
            lifespan="off" if abrupt else "on",
            timeout_keep_alive=95,
            timeout_graceful_shutdown=3,
            **uvicorn_settings(),
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listening],), name=f"served {self.port}")
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            assert self._thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server took too long to start"
            time.sleep(0.005)

    def cut(self) -> None:
        """Reset every open connection; from the server's own thread."""
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()

    def close(self) -> None:
        """Stop."""
        self._server.should_exit = True
        self._server.force_exit = self._abrupt
        self._thread.join(START_TIMEOUT_S)
        self._listening.close()


def listen(port: int = 0) -> socket.socket:
    """A listening socket on loopback; the port of one that was closed can be had again."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made
