"""Who is served when: an event is everybody's, a newcomer and a client that takes frames again are nobody else's."""

from uuid import uuid4

from contracts.frames import Close
from contracts.model import ExecutionId
from experience.realtime.hub import Audience

EXECUTION = ExecutionId(uuid4())


class Client:
    """Counts how often it is served; `more` times it could take more."""

    batch = False

    def __init__(self, more: int = 0) -> None:
        self.served: list[int] = []
        self.failed: Close | None = None
        self._more = more

    def advance(self, budget: int) -> bool:
        self.served.append(budget)
        self._more -= 1
        return self._more >= 0

    def fail(self, close: Close) -> None:
        self.failed = close


def test_a_newcomer_costs_the_others_nothing() -> None:
    audience = Audience()
    clients = [Client() for _ in range(100)]
    for client in clients:
        audience.add(client)
        audience.serve(EXECUTION)
    assert [len(client.served) for client in clients] == [1] * 100
    assert not audience.due


def test_an_event_is_for_all_and_the_budget_is_shared() -> None:
    audience = Audience()
    clients = [Client() for _ in range(4)]
    for client in clients:
        audience.add(client)
    audience.call_all()
    audience.serve(EXECUTION)
    assert [client.served for client in clients] == [[128]] * 4


def test_only_who_could_take_more_is_served_again() -> None:
    audience = Audience()
    quick, slow = Client(), Client(more=1)
    audience.add(quick)
    audience.add(slow)
    audience.serve(EXECUTION)
    assert audience.due
    audience.serve(EXECUTION)
    audience.call(slow)
    audience.serve(EXECUTION)
    assert (len(quick.served), len(slow.served)) == (1, 3)


def test_who_has_left_is_served_no_more() -> None:
    audience = Audience()
    client = Client()
    audience.add(client)
    audience.remove(client)
    audience.call(client)
    assert not audience.due
    audience.call_all()
    assert not audience.due
    audience.serve(EXECUTION)
    assert client.served == []


def test_a_client_that_fails_is_let_go_and_the_others_served() -> None:
    class Broken(Client):
        def advance(self, budget: int) -> bool:
            raise RuntimeError(budget)

    audience = Audience()
    broken, sound = Broken(), Client()
    audience.add(broken)
    audience.add(sound)
    audience.serve(EXECUTION)
    assert broken.failed is Close.INTERNAL
    assert sound.served
