// The connection to one execution's stream as a pure state machine: what happened goes in, what to do comes out.
// No socket, no clock, no chance. Invariants: events leave in order of `seq`, each once, without holes; whenever that
// can't be shown, the link goes back to its cursor or starts over, and says so.
import type { Event, Execution, Frame } from "../api/nouns";

export type Phase =
  | "connecting" // the first connection is under way
  | "open" // hello was received, events flow
  | "reconnecting" // lost, coming back by itself
  | "ended" // the terminal event is here: nothing will follow
  | "missing" // no such execution for this person
  | "signed_out" // the login is over
  | "refused"; // the server will not serve this page; trying again would not help

export interface Link {
  phase: Phase;
  /** Sequence number of the last event handed on. */
  after: number;
  /** Identity of the log that `after` counts in. */
  log: string | null;
  /** Head of the log as far as the server has said. */
  head: number;
  /** The head that the latest ping named: by the next ping it must be here. */
  owed: number;
  /** Attempts since events or pings last came through. */
  failures: number;
  /** Silence, in milliseconds, after which the connection counts as dead. */
  patience: number;
  /** What the server said last about a failure. */
  detail: string | null;
}

export type Happening =
  | { type: "start" }
  | { type: "message"; text: string }
  | { type: "closed"; code: number; reason: string }
  | { type: "silence" }
  | { type: "retry" }
  | { type: "renewed"; signedIn: boolean };

export type Command =
  | { type: "open"; after: number; log: string | null }
  | { type: "drop" }
  | { type: "retry_in"; ms: number }
  | { type: "listen_for"; ms: number }
  | { type: "apply"; events: Event[] }
  | { type: "forget" }
  | { type: "take"; snapshot: Execution; seq: number }
  | { type: "renew" };

export type Step = readonly [Link, readonly Command[]];

/** Liveness of the specification: one and a half times the usual 30 s ping. */
export const SILENCE_MS = 45_000;
const CONNECT_MS = 15_000;
const LONGEST_WAIT_MS = 30_000;
const BUSY_WAIT_MS = 5_000;
const TERMINAL: ReadonlySet<string> = new Set(["completion", "error", "cancelled"]);
const CONTROL: ReadonlySet<string> = new Set(["hello", "ping", "pong", "reset", "auth_expiring", "fault"]);
/** Close codes of contracts/frames.py after which coming back can't help, and what that means. */
const FINAL_CLOSE: Readonly<Record<number, Phase>> = {
  4400: "refused",
  4403: "refused",
  4404: "missing",
  1009: "refused",
};

export function idle(): Link {
  return {
    phase: "connecting",
    after: 0,
    log: null,
    head: 0,
    owed: 0,
    failures: 0,
    patience: SILENCE_MS,
    detail: null,
  };
}

export function isOver(phase: Phase): boolean {
  return phase === "ended" || phase === "missing" || phase === "signed_out" || phase === "refused";
}

/** Milliseconds until the next attempt: doubling from half a second to half a minute, the upper half left to chance. */
export function backoff(failures: number, chance: number): number {
  return Math.min(LONGEST_WAIT_MS, 500 * 2 ** failures) * (0.5 + chance / 2);
}

/** What follows from a happening. `chance` is a number in [0, 1), used for jitter only. */
export function step(link: Link, happening: Happening, chance: number): Step {
  if (isOver(link.phase)) return [link, []];
  switch (happening.type) {
    case "start":
      return [link, opening(link)];
    case "message":
      return receive(link, happening.text, chance);
    case "closed":
      return lose(link, happening.code, happening.reason, chance);
    case "silence":
      return comeBack(link, backoff(link.failures, chance), [{ type: "drop" }]);
    case "retry":
      return link.phase === "open" ? [link, []] : [link, opening(link)];
    case "renewed":
      if (!happening.signedIn) return [{ ...link, phase: "signed_out" }, [{ type: "drop" }]];
      return [link, link.phase === "open" ? [{ type: "drop" }, ...opening(link)] : []];
  }
}

function opening(link: Link): Command[] {
  return [
    { type: "open", after: link.after, log: link.log },
    { type: "listen_for", ms: CONNECT_MS },
  ];
}

function comeBack(link: Link, ms: number, first: Command[] = []): Step {
  return [{ ...link, phase: "reconnecting", failures: link.failures + 1 }, [...first, { type: "retry_in", ms }]];
}

