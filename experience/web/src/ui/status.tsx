import type { ExecutionStatus } from "../api/nouns";
import type { Standing } from "../stream/view";
import { Icon, type IconName } from "./icon";
import "./status.css";

/** Colour group of a status; colour never stands alone, a shape and a word go with it. */
export type Tone = "calm" | "lamp" | "wait" | "good" | "bad" | "halt";

interface Look {
  word: string;
  tone: Tone;
  icon: IconName;
}

const EXECUTION: Record<ExecutionStatus, Look> = {
  pending: { word: "Pending", tone: "calm", icon: "clock" },
  running: { word: "Running", tone: "lamp", icon: "play" },
  paused: { word: "Paused", tone: "wait", icon: "pause" },
  waiting: { word: "Waiting", tone: "wait", icon: "wait" },
  completed: { word: "Completed", tone: "good", icon: "check" },
  failed: { word: "Failed", tone: "bad", icon: "cross" },
  cancelled: { word: "Cancelled", tone: "halt", icon: "stop" },
  budget_exceeded: { word: "Over budget", tone: "bad", icon: "warning" },
};

const STEP: Record<Standing, Look> = {
  queued: { word: "Queued", tone: "calm", icon: "clock" },
  running: { word: "Running", tone: "lamp", icon: "play" },
  retrying: { word: "Retrying", tone: "lamp", icon: "retry" },
  success: { word: "Done", tone: "good", icon: "check" },
  failed: { word: "Failed", tone: "bad", icon: "cross" },
  skipped: { word: "Skipped", tone: "calm", icon: "skip" },
  stopped: { word: "Stopped", tone: "halt", icon: "stop" },
  paused: { word: "Paused", tone: "wait", icon: "pause" },
};

export function executionWord(status: ExecutionStatus): string {
  return EXECUTION[status].word;
}

export function stepLook(status: Standing): Look {
  return STEP[status];
}

export function Status({ status, word }: { status: ExecutionStatus; word?: string }) {
  return <Chip look={EXECUTION[status]} word={word} />;
}

export function StepStatusChip({ status }: { status: Standing }) {
  return <Chip look={STEP[status]} />;
}

function Chip({ look, word }: { look: Look; word?: string | undefined }) {
  return (
    <span className={`chip ${look.tone}`}>
      <Icon name={look.icon} size={14} />
      {word ?? look.word}
    </span>
  );
}
