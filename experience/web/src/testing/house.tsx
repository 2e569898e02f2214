// The whole page over a scripted API: answers by "METHOD /path", sockets by hand.
import { QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import { vi } from "vitest";
import type { ExecutionSummary, Me, NodeType } from "../api/nouns";
import { createQueryClient } from "../api/queries";
import { App } from "../app";
import { EXECUTION, snapshot } from "./log";
import { type ScriptedSocket, scriptSockets } from "./socket";

type Answer = unknown | ((body: unknown, query: URLSearchParams) => unknown);

/** An answer that is not a success. */
export class Refusal {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail = "It was refused.",
    readonly faults: readonly object[] = [],
  ) {}
}

export const ME: Me = {
  user: {
    user_id: "u",
    email: "ada@stage.test",
    display_name: "Ada",
    operator: false,
    created_at: "2026-01-01T00:00:00Z",
  },
  tenant: {
    tenant_id: "t",
    name: "House",
    suspended: false,
    limits: { max_concurrent_executions: null, max_workflows: null, retention_days: null },
    created_at: "2026-01-01T00:00:00Z",
  },
  role: "owner",
  scopes: ["execution:read", "execution:write", "execution:cancel", "workflow:read"],
  via: "login",
  insecure: false,
};

/** The type of every node of the made-up executions. */
export const CLICK: NodeType = {
  type: "click_element",
  title: "Click an element",
  group: "Browser",
  icon: "mouse-pointer-click",
  description: "Clicks.",
  inputs: [],
  outputs: [],
  credits: 1,
  can_be_start_node: true,
  safe: false,
  safe_if: [],
  unavailable: "",
};

export interface House {
  answers: Record<string, Answer>;
  /** What was asked, as "METHOD /path?query", in order. */
  asked: string[];
  /** The Idempotency-Keys that came with them. */
  keys: string[];
  sockets: ScriptedSocket[];
}

/** Opens the page at a path. Answers may be changed at any time. */
export function openPage(path: string, answers: Record<string, Answer> = {}): House {
  const house: House = {
    asked: [],
    keys: [],
    sockets: scriptSockets(),
    answers: {
      "GET /api/auth/me": ME,
      "GET /api/execution": { items: [], next_cursor: null },
      "GET /api/intent/pending": { items: [], next_cursor: null },
      "GET /api/workflow": { items: [], next_cursor: null },
      "GET /api/node-types": { items: [] },
      [`GET /api/execution/${EXECUTION}/status`]: snapshot(),
      ...answers,
    },
  };
  vi.stubGlobal("fetch", (address: string, init: RequestInit) => answer(house, address, init));
  window.history.replaceState(null, "", path);
  render(
    <QueryClientProvider client={createQueryClient()}>
      <App />
    </QueryClientProvider>,
  );
  return house;
}

async function answer(house: House, address: string, init: RequestInit): Promise<Response> {
  const url = new URL(address, "http://localhost");
  house.asked.push(`${init.method} ${url.pathname}${url.search}`);
  const key = (init.headers as Record<string, string> | undefined)?.["Idempotency-Key"];
  if (key) house.keys.push(key);
  const known = house.answers[`${init.method} ${url.pathname}`] ?? new Refusal(404, "not_found");
  const body: unknown = init.body ? JSON.parse(String(init.body)) : null;
  const said = typeof known === "function" ? known(body, url.searchParams) : known;
  if (!(said instanceof Refusal)) return new Response(JSON.stringify(said), { status: 200 });
  const { code, detail, faults } = said;
  const problem = { code, detail, hint: "Try something else.", faults, request_id: "r-1" };
  return new Response(JSON.stringify(problem), { status: said.status });
}

/** A row of a list. */
export function summary(facts: Partial<ExecutionSummary>): ExecutionSummary {
  return {
    execution_id: EXECUTION,
    status: "completed",
    workflow_id: null,
    workflow_version: null,
    name: "Buy a lamp",
    realm: "workflow",
    intent: "run",
    progress: 1,
    current_node: null,
    error: null,
    retry_of: null,
    question: null,
    created_at: "2026-01-01T00:00:00Z",
    started_at: "2026-01-01T00:00:00Z",
    finished_at: "2026-01-01T00:00:12Z",
    ...facts,
  };
}
