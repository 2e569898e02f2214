import { useEffect, useState } from "react";

/** Milliseconds as a person would say them: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 0) return duration(0);
  if (ms < 10_000) return `${(Math.round(ms / 100) / 10).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How long ago, in words; older than a month as a date. */
export function ago(then: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  if (days <= 30) return days === 1 ? "1 day ago" : `${days} days ago`;
  return DATE.format(then);
}

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
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
