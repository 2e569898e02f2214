"""What a real browser makes of the streams: the API guide's hooks as they are printed there, and readable closes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Page

from contracts.execution import ExecutionStatus
from contracts.model import ExecutionId
from tests.support.eventlog import Log, Store, cancelled, line, status
from tests.support.streams import TENANT, Front, finish, stage
from tests.support.tab import open_tab

# React's part and Vue's part, as small as they can be; between them stands the guide's code.
REACT = """
(address) => {
  const states = [], cleanups = [];
  const useRef = (value) => ({ current: value });
  const useState = (first) => {
    const slot = states.push(first) - 1;
    return [() => states[slot], (next) => { states[slot] = typeof next === 'function' ? next(states[slot]) : next; }];
  };
  const useEffect = (effect) => cleanups.push(effect());

  function useExecutionStream(executionId) {
    const [status, setStatus] = useState('pending');
    const [nodeStates, setNodeStates] = useState({});
    const [logs, setLogs] = useState([]);
    const [error, setError] = useState(null);
    const wsRef = useRef(null);

    useEffect(() => {
      if (!executionId) return;

      const ws = new WebSocket(address);

      ws.onopen = () => {
        console.log('WebSocket connected');
      };

      ws.onmessage = (event) => {
        const message = JSON.parse(event.data);

        switch (message.type) {
          case 'status':
            setStatus(message.status);
            break;
          case 'node_update':
            setNodeStates(prev => ({
              ...prev,
              [message.node_id]: message.node_state
            }));
            break;
          case 'log':
            setLogs(prev => [...prev, message.log]);
            break;
          case 'completion':
            setStatus('completed');
            break;
          case 'error':
            setError(message.error);
            setStatus('failed');
            break;
        }
      };

      ws.onerror = (error) => {
        console.error('WebSocket error:', error);
        setError('WebSocket connection error');
      };

      ws.onclose = () => {
        console.log('WebSocket closed');
        window.over = true;
      };

      wsRef.current = ws;

      return () => {
        ws.close();
      };
    }, [executionId]);

    return { status, nodeStates, logs, error };
  }

  const hook = useExecutionStream('exec-123');
  window.stream = () => Object.fromEntries(Object.entries(hook).map(([name, read]) => [name, read()]));
}
"""
VUE = """
(address) => {
  const ref = (value) => ({ value });
  const onMounted = (run) => run();
  const onUnmounted = () => {};

  function useExecutionStream(executionId) {
    const status = ref('pending');
    const nodeStates = ref({});
    const logs = ref([]);
    const error = ref(null);
    let ws = null;

    onMounted(() => {
      ws = new WebSocket(address);

      ws.onmessage = (event) => {
        const message = JSON.parse(event.data);

        switch (message.type) {
          case 'status':
            status.value = message.status;
            break;
          case 'node_update':
            nodeStates.value[message.node_id] = message.node_state;
            break;
          case 'log':
            logs.value.push(message.log);
            break;
          case 'error':
            error.value = message.error;
            status.value = 'failed';
            break;
        }
      };
      ws.onclose = () => { window.over = true; };
    });

    onUnmounted(() => {
      ws?.close();
    });

    return { status, nodeStates, logs, error };
  }

  const composable = useExecutionStream('exec-123');
  window.stream = () => Object.fromEntries(Object.entries(composable).map(([name, one]) => [name, one.value]));
}
"""
CLOSE = """
(address) => new Promise((resolve) => {
  const ws = new WebSocket(address);
  ws.onclose = (event) => resolve({ code: event.code, reason: event.reason, clean: event.wasClean });
})
"""


@asynccontextmanager
async def page_of(front: Front) -> AsyncIterator[Page]:
    """A tab on a page of this installation."""
    origin = front.served.http()
    front.rules.origins.add(origin)
    async with open_tab() as tab:
        await tab.goto(f"{origin}/")
        yield tab


async def until_closed(tab: Page) -> dict[str, Any]:
    await tab.wait_for_function("window.over === true")
    state: dict[str, Any] = await tab.evaluate("window.stream()")
    return state


def play(store: Store) -> tuple[Log, Log]:
    good, bad = store.create(TENANT), store.create(TENANT)
    store.append(good, status(good, ExecutionStatus.RUNNING), line(good, "hi"))
    store.append(bad, status(bad, ExecutionStatus.CANCELLED), cancelled(bad, "by Ada"))
    return good, bad


@pytest.mark.parametrize("hook", [REACT, VUE], ids=["react", "vue"])
async def test_the_guides_own_code_works_unchanged(hook: str) -> None:
    store = Store()
    good, bad = play(store)
    async with stage(store) as front, page_of(front) as tab:
        await tab.evaluate(hook, front.guide(good.execution_id))
        await tab.wait_for_function("window.stream().logs.length === 1")
        assert await tab.evaluate("window.stream().status") == "running"
        finish(store, good)
        ended = await until_closed(tab)
        assert (ended["status"], ended["error"]) == ("completed", None)
        assert [entry["message"] for entry in ended["logs"]] == ["hi"]
        await tab.evaluate("window.over = false")
        await tab.evaluate(hook, front.guide(bad.execution_id))
        ended = await until_closed(tab)
        assert (ended["status"], ended["error"]) == ("failed", "Cancelled: by Ada")


async def test_a_browser_can_read_why_it_was_closed_but_not_why_it_was_refused() -> None:
    store = Store()
    log = store.create(TENANT)
    finish(store, log)
    async with stage(store) as front, page_of(front) as tab:
        done = await tab.evaluate(CLOSE, front.stream(log.execution_id))
        unknown = await tab.evaluate(CLOSE, front.stream(ExecutionId(uuid4())))
        stranger = await tab.evaluate(CLOSE, front.guide(log.execution_id).replace("token=me", "token=you"))
        front.rules.origins.clear()
        refused = await tab.evaluate(CLOSE, front.stream(log.execution_id))
    assert done == {"code": 1000, "reason": '{"code":"done","retry":false}', "clean": True}
    assert (unknown["code"], stranger["code"]) == (4404, 4401)
    assert '"code":"not_found","retry":false' in unknown["reason"]
    assert '"code":"unauthenticated","retry":false' in stranger["reason"]
    assert (refused["code"], refused["reason"]) == (1006, "")
