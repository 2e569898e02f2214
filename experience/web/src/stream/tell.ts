// An event as a line of the log. What nodes write themselves stands beside what happened to them, so that the log is
// the whole story in order, also where nobody wrote a word. Pure.
import { type Event, millis } from "../api/nouns";
import { duration } from "../ui/words";

export interface LogLine {
  seq: number;
  at: number;
  level: "debug" | "info" | "warning" | "error";
  message: string;
  nodeId: string | null;
}

/** What the line of a failure ends with when another attempt follows. */
export const AGAIN = " Trying again.";

type Told = readonly [level: LogLine["level"], message: string, nodeId?: string | null];

/** The line that an event makes, if it makes one. */
export function tell(event: Event): LogLine | null {
  const told = inWords(event);
  if (!told) return null;
  const [level, message, nodeId = null] = told;
  const at = event.type === "log" ? event.log.timestamp : event.timestamp;
  return { seq: event.seq, at: millis(at), level, message, nodeId };
}

function inWords(event: Event): Told | null {
  switch (event.type) {
    case "log":
      return [event.log.level, event.log.message, event.log.node_id];
    case "accepted":
      return ["info", "Accepted."];
    case "node_update":
      return tellNode(event);
    case "step_update":
      return tellStep(event);
    case "screenshot":
      return ["debug", `Picture: ${event.artifact.name}`, event.node_id];
    case "artifact":
      return ["debug", `Stored: ${event.artifact.name}`, event.artifact.node_id];
    case "output":
      return ["info", `${event.name}: ${JSON.stringify(event.value)}`, event.node_id];
    case "approval":
      return ["info", `Approval ${event.state}: ${event.question}`, event.node_id];
    case "takeover":
      return ["info", event.state === "taken" ? `${event.by} has taken over.` : `${event.by} has handed back.`];
    case "completion":
      return ["info", `Completed in ${duration(event.result.duration * 1000)}.`];
    case "error":
      return ["error", event.error];
    case "cancelled":
      return ["warning", event.reason ? `Cancelled: ${event.reason}` : "Cancelled."];
    case "status":
    case "usage":
      return null; // told by what leads to them
    default:
      return null; // a later server's event
  }
}

function tellNode(event: Extract<Event, { type: "node_update" }>): Told | null {
  const { status, error } = event.node_state;
  if (status === "failed") return ["error", error ?? "Failed.", event.node_id];
  if (status === "retrying") return ["warning", `${error ?? "Failed."}${AGAIN}`, event.node_id];
  return null;
}

function tellStep(event: Extract<Event, { type: "step_update" }>): Told | null {
  const { status, node_id: id, attempt, duration_ms: ms } = event.step;
  switch (status) {
    case "running":
      return ["debug", attempt > 1 ? `Attempt ${attempt} begins.` : "Begins.", id];
    case "success":
      return ["info", ms === null ? "Done." : `Done in ${duration(ms)}.`, id];
    case "skipped":
      return ["debug", "Skipped.", id];
    case "queued":
    case "retrying":
    case "failed":
      return null; // the node's own event says why
  }
}
