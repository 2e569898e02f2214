import { describe, expect, it } from "vitest";
import type { Event, Frame } from "../api/nouns";
import { accepted, completion, hello, LOG, line, ping, snapshot, status } from "../testing/log";
import { backoff, type Command, type Happening, idle, type Link, SILENCE_MS, step } from "./link";

const OTHER_LOG = "0190a0a0-0000-7000-8000-00000000000b";

/** Lets things happen to a link one after the other; answers the link and all that it asked for. */
function run(happenings: Happening[], from: Link = idle()): { link: Link; commands: Command[] } {
  let link = from;
  const commands: Command[] = [];
  for (const happening of happenings) {
    const [next, more] = step(link, happening, 0.5);
    link = next;
    commands.push(...more);
  }
  return { link, commands };
}

const message = (...frames: (Event | Frame)[]): Happening => ({
  type: "message",
  text: JSON.stringify(frames.length === 1 ? frames[0] : frames),
});
const closed = (code: number, reason = ""): Happening => ({ type: "closed", code, reason });
const start: Happening = { type: "start" };
const applied = (commands: readonly Command[]) =>
  commands.flatMap((command) => (command.type === "apply" ? command.events.map((event) => event.seq) : []));
const kinds = (commands: readonly Command[]) => commands.map((command) => command.type);
const wait = (commands: readonly Command[]) => commands.find((command) => command.type === "retry_in")?.ms;

/** Greeted, and past event 2. */
const open = run([start, message(hello()), message(accepted(1), status(2, "running"))]).link;

describe("events", () => {
  it("are handed on in order, a batch at once", () => {
    const { link, commands } = run([start, message(hello()), message(accepted(1), line(2), line(3)), message(line(4))]);
    expect(applied(commands)).toEqual([1, 2, 3, 4]);
    expect(kinds(commands).filter((kind) => kind === "apply")).toHaveLength(2);
    expect(link).toMatchObject({ phase: "open", after: 4, log: LOG });
  });

  it("that came before are dropped", () => {
    const { commands } = run([message(accepted(1), status(2, "running"), line(3))], open);
    expect(applied(commands)).toEqual([3]);
  });

  it("behind a hole are not believed: the link goes back to its cursor", () => {
    const { link, commands } = run([message(line(3), line(5))], open);
    expect(applied(commands)).toEqual([3]);
    expect(kinds(commands)).toEqual(["apply", "drop", "retry_in"]);
    expect(run([{ type: "retry" }], link).commands[0]).toEqual({ type: "open", after: 3, log: LOG });
  });

  it("of a later server's kind count like all others", () => {
    const unknown = { ...line(3), type: "something_new" } as unknown as Event;
    expect(run([message(unknown), message(line(4))], open).link.after).toBe(4);
  });

  it("end with the terminal one, whatever close follows", () => {
    const { link, commands } = run([message(completion(3)), closed(1006)], open);
    expect(link.phase).toBe("ended");
    expect(kinds(commands)).toEqual(["apply", "drop"]);
  });
});

describe("a lost connection", () => {
  it("comes back at the cursor, in the same log", () => {
    const { link, commands } = run([closed(1006), { type: "retry" }], open);
    expect(link.phase).toBe("reconnecting");
    expect(commands).toContainEqual({ type: "open", after: 2, log: LOG });
    expect(run([message(hello({ resumed: "recovered", from_seq: 2, head_seq: 3 }))], link).link.phase).toBe("open");
  });

  it("waits longer each time, half a minute at most, never exactly as long as others", () => {
    expect([0, 1, 2, 3].map((failures) => backoff(failures, 0))).toEqual([250, 500, 1000, 2000]);
    expect(backoff(20, 0)).toBe(15_000);
    expect(backoff(20, 0.999)).toBeLessThan(30_000);
    expect(backoff(20, 0.999)).toBeGreaterThan(29_000);
  });

  it("keeps waiting longer while hello comes and nothing after it", () => {
    const failing = [closed(1011), message(hello({ from_seq: 2, resumed: "recovered" }))];
    expect(run([...failing, ...failing, ...failing], open).link.failures).toBe(3);
    expect(run([...failing, message(line(3))], open).link.failures).toBe(0);
  });

  it("is noticed by silence of one and a half pings", () => {
    const { link, commands } = run([start, message(hello({ ping_interval: 30 })), message(ping(0))]);
    expect(commands).toContainEqual({ type: "listen_for", ms: SILENCE_MS });
    const lost = run([{ type: "silence" }], link);
    expect(lost.link.phase).toBe("reconnecting");
    expect(kinds(lost.commands)).toEqual(["drop", "retry_in"]);
  });

  it("is noticed when a ping names events that never came", () => {
    const late = run([message(ping(5))], open);
    expect(late.link.phase).toBe("open");
    expect(run([message(line(3), line(4), line(5)), message(ping(5))], late.link).link.phase).toBe("open");
    expect(run([message(ping(6))], late.link).link.phase).toBe("reconnecting");
  });

  it("is given up by nothing that a person does not see: garbage reconnects", () => {
    expect(run([{ type: "message", text: "<html>" }], open).link.phase).toBe("reconnecting");
  });

  it("does not end an execution: 1000 without a terminal event comes back", () => {
    expect(run([closed(1000)], open).link.phase).toBe("reconnecting");
  });
});

