import { describe, expect, it } from "vitest";
import {
  accepted,
  attempt,
  cancelled,
  completion,
  cutShort,
  failure,
  line,
  node,
  picture,
  snapshot,
  status,
  stopped,
} from "../testing/log";
import { attemptStanding, blank, fold, PAGE, settle, standing } from "./view";

describe("a log", () => {
  it("tells the whole present by itself", () => {
    const view = fold(blank(), [
      accepted(1),
      status(2, "running"),
      node(3, "a", "running"),
      node(4, "a", "success", { Text: "lamp" }),
      status(5, "running", 0.5),
    ]);
    expect(view).toMatchObject({ seq: 5, name: "Buy a lamp", status: "running", progress: 0.5, order: ["a"] });
    expect(view.nodes.a).toMatchObject({ status: "success", output: { Text: "lamp" } });
    expect(view.startedAt).toBe(1_700_000_002_500);
  });

  it("counts attempts, each once", () => {
    const view = fold(blank(), [
      attempt(1, "a", 1, "running"),
      attempt(2, "a", 1, "retrying"),
      attempt(3, "a", 2, "success"),
    ]);
    expect(view.nodes.a?.attempts).toEqual([
      { number: 1, status: "retrying", code: "timeout", durationMs: 12 },
      { number: 2, status: "success", code: null, durationMs: 12 },
    ]);
  });

  it("does not call a node failed that somebody else's end has stopped", () => {
    const view = fold(blank(), [node(1, "a", "failed"), ...stopped(2, "b")]);
    const { a, b } = view.nodes;
    expect([a && standing(a), b && standing(b)]).toEqual(["failed", "stopped"]);
    expect(view.log.flat().map((told) => told.level)).toEqual(["error", "info"]);
    const why = {
      code: "stopped" as const,
      message: "Stopped.",
      hint: "",
      node_id: "a",
      page_url: null,
      asks_about: null,
    };
    const state = snapshot().nodes.map((one) => ({ ...one, status: "failed" as const, error: why }));
    const opened = settle(blank(), snapshot({ status: "cancelled", nodes: state })).nodes.a;
    expect(opened && standing(opened)).toBe("stopped");
  });

  it("does not call a node failed or under way that a pause has cut short", () => {
    const view = fold(blank(), [...cutShort(1, "a"), node(3, "b", "retrying"), attempt(4, "b", 1, "retrying")]);
    const { a, b } = view.nodes;
    expect([a && standing(a), b && standing(b)]).toEqual(["paused", "retrying"]);
    expect(a?.attempts.map(attemptStanding)).toEqual(["paused"]);
    expect(view.log.flat().map(({ level, message }) => [level, message])).toEqual([
      ["info", "The execution was paused while it waited."],
      ["warning", "Failed. Trying again."],
    ]);
    const again = fold(view, [node(5, "a", "running"), attempt(6, "a", 1, "running")]).nodes.a;
    expect(again && standing(again)).toBe("running");
  });

  it("leaves nothing paused or queued in an execution that is over", () => {
    const planned = settle(blank(), snapshot({ head_seq: 1 }));
    const ended = fold(planned, [...cutShort(2, "a"), cancelled(4)]);
    const states = (view: typeof ended) => Object.values(view.nodes).map(standing);
    expect(states(ended)).toEqual(["stopped", "skipped"]);
    const waited = snapshot().nodes.map((one) => ({ ...one, status: one.node_id === "a" ? "retrying" : "queued" }));
    const opened = settle(ended, snapshot({ status: "cancelled", head_seq: 4, nodes: waited as never }));
    expect(states(opened)).toEqual(["stopped", "skipped"]);
  });

  it("knows that a pause has come, and that it is over", () => {
    const paused = fold(blank(), [status(1, "running"), status(2, "paused")]);
    expect(paused.pauseRequested).toBe(true);
    expect(fold(paused, [status(3, "running")]).pauseRequested).toBe(false);
    const asked = settle(blank(), snapshot({ pause_requested: true }));
    expect(fold(asked, [status(2, "running", 0.5)]).pauseRequested).toBe(true);
  });

  it("keeps lines in pages, and never touches a page that is on the screen", () => {
    const first = fold(blank(), [line(1), line(2)]);
    const shown = first.log[0];
    const second = fold(
      first,
      [...Array(PAGE).keys()].map((index) => line(index + 3)),
    );
    expect(shown).toHaveLength(2);
    expect(second.log.map((page) => page.length)).toEqual([PAGE, 2]);
    expect(second.lines).toBe(PAGE + 2);
    expect(fold(second, [line(PAGE + 3)]).log[0]).toBe(second.log[0]);
  });

  it("says once why it failed: the node's line has the reason", () => {
    const told = (view: ReturnType<typeof fold>) => view.log.flat().map(({ message, level }) => [level, message]);
    expect(told(fold(blank(), [node(1, "a", "failed"), failure(2)]))).toEqual([
      ["error", "It broke."],
      ["error", "Failed."],
    ]);
    expect(told(fold(blank(), [line(1, "It broke."), failure(2)])).at(-1)).toEqual(["error", "It broke."]);
  });

  it("keeps each picture once", () => {
    const view = fold(blank(), [picture(1, "one"), picture(2, "one"), picture(3, "two")]);
    expect(view.shots.map((shot) => shot.artifact.artifact_id)).toEqual(["one", "two"]);
    expect(view.artifacts).toHaveLength(2);
  });

  it.each([
    [completion(2), { status: "completed", progress: 1, outcome: { kind: "completed", output: { order: "GL-1" } } }],
    [failure(2), { status: "failed", outcome: { kind: "failed", error: "It broke.", failure: null } }],
    [cancelled(2), { status: "cancelled", outcome: { kind: "cancelled", reason: "Enough." } }],
  ])("ends with its last event", (event, end) => {
    expect(fold(blank(), [accepted(1), event])).toMatchObject({ ...end, endedAt: 1_700_000_002_500, wanted: 2 });
  });

  it("keeps the status that says why, where the last event does not", () => {
    expect(fold(blank(), [status(1, "budget_exceeded"), failure(2)]).status).toBe("budget_exceeded");
  });

  it("does not stumble over events of later servers", () => {
    const unknown = { ...line(2), type: "something_new" } as never;
    expect(fold(blank(), [line(1), unknown, line(3)])).toMatchObject({ seq: 3, lines: 2 });
  });
});

