import { expect, it } from "vitest";
import { layersOf, placeLayers } from "./layers";

const SIZE = { width: 200, height: 60, gap: 30 };

function arrows(...pairs: string[]) {
  return pairs.map((pair) => ({ source: pair[0] ?? "", target: pair[1] ?? "" }));
}

it("puts every node after all that it waits for", () => {
  // the short way to d does not pull it forward
  expect(layersOf(["d", "a", "b", "c"], arrows("ab", "bc", "cd", "ad"))).toEqual([["a"], ["b"], ["c"], ["d"]]);
  expect(layersOf(["a", "b", "c", "d"], arrows("ab", "ac", "bd", "cd"))).toEqual([["a"], ["b", "c"], ["d"]]);
});

it("shows nodes in a circle and arrows to nowhere, too", () => {
  expect(layersOf(["a", "b", "c"], arrows("ab", "bc", "cb", "xa", "aa"))).toEqual([["a"], ["b", "c"]]);
});

it("counts an arrow per handle as one way more to wait for", () => {
  expect(layersOf(["a", "b"], arrows("ab", "ab"))).toEqual([["a"], ["b"]]);
});

it("centres a layer beside a taller one", () => {
  const places = placeLayers([["a"], ["b", "c"], ["d"]], SIZE);
  expect([places.get("a")?.y, places.get("d")?.y]).toEqual([45, 45]);
  expect([places.get("b")?.y, places.get("c")?.y]).toEqual([0, 90]);
  expect(places.get("d")?.x).toBe(520);
});

it("goes on in a band below where a row would be too long to read", () => {
  const chain = Array.from({ length: 18 }, (_, index) => [`n${index}`]);
  const places = [...placeLayers(chain, SIZE).values()];
  const width = Math.max(...places.map((place) => place.x)) + SIZE.width;
  const height = Math.max(...places.map((place) => place.y)) + SIZE.height;
  expect(width / height).toBeLessThan(3);
  expect(new Set(places.map((place) => `${place.x} ${place.y}`)).size).toBe(18);
});