describe("close codes", () => {
  it.each([
    [4404, "missing"],
    [4400, "refused"],
    [4403, "refused"],
    [1009, "refused"],
  ])("%i ends as %s", (code, phase) => {
    const { link, commands } = run([closed(code)], open);
    expect(link.phase).toBe(phase);
    expect(wait(commands)).toBeUndefined();
  });

  it("1012 comes back at once, with jitter", () => {
    expect(wait(step(open, closed(1012), 0)[1])).toBe(0);
    expect(wait(step(open, closed(1012), 0.9)[1])).toBe(900);
    expect(wait(step({ ...open, failures: 4 }, closed(1012), 0)[1])).toBe(4000);
  });

  it.each([1013, 4429])("%i backs off by seconds", (code) => {
    expect(wait(run([closed(code)], open).commands)).toBeGreaterThan(5000);
  });

  it("4401 renews the login, and resumes or signs out", () => {
    const { link, commands } = run([closed(4401)], open);
    expect(kinds(commands)).toEqual(["renew", "retry_in"]);
    expect(run([{ type: "renewed", signedIn: true }], link).link.phase).toBe("reconnecting");
    expect(run([{ type: "renewed", signedIn: false }], link).link.phase).toBe("signed_out");
  });

  it("of later versions are obeyed by what their reason says", () => {
    expect(run([closed(4999, '{"code":"gone","retry":false}')], open).link.phase).toBe("refused");
    expect(run([closed(4999, '{"code":"busy","retry":true}')], open).link.phase).toBe("reconnecting");
    expect(run([closed(4999, "not json")], open).link.phase).toBe("reconnecting");
  });
});

describe("continuity", () => {
  it("takes the snapshot of a reset and goes on behind it", () => {
    const reset: Frame = { type: "reset", reason: "log_changed", snapshot: snapshot({ head_seq: 40 }), seq: 40 };
    const { link, commands } = run(
      [message(hello({ resumed: "reset", log_id: OTHER_LOG })), message(reset, line(41))],
      open,
    );
    expect(kinds(commands)).toEqual(["listen_for", "take", "apply", "listen_for"]);
    expect(link).toMatchObject({ after: 41, log: OTHER_LOG });
  });

  it("starts over when another log answers without a reset", () => {
    const { link, commands } = run([message(hello({ log_id: OTHER_LOG, from_seq: 2 }))], open);
    expect(kinds(commands)).toEqual(["drop", "forget", "retry_in"]);
    expect(run([{ type: "retry" }], link).commands[0]).toEqual({ type: "open", after: 0, log: null });
  });

  it("starts over when the server would begin behind the cursor", () => {
    expect(kinds(run([message(hello({ from_seq: 9, resumed: "recovered" }))], open).commands)).toContain("forget");
  });

  it("survives a log that has no name yet", () => {
    const nameless = run([start, message(hello({ log_id: null })), message(accepted(1))]).link;
    expect(nameless).toMatchObject({ log: null, after: 1, phase: "open" });
    expect(run([message(hello({ from_seq: 1, resumed: "recovered" }))], nameless).link.log).toBe(LOG);
  });
});

describe("the login", () => {
  it("is renewed before it ends, and the stream reopened at its cursor", () => {
    const expiring = run([message({ type: "auth_expiring", expires_at: 0 })], open);
    expect(kinds(expiring.commands)).toEqual(["renew", "listen_for"]);
    const renewed = run([{ type: "renewed", signedIn: true }], expiring.link);
    expect(renewed.commands).toContainEqual({ type: "open", after: 2, log: LOG });
  });
});

it("hands on every event once and in order, whatever the connection does", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const chance = dice(seed);
    const length = 5 + Math.floor(chance() * 40);
    const log = [...Array(length - 1).keys()].map((index) => line(index + 1));
    const server = [...log, completion(length)];
    const seen: number[] = [];
    let link = idle();
    const feed = (happening: Happening): void => {
      const [next, commands] = step(link, happening, chance());
      link = next;
      if (kinds(commands).includes("forget")) seen.length = 0;
      seen.push(...applied(commands));
    };
    feed(start);
    for (let turn = 0; link.phase !== "ended"; turn += 1) {
      if (turn > 500) throw new Error(`seed ${seed} does not come to its end`);
      feed(message(hello({ from_seq: link.after, head_seq: length })));
      misbehave(server, link.after, chance, feed);
      if (link.phase === "open") feed(closed([1006, 1012, 1001, 4401, 1013][Math.floor(chance() * 5)] ?? 1006));
      feed({ type: "retry" });
    }
    expect(seen).toEqual(server.map((event) => event.seq));
  }
});

/** Sends some of what is due: repeated, torn off, now and then with a hole. */
function misbehave(log: Event[], after: number, chance: () => number, feed: (happening: Happening) => void): void {
  for (let place = Math.max(0, after - Math.floor(chance() * 4)); place < log.length && chance() > 0.15; ) {
    const size = 1 + Math.floor(chance() * 4);
    feed(message(...log.slice(place, place + size)));
    place += chance() < 0.1 ? size + 1 : chance() < 0.2 ? 0 : size;
  }
}

function dice(seed: number): () => number {
  let state = seed * 2_654_435_761;
  return () => {
    state = (state ^ (state << 13)) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    return state / 2 ** 32;
  };
}
