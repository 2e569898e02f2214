// What a person sees of an execution, folded from its log. Pure: a view and events in, a view out.
//
// Two sources meet here: a snapshot of the status (`settle`), which knows names, phases and hints, and the log, which
// knows the whole story. A snapshot taken at seq n already contains what events up to n did to the present, so those
// events only add to the past (log lines, pictures, attempts): an execution opened years later never flickers through
// its life again.

import {
  type Artifact,
  type Event,
  type Execution,
  type ExecutionStatus,
  type Failure,
  isFinal,
  millis,
  type PhaseState,
  type Question,
  type StepStatus,
} from "../api/nouns";
import { AGAIN, type LogLine, tell } from "./tell";

export interface Attempt {
  number: number;
  status: StepStatus;
  /** Why it failed, as a code. */
  code: string | null;
  durationMs: number | null;
}

export interface NodeView {
  id: string;
  name: string;
  type: string;
  phase: number;
  status: StepStatus;
  startedAt: number | null;
  endedAt: number | null;
  error: string | null;
  /** With a code and a way out; comes with the snapshot. */
  failure: Failure | null;
  output: Record<string, unknown> | null;
  attempts: readonly Attempt[];
}

/** A node's state as a person sees it: being stopped from outside, for good or for a while, is not a failure of its own. */
export type Standing = StepStatus | "stopped" | "paused";

/** How a node stands; the code of why it ended comes with its last attempt, or with the snapshot. */
export function standing(node: Pick<NodeView, "status" | "failure" | "attempts">): Standing {
  return readStanding(node.status, node.attempts.at(-1)?.code ?? node.failure?.code);
}

/** As `standing`, for one attempt. */
export function attemptStanding(attempt: Attempt): Standing {
  return readStanding(attempt.status, attempt.code);
}

function readStanding(status: StepStatus, code: string | null | undefined): Standing {
  if (code !== "stopped") return status;
  if (status === "failed") return "stopped";
  // nothing but a pause stops an attempt that another one follows
  return status === "retrying" ? "paused" : status;
}

export interface Shot {
  seq: number;
  nodeId: string | null;
  artifact: Artifact;
}

export type Outcome =
  | { kind: "completed"; output: Record<string, unknown> }
  | { kind: "failed"; error: string; failure: Failure | null }
  | { kind: "cancelled"; reason: string };

export interface ExecutionView {
  /** The last event applied. */
  seq: number;
  /** The seq at which the latest snapshot was taken. */
  known: number;
  /** A snapshot at this seq or later would tell more than the log does. */
  wanted: number;
  name: string;
  workflowId: string | null;
  workflowVersion: number | null;
  realm: string;
  intent: string;
  status: ExecutionStatus;
  reason: string | null;
  progress: number;
  currentNode: string | null;
  createdAt: number | null;
  startedAt: number | null;
  endedAt: number | null;
  phases: readonly PhaseState[];
  /** Node ids in the order of the plan. */
  order: readonly string[];
  nodes: Readonly<Record<string, NodeView>>;
  /** In pages of PAGE lines, so that a new line copies one page and not the log. */
  log: readonly (readonly LogLine[])[];
  lines: number;
  shots: readonly Shot[];
  artifacts: readonly Artifact[];
  credits: number;
  cancelRequested: boolean;
  /** Somebody has paused it; `status` says so once nothing of it runs any more. */
  pauseRequested: boolean;
  /** The execution that this one is a retry of. */
  retryOf: string | null;
  /** What it asks a person, and nobody has answered. */
  question: Question | null;
  outcome: Outcome | null;
}

export const PAGE = 100;

export function blank(): ExecutionView {
  return {
    seq: 0,
    known: -1,
    wanted: 0,
    name: "",
    workflowId: null,
    workflowVersion: null,
    realm: "",
    intent: "",
    status: "pending",
    reason: null,
    progress: 0,
    currentNode: null,
    createdAt: null,
    startedAt: null,
    endedAt: null,
    phases: [],
    order: [],
    nodes: {},
    log: [],
    lines: 0,
    shots: [],
    artifacts: [],
    credits: 0,
    cancelRequested: false,
    pauseRequested: false,
    retryOf: null,
    question: null,
    outcome: null,
  };
}

/** Take a snapshot of the status as the truth about the present. Older ones than the log's own end are not believed. */
export function settle(view: ExecutionView, snapshot: Execution): ExecutionView {
  const planned = withPlan(view, snapshot);
  if (snapshot.head_seq < Math.max(view.known, view.seq)) return planned;
  const nodes = { ...planned.nodes };
  for (const state of snapshot.nodes) {
    const node = nodes[state.node_id];
    if (!node) continue;
    nodes[state.node_id] = {
      ...node,
      status: state.status,
      startedAt: instant(state.started_at),
      endedAt: instant(state.finished_at),
      failure: state.error,
      error: state.error?.message ?? null,
    };
  }
  return {
    ...planned,
    nodes: isFinal(snapshot.status) ? layDown(nodes) : nodes,
    known: snapshot.head_seq,
    status: snapshot.status,
    progress: snapshot.progress,
    currentNode: snapshot.current_node,
    startedAt: instant(snapshot.started_at) ?? view.startedAt,
    endedAt: instant(snapshot.finished_at) ?? view.endedAt,
    credits: snapshot.cost.credits,
    cancelRequested: snapshot.cancel_requested,
    artifacts: merge(view.artifacts, snapshot.artifacts ?? []),
    outcome: outcomeOf(snapshot, view.outcome),
  };
}

