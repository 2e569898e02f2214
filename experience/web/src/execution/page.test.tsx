import { act, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import type { Event, Frame } from "../api/nouns";
import { CLICK, type House, ME, openPage, Refusal } from "../testing/house";
import {
  accepted,
  attempt,
  cancelled,
  completion,
  cutShort,
  EXECUTION,
  failure,
  hello,
  line,
  node,
  picture,
  snapshot,
  status,
  stopped,
} from "../testing/log";
import { latest } from "../testing/socket";
import { phaseState } from "./head";

const PATH = `/executions/${EXECUTION}`;

afterEach(() => {
  vi.unstubAllGlobals();
});

/** The stream says something, and the page has drawn it. */
async function say(house: House, ...frames: (Event | Frame)[]): Promise<void> {
  await act(async () => {
    for (const frame of frames) latest(house.sockets).send(frame);
    await new Promise((done) => setTimeout(done, 90));
  });
}

async function open(answers = {}): Promise<House> {
  const house = openPage(PATH, answers);
  await screen.findByRole("heading", { level: 1, name: "Buy a lamp" });
  return house;
}

it("shows an execution as it goes", async () => {
  const house = await open();
  await say(house, hello(), accepted(1), status(2, "running"), node(3, "a", "running"), line(4, "Opening", "a"));
  expect(screen.getByText("Live")).toBeTruthy();
  expect(screen.getByRole("button", { name: /Open the shop, Running/ })).toBeTruthy();
  expect(within(screen.getByRole("log")).getByText("Opening")).toBeTruthy();
  expect(document.title).toBe("Running · Buy a lamp · Stagedoor");

  await say(house, node(5, "a", "success"), status(6, "running", 0.5), picture(7));
  expect(screen.getByRole("progressbar").getAttribute("aria-valuenow")).toBe("50");
  expect(screen.getByRole("button", { name: /Open the shop, Done/ })).toBeTruthy();
  expect(screen.getByText("http://shop.test/")).toBeTruthy();

  await say(house, completion(8));
  expect(screen.getByText("Complete record")).toBeTruthy();
  expect(screen.getByRole("tab", { name: "Result" }).getAttribute("aria-selected")).toBe("true");
  expect(screen.getByText("GL-1")).toBeTruthy();
  await waitFor(() => expect(house.asked.filter((asked) => asked.includes("/status"))).toHaveLength(2));
});

it("asks for its own tenant's execution", async () => {
  const house = await open();
  expect(house.asked).toContain(`GET /api/execution/${EXECUTION}/status?tenant_id=t&include_artifacts=true`);
});

it("says that it is reconnecting, and comes back by itself", async () => {
  const house = await open();
  await say(house, hello(), accepted(1), line(2));
  act(() => latest(house.sockets).end(1006));
  expect(screen.getByText("Reconnecting…")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: "Try now" }));
  expect(latest(house.sockets).query.get("after")).toBe("2");
  await say(house, hello({ resumed: "recovered", from_seq: 2 }), line(2), line(3, "and on"));
  expect(screen.getByText("Live")).toBeTruthy();
  expect(screen.getAllByText(/^line 2$/)).toHaveLength(1);
  expect(screen.getByText("and on")).toBeTruthy();
});

it("goes to sign in when the login is over, to come back here", async () => {
  const house = await open();
  await say(house, hello());
  house.answers["GET /api/auth/me"] = new Refusal(401, "unauthenticated");
  await act(async () => {
    latest(house.sockets).end(4401);
    await new Promise((done) => setTimeout(done, 20));
  });
  expect(await screen.findByRole("heading", { name: "Sign in" })).toBeTruthy();
  expect(window.location.search).toBe(`?next=${encodeURIComponent(PATH)}`);
});

it.each([4404, null])("says that there is no such execution (close %j)", async (code) => {
  const house = openPage(
    PATH,
    code ? {} : { [`GET /api/execution/${EXECUTION}/status`]: new Refusal(404, "not_found") },
  );
  if (code) {
    await screen.findByRole("heading", { level: 1, name: "Buy a lamp" });
    act(() => latest(house.sockets).end(code));
  }
  expect(await screen.findByRole("heading", { name: "There is no such execution." })).toBeTruthy();
});

