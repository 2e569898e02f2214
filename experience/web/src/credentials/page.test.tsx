import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import type { Credential } from "../api/nouns";
import { type House, ME, openPage, Refusal } from "../testing/house";

const ID = "0190a0a0-0000-7000-8000-00000000000c";
const AT = `/api/credential/${ID}`;
const MEMBER = { ...ME, scopes: [...ME.scopes, "credential:read"] };
const ADMIN = { ...MEMBER, scopes: [...MEMBER.scopes, "credential:write"] };
const SHOP: Credential = {
  credential_id: ID,
  name: "shop",
  kind: "login",
  fields: ["username", "password"],
  domains: ["shop.example"],
  version: 1,
  created_at: "2026-01-01T00:00:00Z",
  created_by: null,
  updated_at: "2026-01-01T00:00:00Z",
  last_used_at: null,
};

afterEach(() => {
  vi.unstubAllGlobals();
});

async function open(items: Credential[], answers: Record<string, unknown> = {}): Promise<House> {
  const house = openPage("/credentials", {
    "GET /api/auth/me": ADMIN,
    "GET /api/credential": { items, next_cursor: null },
    ...answers,
  });
  await screen.findByRole("heading", { name: "Credentials", level: 1 });
  return house;
}

it("adds one, and keeps nothing of what was typed", async () => {
  let sent: unknown;
  const house = await open([]);
  house.answers["POST /api/credential"] = (body: unknown) => {
    sent = body;
    house.answers["GET /api/credential"] = { items: [SHOP], next_cursor: null };
    return SHOP;
  };
  await userEvent.click(await screen.findByRole("button", { name: "Add" }));
  const form = within(screen.getByRole("form", { name: "Add a credential" }));
  await userEvent.type(form.getByLabelText(/^Name/), "shop");
  await userEvent.type(form.getByLabelText("Username"), "ada");
  expect(form.getByLabelText<HTMLInputElement>("Password").type).toBe("password");
  await userEvent.type(form.getByLabelText("Password"), "canary-1815");
  await userEvent.type(form.getByLabelText(/^Domains/), "shop.example{Enter}*.shop.example");
  await userEvent.click(form.getByRole("button", { name: "Add it" }));
  expect(await screen.findByRole("heading", { name: "shop" })).toBeTruthy();
  expect(sent).toEqual({
    name: "shop",
    kind: "login",
    values: { username: "ada", password: "canary-1815" },
    domains: ["shop.example", "*.shop.example"],
  });
  expect(screen.queryByRole("form")).toBeNull();
  expect(document.documentElement.outerHTML).not.toContain("canary-1815");
  expect(screen.getByText("{{credential.shop.password}}")).toBeTruthy();
});

it("adds fields of any name", async () => {
  let sent: unknown;
  const house = await open([]);
  house.answers["POST /api/credential"] = (body: unknown) => {
    sent = body;
    return SHOP;
  };
  await userEvent.click(await screen.findByRole("button", { name: "Add" }));
  const form = within(screen.getByRole("form", { name: "Add a credential" }));
  await userEvent.type(form.getByLabelText(/^Name/, { selector: '[name="name"]' }), "bank");
  await userEvent.selectOptions(form.getByLabelText("Kind"), "fields");
  await userEvent.click(form.getByRole("button", { name: "Another field" }));
  const group = within(form.getByRole("group", { name: "Fields" }));
  const [first, second] = [group.getAllByLabelText("Name"), group.getAllByLabelText("Value")];
  await userEvent.type(first[0] as HTMLElement, "pin");
  await userEvent.type(second[0] as HTMLElement, "48151");
  await userEvent.type(first[1] as HTMLElement, "tan");
  await userEvent.type(second[1] as HTMLElement, "62342");
  await userEvent.click(form.getByRole("button", { name: "Add it" }));
  await waitFor(() => expect(sent).toBeTruthy());
  expect(sent).toEqual({ name: "bank", kind: "fields", values: { pin: "48151", tan: "62342" }, domains: [] });
});

it("replaces values and says what is wrong with them", async () => {
  const sent: unknown[] = [];
  await open([SHOP], {
    [`PUT ${AT}/values`]: (body: unknown) => {
      sent.push(body);
      return sent.length === 1 ? new Refusal(422, "invalid", "Too short.") : { ...SHOP, version: 2 };
    },
  });
  await userEvent.click(await screen.findByRole("button", { name: /^Replace values/ }));
  const form = within(screen.getByRole("form", { name: "Replace the values of shop" }));
  await userEvent.type(form.getByLabelText("Username"), "ada");
  await userEvent.type(form.getByLabelText("Password"), "abc");
  await userEvent.click(form.getByRole("button", { name: "Replace" }));
  expect(await form.findByText("Too short.")).toBeTruthy();
  await userEvent.type(form.getByLabelText("Password"), "def");
  await userEvent.click(form.getByRole("button", { name: "Replace" }));
  await waitFor(() => expect(screen.queryByRole("form")).toBeNull());
  expect(sent[1]).toEqual({ values: { username: "ada", password: "abcdef" } });
});

it("binds it to domains and warns while there are none", async () => {
  let sent: unknown;
  const house = await open([{ ...SHOP, domains: [] }]);
  house.answers[`PATCH ${AT}`] = (body: unknown) => {
    sent = body;
    house.answers["GET /api/credential"] = { items: [SHOP], next_cursor: null };
    return SHOP;
  };
  expect(await screen.findByText(/may go nowhere yet/)).toBeTruthy();
  await userEvent.click(screen.getByRole("button", { name: /^Name and domains/ }));
  await userEvent.type(screen.getByLabelText(/^Domains/), "shop.example");
  await userEvent.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByText("shop.example")).toBeTruthy();
  expect(sent).toEqual({ name: "shop", domains: ["shop.example"] });
});

it("deletes after asking", async () => {
  const house = await open([SHOP]);
  house.answers[`DELETE ${AT}`] = () => {
    house.answers["GET /api/credential"] = { items: [], next_cursor: null };
    return {};
  };
  await userEvent.click(await screen.findByRole("button", { name: /^Delete…/ }));
  expect(house.asked.some((asked) => asked.startsWith("DELETE"))).toBe(false);
  await userEvent.click(screen.getByRole("button", { name: "Delete" }));
  expect(await screen.findByText("No credentials")).toBeTruthy();
});

it("shows members names and nothing to change, and viewers nothing", async () => {
  await open([SHOP], { "GET /api/auth/me": MEMBER });
  expect(await screen.findByRole("heading", { name: "shop" })).toBeTruthy();
  expect(screen.queryByRole("button", { name: /Add|Replace|Delete/ })).toBeNull();
});

it("is not for viewers", async () => {
  openPage("/credentials");
  expect(await screen.findByText("This page is for members.")).toBeTruthy();
  expect(screen.queryByRole("link", { name: "Credentials" })).toBeNull();
});
