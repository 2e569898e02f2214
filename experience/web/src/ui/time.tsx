import { useEffect, useState } from "react";
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
  const now = useNow(to === null ? 500 : null);
  // clocks of server and browser may differ a little: never negative
  return <span className="numbers">{duration(Math.max(0, (to ?? now) - from))}</span>;
}

function useNow(everyMs: number | null): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (everyMs === null) return;
    const timer = window.setInterval(() => setNow(Date.now()), everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs]);
  return now;
}