/** The nodes of an execution that is over: what was paused stays undone, and what was queued is not reached. */
function layDown(nodes: Readonly<Record<string, NodeView>>): Record<string, NodeView> {
  const over: Partial<Record<Standing, StepStatus>> = { paused: "failed", queued: "skipped" };
  return Object.fromEntries(
    Object.values(nodes).map((node) => [node.id, { ...node, status: over[standing(node)] ?? node.status }]),
  );
}

function withPlan(view: ExecutionView, snapshot: Execution): ExecutionView {
  const nodes: Record<string, NodeView> = { ...view.nodes };
  for (const state of snapshot.nodes) {
    const seen = nodes[state.node_id] ?? unseen(state.node_id);
    nodes[state.node_id] = { ...seen, name: state.name || state.type, type: state.type, phase: state.phase };
  }
  return {
    ...view,
    nodes,
    name: snapshot.name,
    realm: snapshot.realm,
    intent: snapshot.intent,
    workflowId: snapshot.workflow_id,
    workflowVersion: snapshot.workflow_version,
    createdAt: instant(snapshot.created_at),
    // no event tells these: the snapshot that was read last knows best
    pauseRequested: snapshot.pause_requested,
    retryOf: snapshot.retry_of,
    question: snapshot.question,
    phases: snapshot.phases,
    order: snapshot.nodes.length ? snapshot.nodes.map((state) => state.node_id) : view.order,
  };
}

function outcomeOf(snapshot: Execution, before: Outcome | null): Outcome | null {
  switch (snapshot.status) {
    case "completed":
      return { kind: "completed", output: snapshot.result ?? {} };
    case "failed":
    case "budget_exceeded":
      return { kind: "failed", error: snapshot.error?.message ?? "It failed.", failure: snapshot.error };
    case "cancelled":
      return before ?? { kind: "cancelled", reason: snapshot.error?.message ?? "" };
    default:
      return null;
  }
}

/** Apply events in order. Each belongs to this log and comes after `view.seq`; link.ts sees to that. */
export function fold(view: ExecutionView, events: readonly Event[]): ExecutionView {
  // one copy for the whole batch; from here on `next` is ours to change
  const next: Draft = { ...view, nodes: { ...view.nodes }, log: [...view.log] };
  const pages = new Set<LogLine[]>();
  for (const event of events) {
    next.seq = event.seq;
    apply(next, event, event.seq > view.known);
    const line = tell(event);
    if (line) addLine(next, event.type === "error" ? sayOnce(next, line) : line, pages);
    if (event.type === "step_update" && event.step.code === "stopped") calm(next, event.step.node_id, pages);
  }
  return next;
}

interface Draft extends Omit<ExecutionView, "nodes" | "log"> {
  nodes: Record<string, NodeView>;
  log: (readonly LogLine[])[];
}

function apply(next: Draft, event: Event, isNews: boolean): void {
  switch (event.type) {
    case "accepted":
      next.name = event.name;
      next.workflowId = event.workflow_id;
      next.workflowVersion = event.workflow_version;
      next.createdAt ??= millis(event.timestamp);
      next.wanted = event.seq;
      return;
    case "status":
      if (event.status === "running") next.startedAt ??= millis(event.timestamp);
      if (isNews) applyStatus(next, event);
      return;
    case "node_update":
      return applyNode(next, event, isNews);
    case "step_update":
      return applyStep(next, event, isNews);
    case "screenshot":
      return addArtifact(next, event.artifact, event.seq, event.node_id);
    case "artifact":
      return addArtifact(next, event.artifact, event.seq, event.artifact.node_id);
    case "usage":
      if (isNews) next.credits = event.credits;
      return;
    case "completion":
    case "error":
    case "cancelled":
      return applyEnd(next, event, isNews);
    case "log":
    case "output":
    case "approval":
    case "takeover":
      return; // a line of the log tells all there is to tell
    default:
      event satisfies never; // a later server may know more; its log lines are shown all the same
  }
}

function applyStatus(next: Draft, event: Extract<Event, { type: "status" }>): void {
  if (event.status === "paused") next.pauseRequested = true;
  else if (next.status === "paused") next.pauseRequested = false;
  next.status = event.status;
  next.progress = event.data.progress;
  next.currentNode = event.data.current_node;
  next.reason = event.data.reason ?? null;
  if (event.status === "running" && !next.order.length) next.wanted = event.seq;
}

