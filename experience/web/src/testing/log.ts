// Events and frames as the server writes them.
import type { Event, Execution, ExecutionStatus, Frame, StepStatus } from "../api/nouns";

export const EXECUTION = "0190a0a0-0000-7000-8000-000000000001";
export const LOG = "0190a0a0-0000-7000-8000-00000000000a";
const base = (seq: number) => ({ execution_id: EXECUTION, seq, timestamp: `${1_700_000_000 + seq}.5` });

export function hello(facts: Partial<Extract<Frame, { type: "hello" }>> = {}): Frame {
  return {
    type: "hello",
    execution_id: EXECUTION,
    log_id: LOG,
    from_seq: 0,
    head_seq: 0,
    status: "running",
    resumed: "fresh",
    ping_interval: 30,
    ...facts,
  };
}

export function ping(seq: number): Frame {
  return { type: "ping", ts: 0, seq };
}

export function line(seq: number, message = `line ${seq}`, nodeId: string | null = null): Event {
  const { timestamp } = base(seq);
  return { ...base(seq), type: "log", log: { level: "info", message, node_id: nodeId, timestamp } };
}

export function accepted(seq = 1): Event {
  return {
    ...base(seq),
    type: "accepted",
    name: "Buy a lamp",
    realm: "workflow",
    intent: "run",
    workflow_id: null,
    workflow_version: null,
  };
}

export function status(seq: number, to: ExecutionStatus, progress = 0): Event {
  return { ...base(seq), type: "status", status: to, data: { progress, current_node: null, reason: null } };
}

export function node(seq: number, id: string, to: StepStatus, output: Record<string, unknown> | null = null): Event {
  const { timestamp } = base(seq);
  const isOpen = to === "running" || to === "queued";
  return {
    ...base(seq),
    type: "node_update",
    node_id: id,
    node_state: {
      status: to,
      output,
      error: to === "failed" ? "It broke." : null,
      started_at: timestamp,
      completed_at: isOpen ? null : timestamp,
    },
  };
}

export function attempt(seq: number, id: string, number: number, to: StepStatus): Event {
  const step = {
    step_id: EXECUTION,
    node_id: id,
    node_type: "click_element",
    phase: 0,
    attempt: number,
    epoch: 1,
    status: to,
    code: to === "success" ? null : "timeout",
    duration_ms: 12,
  };
  return { ...base(seq), type: "step_update", step };
}

export function picture(seq: number, id = `picture-${seq}`): Event {
  return {
    ...base(seq),
    type: "screenshot",
    node_id: "a",
    artifact: {
      artifact_id: id,
      execution_id: EXECUTION,
      node_id: "a",
      kind: "screenshot",
      name: "picture.png",
      media_type: "image/png",
      size: 1234,
      sha256: "",
      width: 1280,
      height: 720,
      page_url: "http://shop.test/",
      created_at: "2026-01-01T00:00:00Z",
    },
  };
}

export function completion(seq: number, output: Record<string, unknown> = { order: "GL-1" }): Event {
  const result = { status: "completed" as const, output, nodes_completed: 2, nodes_failed: 0, duration: 3 };
  return { ...base(seq), type: "completion", result };
}

export function failure(seq: number): Event {
  return { ...base(seq), type: "error", error: "It broke." };
}

/** A node that somebody else's end has stopped, as the server tells it: its state, then its attempt. */
export function stopped(seq: number, id: string): Event[] {
  const told = attempt(seq + 1, id, 1, "failed") as Extract<Event, { type: "step_update" }>;
  told.step.code = "stopped";
  return [node(seq, id, "failed"), told];
}

/** A node whose waiting a pause has cut short. */
export function cutShort(seq: number, id: string): Event[] {
  const told = attempt(seq + 1, id, 1, "retrying") as Extract<Event, { type: "step_update" }>;
  told.step.code = "stopped";
  const state = node(seq, id, "retrying") as Extract<Event, { type: "node_update" }>;
  state.node_state.error = "The execution was paused while it waited.";
  return [state, told];
}

export function cancelled(seq: number): Event {
  return { ...base(seq), type: "cancelled", reason: "Enough." };
}

export function snapshot(facts: Partial<Execution> = {}): Execution {
  const state = (id: string, name: string, phase: number) => ({
    node_id: id,
    type: "click_element",
    name,
    phase,
    status: "queued" as StepStatus,
    attempt: 1,
    started_at: null,
    finished_at: null,
    error: null,
  });
  return {
    execution_id: EXECUTION,
    status: "running",
    name: "Buy a lamp",
    realm: "workflow",
    intent: "run",
    workflow_id: null,
    workflow_version: null,
    progress: 0,
    current_node: null,
    phases: [
      { number: 0, nodes: ["a"], status: "queued" },
      { number: 1, nodes: ["b"], status: "queued" },
    ],
    nodes: [state("a", "Open the shop", 0), state("b", "Take the lamp", 1)],
    head_seq: 1,
    created_at: "2026-01-01T00:00:00Z",
    started_at: null,
    finished_at: null,
    result: null,
    error: null,
    cost: { credits: 0, usd: "0" },
    cancel_requested: false,
    pause_requested: false,
    retry_of: null,
    question: null,
    artifacts: null,
    visuals: null,
    ...facts,
  };
}
