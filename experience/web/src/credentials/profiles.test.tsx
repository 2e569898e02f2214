import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, it, vi } from "vitest";
import type { BrowserProfile } from "../api/nouns";
import { type House, ME, openPage } from "../testing/house";

const ID = "0190a0a0-0000-7000-8000-0000000000b1";
const MEMBER = { ...ME, scopes: [...ME.scopes, "credential:read", "browser-profile:read"] };
const ADMIN = { ...MEMBER, scopes: [...MEMBER.scopes, "browser-profile:write"] };
const SHOP: BrowserProfile = {
  browser_profile_id: ID,
  name: "shop",
  hosts: ["shop.example", "login.example"],
  size: 1_234,
  version: 3,
  saved_by: "0190a0a0-0000-7000-8000-0000000000e1",
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
  last_used_at: null,
};

afterEach(() => {
  vi.unstubAllGlobals();
});

async function open(me: object, items: BrowserProfile[]): Promise<House> {
  const house = openPage("/credentials", {
    "GET /api/auth/me": me,
    "GET /api/credential": { items: [], next_cursor: null },
    "GET /api/browser-profile": { items, next_cursor: null },
  });
  await screen.findByRole("heading", { name: "Credentials", level: 1 });
  return house;
}

it("lists saved logins, and deletes one after asking", async () => {
  const house = await open(ADMIN, [SHOP]);
  expect(await screen.findByRole("heading", { name: "shop" })).toBeTruthy();
  expect(screen.getByText("login.example")).toBeTruthy();
  house.answers[`DELETE /api/browser-profile/${ID}`] = () => {
    house.answers["GET /api/browser-profile"] = { items: [], next_cursor: null };
    return {};
  };
  await userEvent.click(screen.getByRole("button", { name: /^Delete…/ }));
  expect(house.asked.some((asked) => asked.startsWith("DELETE"))).toBe(false);
  const form = within(screen.getByRole("form", { name: "Delete the login shop" }));
  await userEvent.click(form.getByRole("button", { name: "Delete" }));
  expect(await screen.findByText("No workflow has saved one yet.")).toBeTruthy();
});

it("shows members names and nothing to delete", async () => {
  await open(MEMBER, [SHOP]);
  expect(await screen.findByRole("heading", { name: "shop" })).toBeTruthy();
  expect(screen.queryByRole("button", { name: /Delete/ })).toBeNull();
});

it("shows and asks for nothing without the scope", async () => {
  const house = await open({ ...ME, scopes: [...ME.scopes, "credential:read"] }, [SHOP]);
  expect(screen.queryByText("Saved logins")).toBeNull();
  expect(house.asked.some((asked) => asked.includes("browser-profile"))).toBe(false);
});
