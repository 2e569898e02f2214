import { act, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import type { Event, Execution, Frame } from "../api/nouns";
import { type House, ME, openPage, Refusal } from "../testing/house";
import { accepted, cancelled, EXECUTION, hello, node, snapshot, status, stopped } from "../testing/log";
import { latest } from "../testing/socket";

const AT = `/api/execution/${EXECUTION}`;
const NEXT = "0190a0a0-0000-7000-8000-000000000002";
const QUESTION = {
  node_id: "b",
  node_name: "Take the lamp",
  message: "A worker was lost while it ran.",
  hint: "Look into the shop's orders.",
  answers: ["happened" as const, "run_again" as const],
};

afterEach(() => {
  vi.unstubAllGlobals();
});

async function say(house: House, ...frames: (Event | Frame)[]): Promise<void> {
  await act(async () => {
    for (const frame of frames) latest(house.sockets).send(frame);
    await new Promise((done) => setTimeout(done, 90));
  });
}

async function open(facts: Partial<Execution>, answers: Record<string, unknown> = {}): Promise<House> {
  const house = openPage(`/executions/${EXECUTION}`, {
    [`GET ${AT}/status`]: snapshot(facts),
    [`GET /api/execution/${NEXT}/status`]: snapshot({
      execution_id: NEXT,
      retry_of: EXECUTION,
      started_at: "2026-01-01T00:00:00Z",
    }),
    ...answers,
  });
  await screen.findByRole("heading", { level: 1, name: "Buy a lamp" });
  return house;
}

/** Failed at its second node. */
function failed(facts: Partial<Execution> = {}): Partial<Execution> {
  const why = { code: "timeout" as const, message: "Slow.", hint: "", node_id: "b", page_url: null, asks_about: null };
  const nodes = snapshot().nodes.map((one) =>
    one.node_id === "a" ? { ...one, status: "success" as const } : { ...one, status: "failed" as const, error: why },
  );
  return { status: "failed", error: why, nodes, head_seq: 3, ...facts };
}

it("pauses and resumes, and says what is still under way", async () => {
  const house = await open(
    {},
    {
      [`POST ${AT}/pause`]: snapshot({ pause_requested: true, head_seq: 2 }),
      [`POST ${AT}/resume`]: snapshot({ status: "paused", head_seq: 3 }),
    },
  );
  await say(house, hello(), accepted(1), status(2, "running"));
  await userEvent.click(screen.getByRole("button", { name: "Pause" }));
  expect(await screen.findByText("Pausing…")).toBeTruthy();
  expect(screen.getByRole("button", { name: "Go on after all" })).toBeTruthy();
  await say(house, status(3, "paused"));
  expect(screen.getByText("Paused")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Resume" }));
  expect(await screen.findByText("Resuming…")).toBeTruthy();
  await say(house, status(4, "running"));
  expect(screen.getByText("Running")).toBeTruthy();
  expect(screen.getByRole("button", { name: "Pause" })).toBeTruthy();
});

it("retries from what failed, once for a double click, and goes to the new one", async () => {
  let sent: unknown;
  const steps = {
    items: [
      { node_id: "a", reused: true },
      { node_id: "b", reused: false },
    ],
  };
  const house = await open(failed(), {
    [`POST ${AT}/retry`]: (body: unknown) => {
      sent = body;
      return { execution_id: NEXT };
    },
    [`GET /api/execution/${NEXT}/steps`]: steps,
  });
  await userEvent.click(screen.getByRole("button", { name: "Retry" }));
  const start = screen.getByRole("button", { name: "Start the retry" });
  expect(document.activeElement).toBe(start);
  expect((screen.getByRole("radio", { name: /From what failed/ }) as HTMLInputElement).checked).toBe(true);
  await userEvent.dblClick(start);
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent).toEqual({ start_at: "failed", node_id: null, version: "same", answers: {} });
  expect(new Set(house.keys).size).toBe(1);
  const back = await screen.findByRole("link", { name: /Retry of/ });
  expect(back.getAttribute("href")).toBe(`/executions/${EXECUTION}`);
  expect(await screen.findAllByText("taken over")).toHaveLength(1);
});

it("retries from a chosen node with the latest version, and asks again with a new key after a refusal", async () => {
  const sent: unknown[] = [];
  const house = await open(failed({ workflow_id: "w", workflow_version: 2 }), {
    [`POST ${AT}/retry`]: (body: unknown) => {
      sent.push(body);
      return sent.length === 1 ? new Refusal(422, "workflow_invalid", "It can't run.") : { execution_id: NEXT };
    },
  });
  await userEvent.click(screen.getByRole("button", { name: "Retry" }));
  await userEvent.click(screen.getByRole("radio", { name: /From a node/ }));
  await userEvent.selectOptions(screen.getByLabelText("Node to start from"), "a");
  await userEvent.selectOptions(screen.getByLabelText("Version"), "latest");
  await userEvent.click(screen.getByRole("button", { name: "Start the retry" }));
  expect(await screen.findByText("It can't run.")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Start the retry" }));
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent[1]).toEqual({ start_at: "node", node_id: "a", version: "latest", answers: {} });
  expect(new Set(house.keys).size).toBe(2);
});

it("asks about nodes of which only a person knows, and sends what is said", async () => {
  const sent: { answers: object }[] = [];
  const fault = { where: "body.answers.b", rule: "answer_needed", detail: "?", node_id: "b", handle: null };
  await open(failed(), {
    [`POST ${AT}/retry`]: (body: { answers: object }) => {
      sent.push(body);
      return sent.length === 1 ? new Refusal(409, "conflict", "Only a person knows.", [fault]) : { execution_id: NEXT };
    },
  });
  await userEvent.click(screen.getByRole("button", { name: "Retry" }));
  const start = screen.getByRole("button", { name: "Start the retry" }) as HTMLButtonElement;
  await userEvent.click(start);
  const asked = within(await screen.findByRole("group", { name: "Take the lamp" }));
  expect(start.disabled).toBe(true);
  await userEvent.click(asked.getByRole("radio", { name: "It happened" }));
  await userEvent.click(start);
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent[1]?.answers).toEqual({ b: "happened" });
});