describe("a snapshot", () => {
  it("brings names, phases and the plan's order", () => {
    const view = settle(blank(), snapshot());
    expect(view.order).toEqual(["a", "b"]);
    expect(view.nodes.b).toMatchObject({ name: "Take the lamp", phase: 1, status: "queued" });
    expect(view.phases).toHaveLength(2);
  });

  it("of the end is not undone by the past that follows it", () => {
    const over = settle(
      blank(),
      snapshot({ status: "completed", progress: 1, head_seq: 4, result: { order: "GL-1" } }),
    );
    const view = fold(over, [accepted(1), status(2, "running"), node(3, "a", "running"), line(4)]);
    expect(view).toMatchObject({ status: "completed", progress: 1, currentNode: null, lines: 2, seq: 4 });
    expect(view.nodes.a?.status).toBe("skipped");
    expect(view.outcome).toEqual({ kind: "completed", output: { order: "GL-1" } });
  });

  it("gets what the past knows better: outputs, attempts, pictures", () => {
    const over = settle(blank(), snapshot({ status: "completed", head_seq: 9 }));
    const view = fold(over, [node(3, "a", "success", { Text: "lamp" }), attempt(4, "a", 1, "success"), picture(5)]);
    expect(view.nodes.a).toMatchObject({ output: { Text: "lamp" }, name: "Open the shop" });
    expect(view.nodes.a?.attempts).toHaveLength(1);
    expect(view.shots).toHaveLength(1);
  });

  it("that is older than the log changes nothing but names", () => {
    const ahead = fold(blank(), [accepted(1), status(2, "running", 0.5), node(3, "a", "success")]);
    const view = settle(ahead, snapshot({ status: "pending", head_seq: 1 }));
    expect(view).toMatchObject({ status: "running", progress: 0.5 });
    expect(view.nodes.a).toMatchObject({ status: "success", name: "Open the shop" });
  });

  it("is wanted when the log speaks of what it does not explain", () => {
    const known = settle(blank(), snapshot({ head_seq: 1 }));
    expect(known.wanted).toBeLessThanOrEqual(known.known);
    expect(fold(known, [node(2, "a", "running")]).wanted).toBe(0);
    expect(fold(known, [node(2, "c", "running")]).wanted).toBe(2);
    expect(fold(known, [node(2, "a", "failed")]).wanted).toBe(2);
    const failed = fold(known, [failure(2)]);
    expect(failed.wanted).toBe(2);
    expect(settle(failed, snapshot({ status: "failed", head_seq: 2 })).wanted).toBe(2);
  });

  it("explains a failure with its hint", () => {
    const why = {
      code: "timeout" as const,
      message: "Too slow.",
      hint: "Wait longer.",
      node_id: "a",
      page_url: null,
      asks_about: null,
    };
    const view = settle(
      fold(blank(), [accepted(1), failure(2)]),
      snapshot({ status: "failed", head_seq: 2, error: why }),
    );
    expect(view.outcome).toEqual({ kind: "failed", error: "Too slow.", failure: why });
  });
});