function applyNode(next: Draft, event: Extract<Event, { type: "node_update" }>, isNews: boolean): void {
  const { node_id: id, node_state: state } = event;
  const known = next.nodes[id];
  const node = known ?? unseen(id);
  const present = isNews
    ? {
        status: state.status,
        startedAt: moment(state.started_at),
        endedAt: moment(state.completed_at),
        error: state.error,
      }
    : {};
  next.nodes[id] = { ...node, ...present, output: state.output ?? node.output };
  if (!known) next.order = [...next.order, id];
  if (isNews && state.status === "running") next.currentNode = id;
  if (isNews && (!known || state.status === "failed")) next.wanted = event.seq;
}

function applyStep(next: Draft, event: Extract<Event, { type: "step_update" }>, isNews: boolean): void {
  const { step } = event;
  if (!next.nodes[step.node_id]) next.order = [...next.order, step.node_id];
  const node = next.nodes[step.node_id] ?? { ...unseen(step.node_id), type: step.node_type, name: step.node_type };
  const attempt = { number: step.attempt, status: step.status, code: step.code, durationMs: step.duration_ms };
  const others = node.attempts.filter((one) => one.number !== step.attempt);
  next.nodes[step.node_id] = {
    ...node,
    status: isNews ? step.status : node.status,
    attempts: [...others, attempt].sort((one, other) => one.number - other.number),
  };
}

function addLine(next: Draft, line: LogLine, pages: Set<LogLine[]>): void {
  const last = next.log.at(-1) as LogLine[] | undefined;
  if (!last || last.length >= PAGE) next.log.push(ours(pages, [line]));
  else if (pages.has(last)) last.push(line);
  else next.log[next.log.length - 1] = ours(pages, [...last, line]);
  next.lines += 1;
}

/** The line just told says that a node failed; it was only stopped or paused, and that is no fault of its own. */
function calm(next: Draft, nodeId: string, pages: Set<LogLine[]>): void {
  const page = next.log.at(-1);
  const line = page?.at(-1);
  if (!page || !line || (line.level !== "error" && line.level !== "warning") || line.nodeId !== nodeId) return;
  const message = line.message.endsWith(AGAIN) ? line.message.slice(0, -AGAIN.length) : line.message;
  next.log[next.log.length - 1] = ours(pages, [...page.slice(0, -1), { ...line, message, level: "info" }]);
}

/** The end of an execution by a node that failed: the node's own line has said why. */
function sayOnce(next: Draft, end: LogLine): LogLine {
  const recent = [...(next.log.at(-2) ?? []), ...(next.log.at(-1) ?? [])];
  const isTold = recent.some((line) => line.level === "error" && line.message === end.message);
  return isTold ? { ...end, message: "Failed." } : end;
}

/** A page made in this batch may be changed in place; one that is on the screen already may not. */
function ours(pages: Set<LogLine[]>, page: LogLine[]): LogLine[] {
  pages.add(page);
  return page;
}

function addArtifact(next: Draft, artifact: Artifact, seq: number, nodeId: string | null): void {
  next.artifacts = merge(next.artifacts, [artifact]);
  if (!isPicture(artifact) || next.shots.some((shot) => shot.artifact.artifact_id === artifact.artifact_id)) return;
  next.shots = [...next.shots, { seq, nodeId, artifact }];
}

function applyEnd(
  next: Draft,
  event: Extract<Event, { type: "completion" | "error" | "cancelled" }>,
  isNews: boolean,
): void {
  next.endedAt ??= millis(event.timestamp);
  if (!isNews) return;
  next.wanted = event.seq;
  next.currentNode = null;
  next.nodes = layDown(next.nodes);
  switch (event.type) {
    case "completion":
      next.status = "completed";
      next.progress = 1;
      next.outcome = { kind: "completed", output: event.result.output };
      return;
    case "error":
      if (!isFinal(next.status)) next.status = "failed";
      next.outcome = { kind: "failed", error: event.error, failure: null };
      return;
    case "cancelled":
      next.status = "cancelled";
      next.outcome = { kind: "cancelled", reason: event.reason };
  }
}

function unseen(id: string): NodeView {
  return {
    id,
    name: id,
    type: "",
    phase: 0,
    status: "queued",
    startedAt: null,
    endedAt: null,
    error: null,
    failure: null,
    output: null,
    attempts: [],
  };
}

function merge(before: readonly Artifact[], more: readonly Artifact[]): readonly Artifact[] {
  const had = new Set(before.map((artifact) => artifact.artifact_id));
  const added = more.filter((artifact) => !had.has(artifact.artifact_id));
  return added.length ? [...before, ...added] : before;
}

function isPicture(artifact: Artifact): boolean {
  return artifact.kind === "screenshot" || artifact.kind === "failure_screenshot";
}

function instant(iso: string | null): number | null {
  return iso === null ? null : Date.parse(iso);
}

function moment(unix: string | null): number | null {
  return unix === null ? null : millis(unix);
}