it("tells a failure with its way out, and each attempt", async () => {
  const house = await open();
  await say(
    house,
    hello(),
    accepted(1),
    attempt(2, "a", 1, "retrying"),
    attempt(3, "a", 2, "failed"),
    node(4, "a", "failed"),
  );
  const why = { code: "timeout", message: "Too slow.", hint: "Wait longer.", node_id: "a", page_url: null };
  house.answers[`GET /api/execution/${EXECUTION}/status`] = snapshot({
    status: "failed",
    head_seq: 5,
    error: why as never,
  });
  await say(house, failure(5));
  expect(await screen.findByText("Wait longer.")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: /Open the shop, / }));
  const details = within(screen.getByRole("tabpanel"));
  expect(details.getAllByText("timeout")).toHaveLength(2);
});

it("shows the past of a cancelled one", async () => {
  const house = await open({
    [`GET /api/execution/${EXECUTION}/status`]: snapshot({ status: "cancelled", head_seq: 3 }),
  });
  await say(house, hello({ head_seq: 3, status: "cancelled" }), accepted(1), line(2, "It began"), cancelled(3));
  expect(screen.getByText("It began")).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Cancel" })).toBeNull();
});

it("tells paused, stopped and failed nodes apart, by word and by sign", async () => {
  const house = await open();
  await say(house, hello(), accepted(1), status(2, "running"), node(3, "a", "running"), ...cutShort(4, "a"));
  await say(house, ...stopped(6, "b"));
  const [paused, halted] = screen.getAllByRole("button", { name: /, (Paused|Stopped)/ });
  expect(paused?.className).toContain("wait");
  expect(halted?.className).toContain("halt");
  expect(paused?.querySelector("svg")?.innerHTML).not.toBe(halted?.querySelector("svg")?.innerHTML);
  await say(house, node(8, "b", "failed"), attempt(9, "b", 2, "failed"));
  const failed = screen.getByRole("button", { name: /Take the lamp, Failed/ });
  expect(failed.className).toContain("bad");
});

it("says where pictures come from while there are none", async () => {
  const house = await open();
  await say(house, hello(), accepted(1), status(2, "running"));
  const stage = within(screen.getByRole("region", { name: "Browser pictures" }));
  expect(stage.getByText("No picture yet")).toBeTruthy();
  expect(stage.getByText(/where a “Screenshot” node runs/)).toBeTruthy();
  await say(house, picture(3));
  expect(stage.queryByText("No picture yet")).toBeNull();
  expect(stage.getByText("Loading the picture…")).toBeTruthy();
});

it("says of one that is over that no pictures were taken", async () => {
  const house = await open();
  await say(house, hello(), accepted(1), completion(2));
  expect(screen.getByText("No pictures were taken")).toBeTruthy();
});

const CALL = {
  event_id: "e-1",
  execution_id: EXECUTION,
  node_id: "a",
  user_id: "u",
  tool: "http_request",
  what: "GET https://shop.test/lamps",
  outcome: "http_failed",
  sent: 0,
  received: 2048,
  seconds: 1.24,
  at: "2026-01-01T00:00:02Z",
};

