import { expect, it } from "vitest";
import { safeNext, signInAddress } from "./next";

it.each(["/", "/executions", "/executions/1?x=2#y"])("goes on to %s", (path) => {
  expect(safeNext(path)).toBe(path);
});

it.each([
  null,
  "",
  "https://evil.test",
  "//evil.test",
  "/\\evil.test",
  "javascript:alert(1)",
  "/a\nb",
  "/sign-in",
  "/enter",
])("goes home instead of to %j", (path) => {
  expect(safeNext(path)).toBe("/");
});

it("comes back after signing in", () => {
  expect(signInAddress("/executions/1?x=2")).toBe("/sign-in?next=%2Fexecutions%2F1%3Fx%3D2");
  expect(signInAddress("/")).toBe("/sign-in");
});