const ASKED = new Refusal(409, "conflict", "Only a person knows.", [
  { where: "body.answers.b", rule: "answer_needed", detail: "?", node_id: "b", handle: null },
]);

it("asks where a retry begins elsewhere, and not any more when something else is chosen", async () => {
  const sent: object[] = [];
  await open(failed(), {
    [`POST ${AT}/retry`]: (body: object) => {
      sent.push(body);
      return sent.length < 3 ? ASKED : { execution_id: NEXT };
    },
  });
  await userEvent.click(screen.getByRole("button", { name: "Retry" }));
  await userEvent.click(screen.getByRole("radio", { name: /From a node/ }));
  await userEvent.selectOptions(screen.getByLabelText("Node to start from"), "a");
  const start = screen.getByRole("button", { name: "Start the retry" }) as HTMLButtonElement;
  await userEvent.click(start);
  await userEvent.click(
    within(await screen.findByRole("group", { name: "Take the lamp" })).getByLabelText("It happened"),
  );
  await userEvent.click(screen.getByRole("radio", { name: /From what failed/ }));
  expect(screen.queryByRole("group", { name: "Take the lamp" })).toBeNull();
  await userEvent.click(start);
  const asked = within(await screen.findByRole("group", { name: "Take the lamp" }));
  expect(start.disabled).toBe(true);
  await userEvent.click(asked.getByRole("radio", { name: "Run it again" }));
  await userEvent.click(start);
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent).toMatchObject([
    { start_at: "node", node_id: "a", answers: {} },
    { start_at: "failed", answers: {} },
    { start_at: "failed", answers: { b: "run_again" } },
  ]);
});

