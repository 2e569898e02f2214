import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { accepted, completion, EXECUTION, hello, LOG, line, snapshot } from "../testing/log";
import { latest, type ScriptedSocket, scriptSockets } from "../testing/socket";
import type { Link } from "./link";
import { type Sink, type Watch, watch } from "./watch";

let sockets: ScriptedSocket[];
let seen: number[];
let phases: string[];
let signedIn: boolean;
let sink: Sink;
let watching: Watch[];

function start(): Watch {
  const started = watch(EXECUTION, sink);
  watching.push(started);
  return started;
}

beforeEach(() => {
  vi.useFakeTimers();
  sockets = scriptSockets();
  watching = [];
  seen = [];
  phases = [];
  signedIn = true;
  sink = {
    apply: (events) => seen.push(...events.map((event) => event.seq)),
    take: (_snapshot, seq) => seen.push(-seq),
    forget: () => {
      seen = [];
    },
    show: (link: Link) => {
      if (phases.at(-1) !== link.phase) phases.push(link.phase);
    },
    renew: () => Promise.resolve(signedIn),
  };
});
afterEach(() => {
  for (const one of watching) one.stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("opens the stream on this origin, by cookie, in batches", () => {
  start();
  expect(latest(sockets).url).toBe(`ws://localhost:3000/api/execution/${EXECUTION}/stream?after=0&batch=true`);
});

it("comes back with its cursor, applies everything once, and rests at the end", () => {
  start();
  latest(sockets).send(hello());
  latest(sockets).send([accepted(1), line(2)]);
  latest(sockets).end(1006);
  vi.advanceTimersByTime(1000);
  expect(sockets).toHaveLength(2);
  expect(Object.fromEntries(latest(sockets).query)).toEqual({ after: "2", batch: "true", log: LOG });
  latest(sockets).send(hello({ resumed: "recovered", from_seq: 2 }));
  latest(sockets).send([line(2), line(3), completion(4)]);
  expect(seen).toEqual([1, 2, 3, 4]);
  expect(phases).toEqual(["open", "reconnecting", "open", "ended"]);
  vi.advanceTimersByTime(600_000);
  expect(sockets).toHaveLength(2);
});

it("replaces a connection that says nothing for 45 s", () => {
  start();
  const first = latest(sockets);
  first.send(hello());
  vi.advanceTimersByTime(44_000);
  first.send({ type: "ping", ts: 0, seq: 0 });
  vi.advanceTimersByTime(44_000);
  expect(phases).toEqual(["open"]);
  vi.advanceTimersByTime(2000);
  expect(first.isDropped).toBe(true);
  expect(phases.at(-1)).toBe("reconnecting");
  vi.advanceTimersByTime(1000);
  expect(sockets).toHaveLength(2);
  first.send(line(1)); // what the old one says no longer counts
  expect(seen).toEqual([]);
});

it("replaces one that never opens", () => {
  start();
  vi.advanceTimersByTime(16_000);
  expect(sockets).toHaveLength(2);
});

it("goes on trying, further and further apart", () => {
  start();
  const waits = [...Array(8).keys()].map(loseAndWait);
  expect(waits[0]).toBeLessThanOrEqual(500);
  expect(waits[7]).toBeGreaterThanOrEqual(15_000);
  expect(waits[7]).toBeLessThanOrEqual(30_000);
});

it("tries at once when the browser is back online", () => {
  start();
  for (let turn = 0; turn < 8; turn += 1) loseAndWait();
  const before = sockets.length;
  latest(sockets).end(1006);
  window.dispatchEvent(new Event("online"));
  expect(sockets).toHaveLength(before + 1);
});

/** Ends the latest connection; answers the milliseconds until the next one is tried. */
function loseAndWait(): number {
  const before = sockets.length;
  latest(sockets).end(1006);
  for (let waited = 0; ; waited += 50) {
    if (sockets.length > before) return waited;
    vi.advanceTimersByTime(50);
  }
}

it("asks who is signed in after 4401, and stops when nobody is", async () => {
  start();
  latest(sockets).send(hello());
  latest(sockets).end(4401);
  await vi.advanceTimersByTimeAsync(1000);
  expect(sockets).toHaveLength(2);
  signedIn = false;
  latest(sockets).end(4401);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(phases.at(-1)).toBe("signed_out");
  expect(sockets).toHaveLength(2);
});

it("hands on a reset's snapshot", () => {
  start();
  latest(sockets).send(hello({ resumed: "reset" }));
  latest(sockets).send({ type: "reset", reason: "log_changed", snapshot: snapshot(), seq: 7 });
  latest(sockets).send(line(8));
  expect(seen).toEqual([-7, 8]);
});

it("stops when asked: no socket, no timer", () => {
  const started = start();
  latest(sockets).send(hello());
  started.stop();
  expect(latest(sockets).isDropped).toBe(true);
  expect(vi.getTimerCount()).toBe(0);
  window.dispatchEvent(new Event("online"));
  expect(sockets).toHaveLength(1);
});
