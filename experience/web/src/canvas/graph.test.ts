import { expect, it } from "vitest";
import type { NodeType, WorkflowDocument } from "../api/nouns";
import { CARD, type CardNode, drawDocument, drawPlan } from "./graph";
import { current } from "./lights";

function document(places: [number, number][]): WorkflowDocument {
  const nodes = places.map(([x, y], index) => ({
    id: `n${index}`,
    type: "click_element",
    name: null,
    position: { x, y },
    data: { inputs: {}, settings: {} },
    parentId: null,
  }));
  const edges = nodes.slice(1).map((node, index) => ({
    id: `e${index}`,
    source: `n${index}`,
    target: node.id,
    sourceHandle: "Web Page",
    targetHandle: "Web Page",
  }));
  return {
    id: null,
    name: "w",
    description: "",
    nodes,
    edges,
    triggers: [],
    cron: null,
    status: null,
  } as unknown as WorkflowDocument;
}

function overlaps(nodes: CardNode[]): boolean {
  return nodes.some((one, index) =>
    nodes
      .slice(index + 1)
      .some(
        (other) =>
          Math.abs(one.position.x - other.position.x) < CARD.width &&
          Math.abs(one.position.y - other.position.y) < CARD.height,
      ),
  );
}

it("draws a document where its author put it", () => {
  const { nodes, wires } = drawDocument(
    document([
      [0, 0],
      [300, 0],
      [0, 200],
    ]),
    undefined,
  );
  expect(nodes.map((node) => node.position)).toEqual([
    { x: 0, y: 0 },
    { x: 300, y: 0 },
    { x: 0, y: 200 },
  ]);
  expect(wires).toHaveLength(2);
  expect(nodes[1]?.data).toMatchObject({ name: "click_element", inputs: ["Web Page"], outputs: ["Web Page"] });
});

it("moves cards apart where the author left less room than they need", () => {
  const { nodes } = drawDocument(
    document([
      [100, 100],
      [250, 100],
      [400, 100],
      [400, 150],
    ]),
    undefined,
  );
  expect(overlaps(nodes)).toBe(false);
  expect(nodes[2]?.position.x).toBeGreaterThan(nodes[1]?.position.x ?? 0);
});

it("puts a short document without places in a row", () => {
  const { nodes } = drawDocument(
    document([
      [0, 0],
      [0, 0],
      [0, 0],
    ]),
    undefined,
  );
  expect(overlaps(nodes)).toBe(false);
  expect(new Set(nodes.map((node) => node.position.y)).size).toBe(1);
});

it("names nodes after their type in the catalogue", () => {
  const types = new Map([["click_element", { title: "Click an element", icon: "mouse-pointer-click" } as NodeType]]);
  expect(drawDocument(document([[0, 0]]), types).nodes[0]?.data).toMatchObject({
    name: "Click an element",
    icon: "mouse-pointer-click",
  });
});

it("shows the handles that edges use and no others", () => {
  const drawn = document([
    [0, 0],
    [300, 0],
  ]);
  const [edge] = drawn.edges;
  if (!edge) throw new Error("no edge");
  const branched = { ...drawn, edges: [{ ...edge, sourceHandle: "True Path", targetHandle: "Execute Condition" }] };
  const { nodes } = drawDocument(branched, undefined);
  expect(nodes.map(({ data }) => [data.inputs, data.outputs])).toEqual([
    [[], ["True Path"]],
    [["Execute Condition"], []],
  ]);
});

it("draws a plan without a document phase by phase", () => {
  const nodes = { a: { name: "A", type: "x" }, b: { name: "B", type: "x" }, c: { name: "C", type: "x" } };
  const phases = [
    { number: 0, nodes: ["a"], status: "queued" as const },
    { number: 1, nodes: ["b", "c"], status: "queued" as const },
  ];
  const graph = drawPlan({ order: ["a", "b", "c"], nodes, phases }, undefined);
  expect(overlaps(graph.nodes)).toBe(false);
  expect(graph.wires.map((wire) => wire.id)).toEqual(["a → b", "a → c"]);
});

it("lights a wire by its two ends", () => {
  expect(current("success", "running")).toBe("live");
  expect(current("success", "success")).toBe("done");
  expect(current("running", "queued")).toBe("idle");
  expect(current("failed", "queued")).toBe("dead");
  expect(current(undefined, undefined)).toBe("idle");
});
