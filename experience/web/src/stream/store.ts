// One execution's view and connection, as stores that components select from.
import { createStore, type StoreApi } from "zustand/vanilla";
import type { Event, Execution } from "../api/nouns";
import { idle, type Link } from "./link";
import { blank, type ExecutionView, fold, settle } from "./view";

export interface Show {
  view: StoreApi<ExecutionView>;
  link: StoreApi<Link>;
  apply(events: Event[]): void;
  /** A snapshot read over HTTP. */
  settle(snapshot: Execution): void;
  /** A snapshot that replaces everything up to `seq`, because the stream could not show continuity. */
  take(snapshot: Execution, seq: number): void;
  forget(): void;
}

/** Twenty pictures a second are a film; the frames between them belong to the person who scrolls and drags. */
const PAUSE_MS = 50;
/** Hidden pages get no animation frames; their events must not pile up. */
const LONGEST_FRAME_MS = 250;

/**
 * Stores for one execution. Events are gathered and applied together in an animation frame, the first at once, a flood
 * at most every PAUSE_MS: a component renders as often as it can be seen, not as often as something happens.
 */
export function createShow(): Show {
  const view = createStore<ExecutionView>(blank);
  const link = createStore<Link>(idle);
  let waiting: Event[] = [];
  let frame = 0;
  let timer = 0;
  let flushedAt = Number.NEGATIVE_INFINITY;

  function flush(): void {
    window.cancelAnimationFrame(frame);
    window.clearTimeout(timer);
    frame = timer = 0;
    if (!waiting.length) return;
    const events = waiting;
    waiting = [];
    flushedAt = performance.now();
    view.setState((before) => fold(before, events), true);
  }

  function draw(): void {
    frame = window.requestAnimationFrame(flush);
    timer = window.setTimeout(flush, LONGEST_FRAME_MS);
  }

  return {
    view,
    link,
    apply(events) {
      waiting.push(...events);
      if (timer) return;
      const pause = flushedAt + PAUSE_MS - performance.now();
      if (pause > 0) timer = window.setTimeout(draw, pause);
      else draw();
    },
    settle(snapshot) {
      flush(); // what came before the snapshot is older than it
      view.setState((before) => settle(before, snapshot), true);
    },
    take(snapshot, seq) {
      waiting = [];
      view.setState({ ...settle(blank(), snapshot), seq }, true);
    },
    forget() {
      waiting = [];
      // the names and the plan stay on the screen until the log has told its story again
      view.setState((before) => ({ ...before, seq: 0, known: -1, wanted: 0, log: [], lines: 0, shots: [] }), true);
    },
  };
}
