import { act, cleanup, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import { PATHS } from "./paths";
import { ME, openPage, Refusal, summary } from "./testing/house";
import { EXECUTION } from "./testing/log";

const NOBODY = new Refusal(401, "unauthenticated", "Nobody is signed in.");
const WORKFLOW = {
  workflow_id: "w",
  name: "Demo: buy a lamp",
  description: "Buys a lamp.",
  status: "draft",
  version: 3,
  valid: true,
  nodes: 5,
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
};

afterEach(() => {
  vi.unstubAllGlobals();
});

it("asks who you are, and goes on to where you wanted", async () => {
  const house = openPage("/executions?status=failed", { "GET /api/auth/me": NOBODY, "POST /api/auth/login": {} });
  await screen.findByRole("heading", { name: "Sign in" });
  await userEvent.type(screen.getByLabelText("Email"), "ada@stage.test");
  await userEvent.type(screen.getByLabelText("Password"), "secret enough");
  house.answers["GET /api/auth/me"] = ME;
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  await screen.findByRole("heading", { name: "Executions" });
  expect(window.location.pathname + window.location.search).toBe("/executions?status=failed");
  expect(localStorage.length + sessionStorage.length).toBe(0);
});

it("says why a sign-in was refused", async () => {
  openPage("/sign-in", {
    "GET /api/auth/me": NOBODY,
    "POST /api/auth/login": new Refusal(401, "unauthenticated", "Address and password do not fit."),
  });
  await userEvent.type(await screen.findByLabelText("Email"), "ada@stage.test");
  await userEvent.type(screen.getByLabelText("Password"), "wrong");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  expect(within(await screen.findByRole("alert")).getByText("Address and password do not fit.")).toBeTruthy();
});

it("registers with the invitation from the address", async () => {
  let sent: unknown;
  const house = openPage("/sign-in#invitation=abc", {
    "GET /api/auth/me": NOBODY,
    "POST /api/auth/register": (body: unknown) => {
      sent = body;
      house.answers["GET /api/auth/me"] = ME;
      return {};
    },
  });
  await userEvent.type(await screen.findByLabelText("Email"), "eve@stage.test");
  await userEvent.type(screen.getByLabelText(/Password/), "long enough to pass");
  await userEvent.click(screen.getByRole("button", { name: "Create account" }));
  await screen.findByText("The stage is empty");
  expect(sent).toMatchObject({ invitation: "abc", transport: "cookie", email: "eve@stage.test" });
});

it("redeems a link once, and takes the code out of the address", async () => {
  const house = openPage(`/enter?next=/executions#one%2Dtime`, {
    "GET /api/auth/me": NOBODY,
    "POST /api/auth/link/redeem": (body: unknown) => {
      expect(body).toEqual({ code: "one-time", transport: "cookie" });
      house.answers["GET /api/auth/me"] = ME;
      return {};
    },
  });
  await screen.findByRole("heading", { name: "Executions" });
  expect(window.location.href).not.toContain("one");
  expect(house.asked.filter((asked) => asked.includes("redeem"))).toHaveLength(1);
});

it("says that a used link opens nothing", async () => {
  openPage("/enter#old", { "POST /api/auth/link/redeem": new Refusal(401, "unauthenticated", "It has been used.") });
  expect(await screen.findByText("It has been used.")).toBeTruthy();
  expect(screen.getByRole("link", { name: "Sign in instead" })).toBeTruthy();
});

it("starts the demo once, however often it must ask", async () => {
  const keys: unknown[] = [];
  const house = openPage("/", { "GET /api/workflow": { items: [WORKFLOW], next_cursor: null } });
  const send = globalThis.fetch as unknown as (address: string, init: RequestInit) => Promise<Response>;
  vi.stubGlobal("fetch", (address: string, init: RequestInit) => {
    if (init.method === "POST") keys.push((init.headers as Record<string, string>)["Idempotency-Key"]);
    return send(address, init);
  });
  const answers = [new Refusal(503, "unavailable"), new Refusal(409, "conflict"), { execution_id: EXECUTION }];
  house.answers["POST /api/workflow/w/run"] = () => answers[keys.length - 1];
  await userEvent.click(await screen.findByRole("button", { name: /^Start/ }));
  await screen.findByRole("alert"); // the first was asked again by itself, this is the second
  await userEvent.click(screen.getByRole("button", { name: /^Start/ }));
  await waitFor(() => expect(window.location.pathname).toBe(`/executions/${EXECUTION}`));
  expect(keys).toHaveLength(3);
  expect(new Set(keys).size).toBe(1);
});

it("shows what runs, what waits and what has ended", async () => {
  openPage("/", {
    "GET /api/execution": (_body: unknown, query: URLSearchParams) => ({
      items: [
        summary({ execution_id: "1", name: "Running one", status: "running", finished_at: null, progress: 0.5 }),
        summary({ execution_id: "2", name: "Ended one" }),
      ].filter((item) => query.get("status") === null || query.get("status") === item.status),
      next_cursor: null,
    }),
  });
  const stage = (await screen.findByRole("heading", { name: "On stage now" })).closest("section") as HTMLElement;
  expect(await within(stage).findByRole("link", { name: /Running one/ })).toBeTruthy();
  expect(within(stage).queryByText("Ended one")).toBeNull();
  expect(screen.getByRole("link", { name: "Ended one" })).toBeTruthy();
});

it("puts what a person must answer first, and says kindly that it is answered", async () => {
  const question = {
    node_id: "b",
    node_name: "Pay",
    message: "It was cut off.",
    hint: "",
    answers: ["happened", "run_again"],
  };
  const intent = {
    intent_id: "i",
    execution_id: EXECUTION,
    realm: "r",
    intent: "i",
    created_at: "2026-01-01T00:00:00Z",
    question,
  };
  const house = openPage("/", { "GET /api/intent/pending": { items: [intent], next_cursor: null } });
  const card = within(await screen.findByRole("region", { name: /Did “Pay” happen/ }));
  expect(card.getByRole("link", { name: /See the execution/ }).getAttribute("href")).toBe(`/executions/${EXECUTION}`);
  house.answers[`POST /api/execution/${EXECUTION}/answer`] = () => {
    house.answers["GET /api/intent/pending"] = { items: [], next_cursor: null };
    return new Refusal(409, "conflict");
  };
  await userEvent.click(card.getByRole("button", { name: "It happened" }));
  await waitFor(() => expect(screen.queryByRole("region", { name: /Did “Pay” happen/ })).toBeNull());
  expect(screen.getByText(/Somebody has answered this already/)).toBeTruthy();
});

it("pages through executions by cursor, and filters in the address", async () => {
  const house = openPage("/executions", {
    "GET /api/execution": (_body: unknown, query: URLSearchParams) =>
      query.get("cursor")
        ? { items: [summary({ execution_id: "2", name: "Older" })], next_cursor: null }
        : { items: [summary({ execution_id: "1", name: "Newer" })], next_cursor: "c1" },
  });
  await userEvent.click(await screen.findByRole("button", { name: "Show older" }));
  await screen.findByText("Older");
  expect(screen.getByText("Newer")).toBeTruthy();
  expect(house.asked).toContain("GET /api/execution?limit=30&cursor=c1");
  await userEvent.selectOptions(screen.getByLabelText("Status"), "failed");
  expect(window.location.search).toBe("?status=failed");
  await waitFor(() => expect(house.asked).toContain("GET /api/execution?limit=30&status=failed"));
});

it("shows what failed and what to do, and keeps trying what passes", async () => {
  const house = openPage("/executions", { "GET /api/execution": new Refusal(403, "forbidden", "Not for you.") });
  expect(within(await screen.findByRole("alert")).getByText("Try something else.")).toBeTruthy();
  expect(screen.getByText("Request r-1")).toBeTruthy();
  house.answers["GET /api/execution"] = { items: [], next_cursor: null };
  await userEvent.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText("Nothing has run yet")).toBeTruthy();
});