/** Continuity is lost for good: forget everything and read the log from its beginning. */
function startOver(link: Link, chance: number): Step {
  const fresh = { ...link, after: 0, log: null, head: 0, owed: 0 };
  return comeBack(fresh, backoff(link.failures, chance), [{ type: "drop" }, { type: "forget" }]);
}

function lose(link: Link, code: number, reason: string, chance: number): Step {
  const final = FINAL_CLOSE[code];
  if (final) return [{ ...link, phase: final }, []];
  switch (code) {
    case 4401: {
      const [next, commands] = comeBack(link, backoff(link.failures, chance));
      return [next, [{ type: "renew" }, ...commands]];
    }
    case 1001:
    case 1012: // another process answers already: soon, but not all at the same moment
      return comeBack(link, link.failures ? backoff(link.failures, chance) : chance * 1000);
    case 1013:
    case 4429:
      return comeBack(link, BUSY_WAIT_MS + backoff(link.failures, chance));
    default:
      return mayRetry(reason) ? comeBack(link, backoff(link.failures, chance)) : [{ ...link, phase: "refused" }, []];
  }
}

/** The reason is short JSON `{code, retry}`, so that codes of later versions are treated well too. */
function mayRetry(reason: string): boolean {
  try {
    return (JSON.parse(reason) as { retry?: boolean }).retry !== false;
  } catch {
    return true;
  }
}

function receive(link: Link, text: string, chance: number): Step {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return comeBack(link, backoff(link.failures, chance), [{ type: "drop" }]);
  }
  const frames = (Array.isArray(parsed) ? parsed : [parsed]) as (Event | Frame)[];
  let now = link;
  const commands: Command[] = [];
  for (const frame of frames) {
    const [next, more] = isControl(frame) ? obey(now, frame, chance) : accept(now, frame, chance);
    now = next;
    append(commands, more);
    if (now.phase !== "open") return [now, commands];
  }
  return [now, [...commands, { type: "listen_for", ms: now.patience }]];
}

function isControl(frame: Event | Frame): frame is Frame {
  return CONTROL.has(frame.type);
}

/** Events of one message stay one command, so that a batch is applied at once. */
function append(commands: Command[], more: readonly Command[]): void {
  for (const command of more) {
    const last = commands.at(-1);
    if (command.type === "apply" && last?.type === "apply") last.events.push(...command.events);
    else commands.push(command);
  }
}

function accept(link: Link, event: Event, chance: number): Step {
  if (event.seq <= link.after) return [link, []]; // had it
  if (event.seq > link.after + 1) return comeBack(link, backoff(link.failures, chance), [{ type: "drop" }]);
  const next = { ...link, after: event.seq, head: Math.max(link.head, event.seq), failures: 0 };
  const apply: Command = { type: "apply", events: [event] };
  if (!TERMINAL.has(event.type)) return [next, [apply]];
  return [{ ...next, phase: "ended" }, [apply, { type: "drop" }]];
}

function obey(link: Link, frame: Frame, chance: number): Step {
  switch (frame.type) {
    case "hello": {
      const greeted: Link = {
        ...link,
        phase: "open",
        log: frame.log_id ?? link.log,
        head: frame.head_seq,
        owed: 0,
        patience: frame.ping_interval * 1500,
        detail: null,
      };
      if (frame.resumed === "reset") return [greeted, []]; // the snapshot is the next frame
      const sameLog = !frame.log_id || !link.log || frame.log_id === link.log;
      return sameLog && frame.from_seq <= link.after ? [greeted, []] : startOver(greeted, chance);
    }
    case "reset":
      return [
        { ...link, after: frame.seq, head: Math.max(frame.seq, link.head) },
        [{ type: "take", snapshot: frame.snapshot, seq: frame.seq }],
      ];
    case "ping":
      // what the last ping named had a whole interval to arrive
      if (link.after < link.owed) return comeBack(link, backoff(link.failures, chance), [{ type: "drop" }]);
      return [{ ...link, head: Math.max(link.head, frame.seq), owed: frame.seq, failures: 0 }, []];
    case "auth_expiring":
      return [link, [{ type: "renew" }]];
    case "fault":
      return [{ ...link, detail: frame.detail }, []];
    case "pong":
      return [link, []];
  }
}
