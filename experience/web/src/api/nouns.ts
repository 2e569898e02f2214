// The words of the wire under their own names. Shapes come from the server's declarations, never from here.
import type { components } from "../../generated/schema";

type Schemas = components["schemas"];

export type Me = Schemas["Me"];
export type Execution = Schemas["Execution"];
export type ExecutionSummary = Schemas["ExecutionSummary"];
export type ExecutionStatus = Schemas["ExecutionStatus"];
export type StepStatus = Schemas["StepStatus"];
export type Failure = Schemas["Failure"];
export type Question = Schemas["Question"];
export type Answer = Schemas["Answer"];
export type RetryStart = Schemas["RetryStart"];
export type BrowserProfile = Schemas["BrowserProfile"];
export type CreateCredential = Schemas["CreateCredential"];
export type Credential = Schemas["Credential"];
export type CredentialKind = Schemas["CredentialKind"];
export type DeadLetter = Schemas["DeadLetter"];
export type DeadLetterDetail = Schemas["DeadLetterDetail"];
export type FoundShortcoming = Schemas["FoundShortcoming"];
export type Intent = Schemas["Intent"];
export type Artifact = Schemas["Artifact"];
export type NodeState = Schemas["NodeState"];
export type PhaseState = Schemas["PhaseState"];
export type NodeType = Schemas["NodeType"];
export type ToolEvent = Schemas["ToolEvent"];
export type Workflow = Schemas["Workflow"];
export type WorkflowSummary = Schemas["WorkflowSummary"];
export type WorkflowDocument = Schemas["WorkflowDocument"];

/** Everything an execution's log can hold. */
export type Event = Schemas["EventPage"]["events"][number];
/** What the stream sends besides events. */
export type Frame =
  | Schemas["Hello"]
  | Schemas["Ping"]
  | Schemas["Pong"]
  | Schemas["Reset"]
  | Schemas["AuthExpiring"]
  | Schemas["StreamFault"];
export type Reset = Schemas["Reset"];

const FINAL: ReadonlySet<ExecutionStatus> = new Set(["completed", "failed", "cancelled", "budget_exceeded"]);

/** Whether nothing can follow this status. */
export function isFinal(status: ExecutionStatus): boolean {
  return FINAL.has(status);
}

/** An instant of the log (unix seconds as text) in milliseconds. */
export function millis(unix: string): number {
  return Number(unix) * 1000;
}
