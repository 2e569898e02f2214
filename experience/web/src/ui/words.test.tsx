import { render, screen } from "@testing-library/react";
import { expect, it } from "vitest";
import { asRows, Value } from "./value";
import { ago, duration, gist, sentence } from "./words";

it.each([
  [0, "< 0.1 s"],
  [-5, "< 0.1 s"],
  [1240, "1.2 s"],
  [59_400, "59 s"],
  [200_000, "3 min 20 s"],
  [7_500_000, "2 h 5 min"],
])("says %i ms as %s", (ms, words) => {
  expect(duration(ms)).toBe(words);
});

it.each([
  [2, "just now"],
  [40, "40 s ago"],
  [3599, "59 min ago"],
  [7200, "2 h ago"],
  [90_000, "1 day ago"],
  [500_000, "5 days ago"],
])("says %i s ago as %s", (seconds, words) => {
  expect(ago(1_700_000_000_000, 1_700_000_000_000 + seconds * 1000)).toBe(words);
});

it.each([
  ["Nothing matched.", "Nothing matched."],
  ['Traceback (most recent call last):\n  File "code.py", line 1\nValueError: no\n', "ValueError: no"],
  ["TypeError: no such thing\n    at code.js:1:1", "TypeError: no such thing"],
])("says the gist of %j", (message, line) => {
  expect(gist(message)).toBe(line);
});

it.each([
  ["Cancelled: wrong shop", "Cancelled: wrong shop."],
  ["Cancelled: why not? ", "Cancelled: why not?"],
])("ends %j as a sentence", (words, said) => {
  expect(sentence(words)).toBe(said);
});

it("shows rows of records as a table", () => {
  render(
    <Value
      value={{
        products: [
          { name: "Ghost light", price: 48 },
          { name: "Limelight", link: "/l" },
        ],
      }}
    />,
  );
  expect(screen.getAllByRole("columnheader").map((cell) => cell.textContent)).toEqual(["name", "price", "link"]);
  expect(screen.getByRole("cell", { name: "Ghost light" })).toBeTruthy();
});

it("shows anything else without losing it", () => {
  render(<Value value={{ deep: { list: [1, [2]] }, text: "<b>no</b>", nothing: null }} />);
  expect(screen.getByText("<b>no</b>")).toBeTruthy();
  expect(screen.getByText("null")).toBeTruthy();
  expect(asRows([{ a: { b: 1 } }])).toBeNull();
  expect(asRows([])).toBeNull();
});
