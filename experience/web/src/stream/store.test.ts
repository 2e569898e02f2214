import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { accepted, line, node, snapshot, status } from "../testing/log";
import { createShow } from "./store";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("applies a burst once per frame", () => {
  const show = createShow();
  let changes = 0;
  show.view.subscribe(() => {
    changes += 1;
  });
  for (let seq = 1; seq <= 100; seq += 1) show.apply([line(seq)]);
  expect(changes).toBe(0);
  vi.advanceTimersByTime(17);
  expect(changes).toBe(1);
  expect(show.view.getState().lines).toBe(100);
});

it("draws a flood twenty times a second", () => {
  const show = createShow();
  let changes = 0;
  show.view.subscribe(() => {
    changes += 1;
  });
  for (let seq = 1; seq <= 200; seq += 1) {
    show.apply([line(seq)]);
    vi.advanceTimersByTime(5);
  }
  vi.advanceTimersByTime(100);
  expect(changes).toBeGreaterThan(10);
  expect(changes).toBeLessThanOrEqual(21);
  expect(show.view.getState().seq).toBe(200);
});

it("goes on without frames while the page is hidden", () => {
  vi.stubGlobal("requestAnimationFrame", () => 1);
  const show = createShow();
  show.apply([line(1)]);
  vi.advanceTimersByTime(300);
  expect(show.view.getState().lines).toBe(1);
  vi.unstubAllGlobals();
});

it("tells one node's change to nobody else", () => {
  const show = createShow();
  show.settle(snapshot());
  const { b } = show.view.getState().nodes;
  show.apply([node(2, "a", "running")]);
  vi.advanceTimersByTime(17);
  expect(show.view.getState().nodes.a?.status).toBe("running");
  expect(show.view.getState().nodes.b).toBe(b);
});

it("takes the snapshot of a reset instead of everything", () => {
  const show = createShow();
  show.apply([accepted(1), status(2, "running"), line(3)]);
  vi.advanceTimersByTime(17);
  show.apply([line(4)]);
  show.take(snapshot({ status: "paused", head_seq: 9 }), 9);
  vi.advanceTimersByTime(300);
  expect(show.view.getState()).toMatchObject({ seq: 9, known: 9, status: "paused", lines: 0 });
});

it("forgets the story and keeps the plan", () => {
  const show = createShow();
  show.settle(snapshot());
  show.apply([line(2)]);
  vi.advanceTimersByTime(17);
  show.apply([line(3)]);
  show.forget();
  vi.advanceTimersByTime(300);
  expect(show.view.getState()).toMatchObject({ seq: 0, lines: 0, name: "Buy a lamp" });
  show.apply([accepted(1), status(2, "running", 0.25)]);
  vi.advanceTimersByTime(17);
  expect(show.view.getState()).toMatchObject({ progress: 0.25, seq: 2 });
});
