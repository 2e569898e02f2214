"""A text for a crowd is made a frame once, and each of the crowd reads it whole."""

import asyncio

import pytest
from websockets.frames import Frame, Opcode

from contracts.wiring import uvicorn_socket
from contracts.wiring.uvicorn_socket import make_frame
from tests.support.eventlog import Store, line
from tests.support.sockets import open_socket, read_frame
from tests.support.streams import TENANT, read_seqs, stage


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_is_what_the_library_makes_of_it(size: int) -> None:
    text = "é" * (size // 2) + "x" * (size % 2)
    assert make_frame(text) == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


async def test_a_crowd_shares_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Counted(Frame):
        def serialize(self, *, mask: bool, extensions: object = None) -> bytes:
            made.append(bytes(self.data).decode())
            return super().serialize(mask=mask)

    monkeypatch.setattr(uvicorn_socket, "Frame", Counted)
    make_frame.cache_clear()
    store = Store()
    log = store.create(TENANT)
    async with stage(store) as front:
        address = front.stream(log.execution_id)
        async with open_socket(address) as one, open_socket(address) as two, open_socket(address) as three:
            for client in (one, two, three):
                assert (await read_frame(client))["type"] == "hello"
                assert await read_seqs(client, until=1) == [1]
            store.append(log, line(log, "for all of you"))
            for client in (one, two, three):
                assert (await read_frame(client))["log"]["message"] == "for all of you"
            await asyncio.sleep(0)
    told = [text for text in made if "for all of you" in text]
    assert len(told) == len(set(told))  # Runtime's channel, which is served here too, has a text of its own