it("tells an auditor which tools a node called, and why its type can't be run", async () => {
  const why = "no code can be run (bwrap: not installed). Install bubblewrap.";
  const house = await open({
    "GET /api/auth/me": { ...ME, scopes: [...ME.scopes, "audit"] },
    "GET /api/admin/tool-events": { items: [CALL, { ...CALL, event_id: "e-2", node_id: "b" }], next_cursor: null },
    "GET /api/node-types": { items: [{ ...CLICK, unavailable: why }] },
  });
  await say(house, hello(), accepted(1), completion(2));
  await userEvent.click(screen.getByRole("tab", { name: /Nodes/ }));
  await userEvent.click(screen.getByRole("button", { name: /Open the shop, / }));
  const details = within(screen.getByRole("tabpanel"));
  const [told, ...others] = (await details.findByText("http_request")).closest("ol")?.querySelectorAll("li") ?? [];
  expect(told?.textContent).toMatch(/http failed.*GET https:\/\/shop\.test\/lamps.*got 2.*1\.2 s/);
  expect(others).toEqual([]);
  expect(details.getByText(why)).toBeTruthy();
  expect(house.asked).toContain(`GET /api/admin/tool-events?execution_id=${EXECUTION}&limit=200`);
});

it("asks for no tools where somebody may not read them", async () => {
  const house = await open();
  await say(house, hello(), accepted(1), status(2, "running"));
  await userEvent.click(screen.getByRole("button", { name: /Open the shop, / }));
  expect(screen.queryByText("Tools called")).toBeNull();
  expect(house.asked.filter((asked) => asked.includes("tool-events"))).toEqual([]);
});

it("cancels at the second press", async () => {
  let sent: unknown;
  const house = await open({
    [`POST /api/execution/${EXECUTION}/cancel`]: (body: unknown) => {
      sent = body;
      return snapshot({ cancel_requested: true });
    },
  });
  await say(house, hello(), accepted(1), status(2, "running"));
  await userEvent.click(screen.getByRole("button", { name: "Cancel" }));
  expect(house.asked.some((asked) => asked.startsWith("POST"))).toBe(false);
  await userEvent.click(screen.getByRole("button", { name: "Really cancel?" }));
  expect(house.asked).toContain(`POST /api/execution/${EXECUTION}/cancel`);
  expect(await screen.findByRole("button", { name: "Cancelling…" })).toBeTruthy();
  expect(sent).toEqual({ reason: "by hand, on the page" }); // it stands behind “Cancelled: ”
});

it("filters the log by level and by node", async () => {
  const house = await open();
  const warning = line(3, "Careful", "b") as Extract<Event, { type: "log" }>;
  warning.log.level = "warning";
  await say(house, hello(), accepted(1), line(2, "Opening", "a"), warning);
  const log = within(screen.getByRole("log"));
  await userEvent.selectOptions(screen.getByLabelText("Level"), "warning");
  expect(log.queryByText("Opening")).toBeNull();
  expect(log.getByText(/Careful/)).toBeTruthy();
  await userEvent.selectOptions(screen.getByLabelText("Level"), "info");
  await userEvent.click(log.getByRole("button", { name: "Open the shop" }));
  await userEvent.click(screen.getByRole("button", { name: "Only Open the shop" }));
  expect(log.queryByText(/Careful/)).toBeNull();
});

it("looks at an older picture until told to follow again", async () => {
  const house = await open();
  await say(house, hello(), accepted(1), picture(2, "one"), picture(3, "two"));
  const [first] = screen.getAllByRole("button", { name: /After/ });
  await userEvent.click(first as HTMLElement);
  await say(house, picture(4, "three"));
  expect(first?.getAttribute("aria-pressed")).toBe("true");
  await userEvent.click(screen.getByRole("button", { name: "Latest" }));
  expect(screen.getAllByRole("button", { name: /After/ })[2]?.getAttribute("aria-pressed")).toBe("true");
});

it("knows how a phase stands", () => {
  expect(phaseState(["queued", "queued"])).toBe("queued");
  expect(phaseState(["success", "queued"])).toBe("running");
  expect(phaseState(["failed", "success"])).toBe("failed");
  expect(phaseState(["retrying", "failed"])).toBe("running");
  expect(phaseState(["success", "skipped"])).toBe("success");
  expect(phaseState(["skipped", "skipped"])).toBe("skipped");
  expect(phaseState(["success", "stopped", "skipped"])).toBe("stopped");
  expect(phaseState(["success", "paused", "queued"])).toBe("paused");
  expect(phaseState(["running", "paused"])).toBe("running");
});
