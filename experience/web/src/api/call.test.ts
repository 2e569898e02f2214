import { afterEach, expect, it, vi } from "vitest";
import { addressOf, call } from "./call";
import { isPassing, isSignedOut, problemOf, Refused } from "./problem";

afterEach(() => {
  vi.unstubAllGlobals();
});

function answer(status: number, body: unknown): ReturnType<typeof vi.fn> {
  const fetch = vi.fn(async () => new Response(body === undefined ? null : JSON.stringify(body), { status }));
  vi.stubGlobal("fetch", fetch);
  return fetch;
}

it("puts path fields in place, encoded, and leaves absent query fields out", () => {
  const address = addressOf(
    "/api/execution/{execution_id}/status",
    { execution_id: "a/b?c" },
    { tenant_id: "t", x: null },
  );
  expect(address).toBe("/api/execution/a%2Fb%3Fc/status?tenant_id=t");
});

it("sends the cookie's request as JSON and reads the answer", async () => {
  const fetch = answer(202, { execution_id: "e" });
  const accepted = await call("post", "/api/workflow/{workflow_id}/run", {
    path: { workflow_id: "w" },
    body: { inputs: {} },
    headers: { "Idempotency-Key": "k" },
  });
  expect(accepted.execution_id).toBe("e");
  const [address, init] = fetch.mock.calls[0] as unknown as [string, RequestInit];
  expect(address).toBe("/api/workflow/w/run");
  expect(init).toMatchObject({ method: "POST", credentials: "same-origin", body: '{"inputs":{}}' });
  expect(init.headers).toEqual({ "Content-Type": "application/json", "Idempotency-Key": "k" });
});

it("answers nothing for 204", async () => {
  answer(204, undefined);
  expect(await call("post", "/api/auth/logout", { body: { refresh_token: null } })).toBeUndefined();
});

it("throws the server's own problem", async () => {
  answer(401, { code: "unauthenticated", detail: "Nobody.", hint: "Sign in.", faults: [], request_id: "r" });
  const error = await call("get", "/api/auth/me", {}).catch((thrown: unknown) => thrown);
  expect(isSignedOut(error)).toBe(true);
  expect(problemOf(error)).toMatchObject({ detail: "Nobody.", request_id: "r" });
});

it("makes a problem of an answer that is none", async () => {
  vi.stubGlobal("fetch", async () => new Response("Bad gateway", { status: 502 }));
  const error = await call("get", "/api/auth/me", {}).catch((thrown: unknown) => thrown);
  expect(problemOf(error)).toMatchObject({ code: "unavailable", status: 502 });
  expect(isPassing(error)).toBe(true);
});

it("makes a problem of no answer", async () => {
  vi.stubGlobal("fetch", async () => {
    throw new TypeError("Failed to fetch");
  });
  const error = await call("get", "/api/auth/me", {}).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(Refused);
  expect(isPassing(error)).toBe(true);
});
