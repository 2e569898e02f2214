import { useSyncExternalStore } from "react";
import { ago, DATE, duration } from "./words";

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});

export function clock(at: number): string {
  return CLOCK.format(at);
}

export function Ago({ at }: { at: string }) {
  const then = Date.parse(at);
  const now = useNow(then > Date.now() - 60_000 ? 1000 : 30_000);
  return (
    <time dateTime={at} title={DATE.format(then)}>
      {ago(then, now)}
    </time>
  );
}

/** Time between two instants in milliseconds; counts on while there is no end. */
export function Elapsed({ from, to }: { from: number; to: number | null }) {
  const now = useNow(to === null ? TICK_MS : null);
  // clocks of server and browser may differ a little: never negative
  return <span className="numbers">{duration(Math.max(0, (to ?? now) - from))}</span>;
}

// One clock for everything that counts: a hundred running nodes are one timer and one render.
const TICK_MS = 500;
const listeners = new Set<() => void>();
let now = Date.now();
let timer = 0;

function tick(): void {
  now = Date.now();
  for (const listener of listeners) listener();
}

function listen(listener: () => void): () => void {
  listeners.add(listener);
  if (listeners.size === 1) {
    now = Date.now();
    timer = window.setInterval(tick, TICK_MS);
  }
  return () => {
    listeners.delete(listener);
    if (!listeners.size) window.clearInterval(timer);
  };
}

const stopped = () => () => {};

/** The time, in steps of `everyMs`; null stops the clock. */
function useNow(everyMs: number | null): number {
  return useSyncExternalStore(everyMs === null ? stopped : listen, () =>
    everyMs === null ? 0 : Math.floor(now / everyMs) * everyMs,
  );
}