it("warns in red of logins that can be read on the way", async () => {
  openPage("/", { "GET /api/auth/me": { ...ME, insecure: true } });
  expect((await screen.findByText(/plain http/)).closest("[role=alert]")).toBeTruthy();
});

it("lets a viewer watch, not start", async () => {
  openPage("/", {
    "GET /api/auth/me": { ...ME, role: "viewer", scopes: ["execution:read", "workflow:read"] },
    "GET /api/workflow": { items: [WORKFLOW], next_cursor: null },
  });
  const start = await screen.findByRole("button", { name: /^Start/ });
  expect((start as HTMLButtonElement).disabled).toBe(true);
});

it("starts nothing that can't run, and says why beside it", async () => {
  const broken = { ...WORKFLOW, workflow_id: "x", name: "Half-drawn", valid: false };
  openPage("/", { "GET /api/workflow": { items: [WORKFLOW, broken], next_cursor: null } });
  const run = (await screen.findByRole("button", { name: /^Run.*Half-drawn/ })) as HTMLButtonElement;
  expect(run.disabled).toBe(true);
  const reason = document.getElementById(run.getAttribute("aria-describedby") ?? "");
  expect(reason?.textContent).toContain("Can't run as it stands");
  const sound = screen.getByRole("button", { name: /^Run.*Demo: buy a lamp/ }) as HTMLButtonElement;
  expect([sound.disabled, sound.getAttribute("aria-describedby")]).toEqual([false, null]);
});