it("asks in a node's details, too", async () => {
  const sent: object[] = [];
  await open(failed(), {
    [`POST ${AT}/retry`]: (body: object) => {
      sent.push(body);
      return sent.length === 1 ? ASKED : { execution_id: NEXT };
    },
  });
  await userEvent.click(screen.getByRole("button", { name: /Open the shop, / }));
  const start = screen.getByRole("button", { name: /Retry from here/ }) as HTMLButtonElement;
  await userEvent.click(start);
  const asked = within(await screen.findByRole("group", { name: "Take the lamp" }));
  expect(start.disabled).toBe(true);
  await userEvent.click(asked.getByRole("radio", { name: "It happened" }));
  await userEvent.click(start);
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent[1]).toMatchObject({ start_at: "node", node_id: "a", answers: { b: "happened" } });
});

it("closes its choices with Escape, and the focus goes back", async () => {
  await open(failed());
  const opener = screen.getByRole("button", { name: "Retry" });
  await userEvent.click(opener);
  await userEvent.keyboard("{Escape}");
  expect(screen.queryByRole("form", { name: "Retry" })).toBeNull();
  expect(document.activeElement).toBe(opener);
});

it("retries from a node's details", async () => {
  let sent: unknown;
  await open(failed(), {
    [`POST ${AT}/retry`]: (body: unknown) => {
      sent = body;
      return { execution_id: NEXT };
    },
  });
  await userEvent.click(screen.getByRole("button", { name: /Open the shop, / }));
  await userEvent.click(screen.getByRole("button", { name: /Retry from here/ }));
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent).toMatchObject({ start_at: "node", node_id: "a" });
});

it("asks what only a person knows, with what each answer does", async () => {
  let sent: unknown;
  const house = await open(failed({ question: QUESTION }), {
    [`POST ${AT}/answer`]: (body: unknown) => {
      sent = body;
      return { execution_id: NEXT };
    },
  });
  const card = within(screen.getByRole("region", { name: /Take the lamp/ }));
  expect(card.getByText("A worker was lost while it ran.")).toBeTruthy();
  const yes = card.getByRole("button", { name: "It happened" });
  const meaning = document.getElementById(yes.getAttribute("aria-describedby") ?? "");
  expect(meaning?.textContent).toMatch(/does not run a second time/);
  await userEvent.dblClick(yes);
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent).toEqual({ answer: "happened" });
  expect(house.asked.filter((asked) => asked.endsWith("/answer"))).toHaveLength(1);
});

it("says kindly that somebody else has answered", async () => {
  await open(failed({ question: QUESTION }), {
    [`POST ${AT}/answer`]: new Refusal(409, "conflict", "Answered already."),
  });
  await userEvent.click(screen.getByRole("button", { name: "Run it again" }));
  expect(await screen.findByText(/Somebody has answered this already/)).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
  expect(screen.queryByRole("button", { name: "Run it again" })).toBeNull();
});

it("sends nobody on from what failed while a question is open", async () => {
  await open(failed({ question: QUESTION }));
  await userEvent.click(screen.getByRole("button", { name: "Retry" }));
  expect((screen.getByRole("radio", { name: /From what failed/ }) as HTMLInputElement).disabled).toBe(true);
});

it("lets a viewer see the question, and do nothing", async () => {
  await open(failed({ question: QUESTION }), {
    "GET /api/auth/me": { ...ME, role: "viewer", scopes: ["execution:read", "workflow:read"] },
  });
  expect(await screen.findByText("Your role may watch, not answer.")).toBeTruthy();
  for (const name of ["Retry", "It happened"]) expect(screen.queryByRole("button", { name })).toBeNull();
});

it("shows a node that a cancel has stopped as stopped, not as failed", async () => {
  const house = await open({});
  await say(
    house,
    hello(),
    accepted(1),
    status(2, "running"),
    node(3, "a", "running"),
    ...stopped(4, "a"),
    cancelled(6),
  );
  expect(screen.getByRole("button", { name: /Open the shop, Stopped/ })).toBeTruthy();
  expect(document.querySelector(".is-failed")).toBeNull();
});
