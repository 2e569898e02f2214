// From a document, or from a plan where there is none, to what the canvas draws. Pure.
import type { Edge, Node } from "@xyflow/react";
import type { NodeType, PhaseState, WorkflowDocument } from "../api/nouns";
import { layersOf, placeLayers } from "./layers";

export interface CardData extends Record<string, unknown> {
  name: string;
  /** The node type's title, or its id while the catalogue is not there. */
  kind: string;
  /** Lucide name from the catalogue. */
  icon: string;
  /** Said in place of the time it took. */
  note?: string;
  inputs: readonly string[];
  outputs: readonly string[];
}
export type CardNode = Node<CardData, "card">;
export type Wire = Edge<Record<string, unknown>, "wire">;

export interface Graph {
  nodes: CardNode[];
  wires: Wire[];
}

/** What an execution knows of its nodes without a document. */
export interface Cast {
  order: readonly string[];
  nodes: Readonly<Record<string, { name: string; type: string }>>;
  phases: readonly PhaseState[];
}

export const CARD = { width: 224, height: 68 } as const;
const GAP = 36;
const MOST_STRETCH = 4;

/** The graph as it was drawn; its cards are moved apart where the drawing left less room than they need. */
export function drawDocument(document: WorkflowDocument, types: ReadonlyMap<string, NodeType> | undefined): Graph {
  const wires = document.edges.map(
    (edge): Wire => ({
      id: edge.id,
      type: "wire",
      source: edge.source,
      target: edge.target,
      sourceHandle: edge.sourceHandle,
      targetHandle: edge.targetHandle,
    }),
  );
  const ports = usedPorts(wires);
  const nodes = document.nodes.map((node) => {
    const type = types?.get(node.type);
    const kind = type?.title ?? node.type;
    const used = ports.get(node.id);
    return card(node.id, node.position, {
      name: node.name || kind,
      kind,
      icon: type?.icon ?? "",
      inputs: used?.inputs ?? [],
      outputs: used?.outputs ?? [],
    });
  });
  return { nodes: spread(nodes, wires), wires };
}

/** A graph from the plan alone: a column per phase, and wires that only say "then". */
export function drawPlan(cast: Cast, types: ReadonlyMap<string, NodeType> | undefined): Graph {
  const phases = cast.phases.length ? cast.phases.map((phase) => phase.nodes) : cast.order.map((id) => [id]);
  const nodes: CardNode[] = [];
  const wires: Wire[] = [];
  const places = placeLayers(phases, { ...CARD, gap: GAP });
  phases.forEach((ids, column) => {
    for (const id of ids) {
      const known = cast.nodes[id];
      const type = known && types?.get(known.type);
      const kind = type?.title ?? known?.type ?? "";
      const data = {
        name: known?.name || kind || id,
        kind,
        icon: type?.icon ?? "",
        inputs: ["then"],
        outputs: ["then"],
      };
      nodes.push(card(id, places.get(id) ?? { x: 0, y: 0 }, data));
      for (const source of phases[column - 1] ?? [])
        wires.push({
          id: `${source} → ${id}`,
          type: "wire",
          source,
          target: id,
          sourceHandle: "then",
          targetHandle: "then",
        });
    }
  });
  return { nodes, wires };
}

function card(id: string, position: { x: number; y: number }, data: CardData): CardNode {
  return { id, type: "card", position, data, width: CARD.width, height: CARD.height, ariaLabel: `${data.name}, node` };
}

function usedPorts(wires: readonly Wire[]): Map<string, { inputs: string[]; outputs: string[] }> {
  const ports = new Map<string, { inputs: string[]; outputs: string[] }>();
  const of = (id: string) => {
    const known = ports.get(id) ?? { inputs: [], outputs: [] };
    ports.set(id, known);
    return known;
  };
  const note = (names: string[], name: string | null | undefined) => {
    if (name && !names.includes(name)) names.push(name);
  };
  for (const wire of wires) {
    note(of(wire.source).outputs, wire.sourceHandle);
    note(of(wire.target).inputs, wire.targetHandle);
  }
  return ports;
}

/** Stretches the drawing until no two cards overlap; one without positions is laid out by what follows what. */
function spread(nodes: CardNode[], wires: readonly Wire[]): CardNode[] {
  let stretchX = 1;
  let stretchY = 1;
  for (const [index, one] of nodes.entries())
    for (const other of nodes.slice(index + 1)) {
      const dx = Math.abs(one.position.x - other.position.x);
      const dy = Math.abs(one.position.y - other.position.y);
      const needX = (CARD.width + GAP) / dx;
      const needY = (CARD.height + GAP / 2) / dy;
      if (needX <= stretchX || needY <= stretchY) continue;
      if (!Number.isFinite(Math.min(needX, needY))) return inLayers(nodes, wires);
      if (needX <= needY) stretchX = needX;
      else stretchY = needY;
    }
  if (stretchX > MOST_STRETCH || stretchY > MOST_STRETCH) return inLayers(nodes, wires);
  return nodes.map((node) => ({
    ...node,
    position: { x: node.position.x * stretchX, y: node.position.y * stretchY },
  }));
}

function inLayers(nodes: CardNode[], wires: readonly Wire[]): CardNode[] {
  const layers = layersOf(
    nodes.map((node) => node.id),
    wires,
  );
  const places = placeLayers(layers, { ...CARD, gap: GAP });
  return nodes.map((node) => ({ ...node, position: places.get(node.id) ?? node.position }));
}