it("starts no demo that can't run", async () => {
  openPage("/", { "GET /api/workflow": { items: [{ ...WORKFLOW, valid: false }], next_cursor: null } });
  const start = (await screen.findByRole("button", { name: /^Start/ })) as HTMLButtonElement;
  expect(start.disabled).toBe(true);
  const reason = document.getElementById(start.getAttribute("aria-describedby") ?? "");
  expect(reason?.closest("section")).toBe(start.closest("section"));
});

it("signs out, and forgets what it has read", async () => {
  const house = openPage("/", { "POST /api/auth/logout": {} });
  await screen.findByText("The stage is empty");
  await userEvent.click(screen.getByRole("button", { name: "Sign out" }));
  await screen.findByRole("heading", { name: "Sign in" });
  expect(house.asked).toContain("POST /api/auth/logout");
});

it("moves the focus to the page one goes to", async () => {
  openPage("/");
  await userEvent.click(await screen.findByRole("link", { name: "Executions" }));
  expect(document.activeElement).toBe(await screen.findByRole("heading", { name: "Executions" }));
});

it("leads back from an address without a page", async () => {
  openPage("/nowhere");
  expect(await screen.findByRole("heading", { name: "There is no page at this address." })).toBeTruthy();
  await act(async () => screen.getByRole("link", { name: "All executions" }).click());
  expect(window.location.pathname).toBe("/executions");
});

it("says so without asking who it is that got lost", async () => {
  openPage("/nowhere", { "GET /api/auth/me": NOBODY });
  expect(await screen.findByRole("heading", { name: "There is no page at this address." })).toBeTruthy();
  expect(window.location.pathname).toBe("/nowhere");
});

it.each(PATHS)("has a page at %s", async (path) => {
  openPage(path.replace(":id", EXECUTION));
  await screen.findByRole("heading", { level: 1 });
  expect(screen.queryByText("There is no page at this address.")).toBeNull();
});

const UNSANDBOXED = { shortcoming: "browsers_exposed", detail: "Let users have user namespaces.", workers: 2 };
const REFUSED = { shortcoming: "code_refused", detail: "Install bubblewrap.", workers: 1 };
const OPERATOR = { ...ME, scopes: [...ME.scopes, "installation"] };
const BANNER = { name: "Weaker than it should be" };

it("tells an operator what protects less than it should, until it is put away", async () => {
  const house = openPage("/", {
    "GET /api/auth/me": OPERATOR,
    "GET /api/admin/shortcomings": { items: [UNSANDBOXED, REFUSED] },
  });
  const banner = within(await screen.findByRole("region", BANNER));
  expect(banner.getByText(/Let users have user namespaces\./).textContent).toContain("2 workers");
  expect(banner.getByText(/Install bubblewrap\./)).toBeTruthy();
  expect(banner.getAllByRole("link")[0]?.getAttribute("href")).toBe("/api/docs#shape-Shortcoming");
  await userEvent.click(banner.getByRole("button", { name: /Dismiss/ }));
  expect(screen.queryByRole("region", BANNER)).toBeNull();

  cleanup(); // loaded again in the same session, and one says something new
  house.answers["GET /api/admin/shortcomings"] = { items: [UNSANDBOXED, { ...REFUSED, detail: "Landlock is off." }] };
  openPage("/", house.answers);
  const again = within(await screen.findByRole("region", BANNER));
  expect(again.getByText(/Landlock is off\./)).toBeTruthy();
  expect(again.queryByText(/user namespaces/)).toBeNull();
});

it("tells nobody else", async () => {
  const house = openPage("/");
  await screen.findByText("The stage is empty");
  expect(house.asked.filter((asked) => asked.includes("shortcomings"))).toEqual([]);
});
