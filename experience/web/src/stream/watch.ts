// The shell around link.ts: a WebSocket, two timers, and the browser's own hints. No decisions here.
import type { Event, Execution } from "../api/nouns";
import { type Command, type Happening, idle, isOver, type Link, step } from "./link";

export interface Sink {
  apply(events: Event[]): void;
  /** Take this snapshot for everything up to `seq`. */
  take(snapshot: Execution, seq: number): void;
  forget(): void;
  /** The state of the connection has changed. */
  show(link: Link): void;
  /** Ask the server over HTTP whether the login stands; false only when it says that it doesn't. */
  renew(): Promise<boolean>;
}

export interface Watch {
  /** Try again now instead of at the end of the wait. */
  retry(): void;
  stop(): void;
}

/** Follow an execution until its terminal event or `stop`. */
export function watch(executionId: string, sink: Sink): Watch {
  let link = idle();
  let socket: WebSocket | null = null;
  let retryTimer = 0;
  let silenceTimer = 0;
  let stopped = false;

  function happen(happening: Happening): void {
    if (stopped) return;
    const [next, commands] = step(link, happening, Math.random());
    const changed = next !== link;
    link = next;
    for (const command of commands) obey(command);
    if (isOver(link.phase)) rest();
    if (changed) sink.show(link);
  }

  function obey(command: Command): void {
    switch (command.type) {
      case "open":
        return open(command.after, command.log);
      case "drop":
        return drop();
      case "retry_in":
        window.clearTimeout(silenceTimer);
        window.clearTimeout(retryTimer);
        retryTimer = window.setTimeout(() => happen({ type: "retry" }), command.ms);
        return;
      case "listen_for":
        window.clearTimeout(silenceTimer);
        silenceTimer = window.setTimeout(() => happen({ type: "silence" }), command.ms);
        return;
      case "apply":
        return sink.apply(command.events);
      case "take":
        return sink.take(command.snapshot, command.seq);
      case "forget":
        return sink.forget();
      case "renew":
        sink.renew().then((signedIn) => happen({ type: "renewed", signedIn }));
        return;
    }
  }

  function open(after: number, log: string | null): void {
    drop();
    window.clearTimeout(retryTimer);
    const opened = new WebSocket(addressOf(executionId, after, log));
    opened.onmessage = (message) => happen({ type: "message", text: String(message.data) });
    opened.onclose = (close) => {
      if (socket !== opened) return;
      socket = null;
      happen({ type: "closed", code: close.code, reason: close.reason });
    };
    socket = opened;
  }

  function drop(): void {
    if (!socket) return;
    // from now on nothing that this socket says counts
    socket.onmessage = null;
    socket.onclose = null;
    socket.close();
    socket = null;
  }

  function rest(): void {
    window.clearTimeout(retryTimer);
    window.clearTimeout(silenceTimer);
  }

  const hurry = (): void => {
    if (document.visibilityState === "visible" && link.phase === "reconnecting") happen({ type: "retry" });
  };
  window.addEventListener("online", hurry);
  document.addEventListener("visibilitychange", hurry);
  happen({ type: "start" });

  return {
    retry: hurry,
    stop() {
      stopped = true;
      window.removeEventListener("online", hurry);
      document.removeEventListener("visibilitychange", hurry);
      rest();
      drop();
    },
  };
}

function addressOf(executionId: string, after: number, log: string | null): string {
  const address = new URL(`/api/execution/${encodeURIComponent(executionId)}/stream`, window.location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  address.searchParams.set("after", String(after));
  address.searchParams.set("batch", "true");
  if (log) address.searchParams.set("log", log);
  return address.href;
}
