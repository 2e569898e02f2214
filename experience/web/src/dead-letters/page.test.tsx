import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import type { DeadLetterDetail } from "../api/nouns";
import { type House, ME, openPage, Refusal } from "../testing/house";
import { EXECUTION } from "../testing/log";

const AT = `/api/admin/dead-letters/${EXECUTION}`;
const NEXT = "0190a0a0-0000-7000-8000-000000000002";
const ADMIN = { ...ME, scopes: [...ME.scopes, "dead-letters"] };
const LETTER: DeadLetterDetail = {
  execution_id: EXECUTION,
  name: "Buy a lamp",
  workflow_id: null,
  workflow_version: null,
  failure: {
    code: "worker_lost",
    message: "Three workers were lost in it.",
    hint: "See its last log lines.",
    node_id: null,
    page_url: null,
    asks_about: null,
  },
  losses: 3,
  died_at: "2026-01-01T00:00:00Z",
  resolution: null,
  resolved_at: null,
  resolved_by: null,
  retried_as: null,
  runs: [{ epoch: 1, worker: "w-1", started_at: "2026-01-01T00:00:00Z", ended_at: null, outcome: "lost" }],
  in_flight: ["place_order"],
};

afterEach(() => {
  vi.unstubAllGlobals();
});

async function open(answers: Record<string, unknown> = {}): Promise<House> {
  const house = openPage("/dead-letters", {
    "GET /api/auth/me": ADMIN,
    "GET /api/admin/dead-letters": { items: [LETTER], next_cursor: null },
    [`GET ${AT}`]: LETTER,
    ...answers,
  });
  await screen.findByRole("heading", { name: "Buy a lamp" });
  return house;
}

it("shows what happened, the runs and the suspects", async () => {
  await open();
  expect(screen.getByText("Three workers were lost in it.")).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: /Runs and suspects/ }));
  expect(await screen.findByText("place order")).toBeTruthy();
  expect(within(screen.getByRole("table")).getByText("w-1")).toBeTruthy();
});

it("retries, asking about the nodes that the answer names", async () => {
  const sent: unknown[] = [];
  const fault = { where: "", rule: "answer_needed", detail: "", node_id: "place_order", handle: null };
  await open({
    [`POST ${AT}/retry`]: (body: unknown) => {
      sent.push(body);
      return sent.length === 1 ? new Refusal(409, "conflict", "Only a person knows.", [fault]) : { execution_id: NEXT };
    },
  });
  const retry = screen.getByRole("button", { name: /^Retry/ });
  await userEvent.click(retry);
  const asked = within(await screen.findByRole("group", { name: "place order" }));
  await userEvent.click(asked.getByRole("radio", { name: "Run it again" }));
  await userEvent.click(retry);
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${NEXT}`));
  expect(sent).toEqual([{ answers: {} }, { answers: { place_order: "run_again" } }]);
});

it("discards with a reason", async () => {
  let sent: unknown;
  const house = await open();
  house.answers[`POST ${AT}/discard`] = (body: unknown) => {
    sent = body;
    house.answers["GET /api/admin/dead-letters"] = { items: [], next_cursor: null };
    return { ...LETTER, resolution: "discarded" };
  };
  await userEvent.click(screen.getByRole("button", { name: /^Discard…/ }));
  await userEvent.type(screen.getByLabelText("Why it is discarded"), "Not needed any more{Enter}");
  expect(await screen.findByText("No dead letters")).toBeTruthy();
  expect(sent).toEqual({ reason: "Not needed any more" });
});

it("lists what was decided, with what came of it", async () => {
  const decided = { ...LETTER, resolution: "retried", resolved_at: "2026-01-02T00:00:00Z", retried_as: NEXT };
  const house = await open();
  house.answers["GET /api/admin/dead-letters"] = { items: [decided], next_cursor: null };
  await userEvent.click(screen.getByRole("link", { name: "Decided" }));
  const link = await screen.findByRole("link", { name: /another execution/ });
  expect(link.getAttribute("href")).toBe(`/executions/${NEXT}`);
  expect(screen.queryByRole("button", { name: /^Retry/ })).toBeNull();
  expect(house.asked.some((asked) => asked.includes("resolved=true"))).toBe(true);
});

it("is for admins", async () => {
  openPage("/dead-letters");
  expect(await screen.findByText("This page is for admins.")).toBeTruthy();
  expect(screen.queryByRole("link", { name: "Dead letters" })).toBeNull();
});
