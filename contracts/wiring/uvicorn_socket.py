"""uvicorn's WebSocket protocol with our manners: how it says goodbye, and what it does about peers that are dead.

Six things can't be reached from inside an ASGI application, and matter to long-lived streams:
- on SIGTERM uvicorn closes with 1012 and no reason, and waits for a stalled peer to read it until the drain time ends;
- a peer without pongs is closed with 1011, and one that also stopped reading is never let go, because a transport only
  closes once its buffer is empty;
- interval and timeout of the protocol's ping are the server's, not the channel's;
- a message that is refused half-way is answered by hanging up, and a peer that is still sending sees its connection
  reset instead of the close code;
- a handshake that is refused over HTTP is logged as an error of the application, which any client could bring about;
- what a crowd is told would become a frame anew for each of it.
"""

from asyncio import BaseTransport
from functools import lru_cache
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Close as CloseFrame
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from contracts.frames import Close
from contracts.wiring.channel import get_keepalive
from contracts.wiring.outlet import close_reason

MESSAGE_LIMIT = 1_048_576
"""Bytes of a message that are read at all; beyond it the server closes with 1009."""
_LAST_WORDS_S = 0.8
"""Time a peer gets to take the close frame before its connection is cut."""
_QUIET_S = 0.3
"""Silence after which a peer whose message was refused has finished sending."""


class SocketProtocol(WebSocketsSansIOProtocol):
    """Give it to uvicorn as `ws=SocketProtocol`; see `uvicorn_settings`."""

    _discarding = False

    def connection_made(self, transport: BaseTransport) -> None:
        """Keep handshakes out of the log at any level: they carry cookies and tokens."""
        self.conn.debug = False
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take what the peer sends, or throw it away once a message of its has been refused."""
        if self._discarding:
            self._await_quiet()
        else:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """Say why, and read on without looking until the peer has heard it."""
        assert self.conn.close_sent is not None  # noqa: S101 — that is how the parser fails
        code, said = self.conn.close_sent.code, self.conn.close_sent.reason
        reason = close_reason(Close.TOO_BIG, said) if code == Close.TOO_BIG else said
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        # the library has put its own last word, for people, at the end; programs read ours
        written = b"".join(self.conn.data_to_send()).removesuffix(_close_frame(code, said))
        self.transport.write(written + _close_frame(code, reason))
        self.stop_keepalive()
        self.close_sent = True
        self._discarding = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.loop.call_later(self.close_timeout, self.transport.abort)
        self._await_quiet()

    async def send(self, message: Any) -> None:
        """As uvicorn does; but a text for many becomes a frame once."""
        text = message.get("text")
        if text is None or not self._takes_frames or not self.writable.is_set():
            await super().send(message)
            if self.close_sent and self.initial_response is not None:
                self.handshake_complete = True  # refused over HTTP, and whole: uvicorn would report it as unanswered
        else:
            self.transport.write(make_frame(text))

    @property
    def _takes_frames(self) -> bool:
        conn = self.conn
        ready = self.handshake_complete and not self.close_sent and not self.disconnected
        return ready and conn.state is State.OPEN and not conn.extensions

    def start_keepalive(self) -> None:
        """Ping as the channel asked for."""
        asked = get_keepalive(self.scope)
        if asked is not None:
            self.ping_interval, self.ping_timeout = asked.interval_s, asked.timeout_s
        super().start_keepalive()
        # the handshake is over: its headers, parsed once more into the scope, would be a tenth of what a socket weighs
        self.request.headers.clear()
        self.response.headers.clear()

    def keepalive_timeout(self) -> None:
        """Close with 4408 and let go, whether the peer can still read that or not."""
        self.pong_timer = None
        self.pending_ping_payload = None
        if not self.close_sent and not self.transport.is_closing():
            self._leave(Close.DEAD_PEER)

    def shutdown(self) -> None:
        """Close with 1012; the peer comes back to another process or to the next one."""
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self.stop_keepalive()
            self._leave(Close.RESTARTING)
        else:
            super().shutdown()

    def _await_quiet(self) -> None:
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(_QUIET_S, self.transport.close)

    def _leave(self, close: Close) -> None:
        reason = close_reason(close)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": int(close), "reason": reason})
        self.conn.send_close(int(close), reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
        self.loop.call_later(_LAST_WORDS_S, self.transport.abort)


def _close_frame(code: int, reason: str) -> bytes:
    return Frame(Opcode.CLOSE, CloseFrame(code, reason).serialize()).serialize(mask=False)


@lru_cache(maxsize=4)
def make_frame(text: str) -> bytes:
    """A text as a server's frame: whole, unmasked, not compressed (RFC 6455 5.2)."""
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


def uvicorn_settings(*, ping_interval_s: float = 20.0, ping_timeout_s: float = 20.0) -> dict[str, Any]:
    """What a server of channels passes to `uvicorn.Config` besides its own settings."""
    return {
        "ws": SocketProtocol,
        "ws_max_size": MESSAGE_LIMIT,
        "ws_ping_interval": ping_interval_s,
        "ws_ping_timeout": ping_timeout_s,
        # deflate costs 2.5 times the memory and CPU per socket, and events are small
        "ws_per_message_deflate": False,
    }
