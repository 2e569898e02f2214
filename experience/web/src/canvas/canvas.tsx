// The one canvas: an execution is watched on it (mode "run"), a workflow is drawn on it (mode "edit").
import {
  Background,
  type Connection,
  getViewportForBounds,
  type OnEdgesChange,
  type OnNodesChange,
  Panel,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
  useStore,
} from "@xyflow/react";
import { useCallback, useEffect, useRef, useState } from "react";
import { Icon, type IconName } from "../ui/icon";
import { Card } from "./card";
import type { CardNode, Wire } from "./graph";
import { WirePath } from "./wire";
import "./canvas.css";

const NODE_TYPES = { card: Card };
const EDGE_TYPES = { wire: WirePath };
const MIN_ZOOM = 0.08;
const FIT = { padding: 0.06, maxZoom: 1.1 } as const;
/** Below this zoom a card's name can't be read: the view then follows the node that runs. */
const READABLE_ZOOM = 0.33;
/** Below this one cards show their name only, in larger letters. */
const DETAIL_ZOOM = 0.65;
/** And below this one nothing but the name. */
const NAME_ZOOM = 0.45;
const FOLLOW_ZOOM = 0.7;
const SETTLED_MS = 250;
/** From here on only what is in view is drawn. */
const MANY_NODES = 60;
const RUN_WORDS = {
  "node.a11yDescription.default": "Press Enter to see this node's details.",
  "edge.a11yDescription.default": "",
};

export interface CanvasProps {
  mode: "edit" | "run";
  label: string;
  nodes: CardNode[];
  wires: Wire[];
  onNodesChange: OnNodesChange<CardNode>;
  /** Edit mode only. */
  onWiresChange?: OnEdgesChange<Wire>;
  onConnect?: (connection: Connection) => void;
  /** Run mode: the node to keep in view while the whole graph is too small to read. */
  current?: string | null;
}

export function Canvas(props: CanvasProps) {
  const isEditor = props.mode === "edit";
  const [isFollowing, setFollowing] = useState(true);
  const stopFollowing = useCallback((event: unknown) => event && setFollowing(false), []);
  return (
    <ReactFlowProvider>
      <ReactFlow<CardNode, Wire>
        className={`canvas is-${props.mode} ${props.nodes.length > MANY_NODES ? "is-large" : ""}`}
        aria-label={props.label}
        nodes={props.nodes}
        edges={props.wires}
        nodeTypes={NODE_TYPES}
        edgeTypes={EDGE_TYPES}
        onNodesChange={props.onNodesChange}
        {...(props.onWiresChange && { onEdgesChange: props.onWiresChange })}
        {...(props.onConnect && { onConnect: props.onConnect })}
        {...(!isEditor && { ariaLabelConfig: RUN_WORDS })}
        nodesDraggable={isEditor}
        nodesConnectable={isEditor}
        edgesFocusable={isEditor}
        edgesReconnectable={isEditor}
        deleteKeyCode={isEditor ? ["Backspace", "Delete"] : null}
        // the wheel scrolls the page that is being watched; it zooms the drawing that is being edited
        zoomOnScroll={isEditor}
        preventScrolling={isEditor}
        onMoveStart={stopFollowing}
        attributionPosition="bottom-left"
        onlyRenderVisibleElements={props.nodes.length > MANY_NODES}
        minZoom={MIN_ZOOM}
        maxZoom={2}
      >
        <Background gap={22} size={1.4} />
        <Camera isFollowing={isFollowing} setFollowing={setFollowing} current={props.current ?? null} />
      </ReactFlow>
    </ReactFlowProvider>
  );
}

interface CameraProps {
  isFollowing: boolean;
  setFollowing: (following: boolean) => void;
  current: string | null;
}

/** Keeps everything in view or, where that would be too small to read, the node that runs. A person's own move ends it. */
function Camera({ isFollowing, setFollowing, current }: CameraProps) {
  const flow = useReactFlow<CardNode, Wire>();
  const width = useStore((state) => state.width);
  const height = useStore((state) => state.height);
  const count = useStore((state) => state.nodes.length);
  const distance = useStore(({ transform: [, , zoom] }) =>
    zoom < NAME_ZOOM ? "is-far is-distant" : zoom < DETAIL_ZOOM ? "is-far" : "",
  );
  const moved = useRef(false);
  const settled = useSettled(current);

  useEffect(() => {
    if (!isFollowing || !width || !height || !count) return;
    const all = getViewportForBounds(
      flow.getNodesBounds(flow.getNodes()),
      width,
      height,
      MIN_ZOOM,
      FIT.maxZoom,
      FIT.padding,
    );
    const node = settled === null || all.zoom >= READABLE_ZOOM ? undefined : flow.getNode(settled);
    const duration = moved.current && !prefersStill() ? 400 : 0;
    moved.current = true;
    if (node) flow.setCenter(...middleOf(node), { zoom: FOLLOW_ZOOM, duration });
    else flow.setViewport(all, { duration });
  }, [flow, isFollowing, width, height, count, settled]);

  return (
    <Panel position="bottom-right" className={`canvas-tools ${distance}`}>
      <Tool icon="plus" label="Zoom in" onUse={() => flow.zoomIn()} />
      <Tool icon="dash" label="Zoom out" onUse={() => flow.zoomOut()} />
      <Tool
        icon="frame"
        label="Show all"
        onUse={() => {
          setFollowing(false);
          flow.fitView(FIT);
        }}
      />
      {!isFollowing && <Tool icon="follow" label="Follow what runs" onUse={() => setFollowing(true)} />}
    </Panel>
  );
}

/** The value once it has stayed for a moment: a camera that jumps ten times a second shows nothing. */
function useSettled<T>(value: T): T {
  const [settled, settle] = useState(value);
  useEffect(() => {
    const timer = window.setTimeout(() => settle(value), SETTLED_MS);
    return () => window.clearTimeout(timer);
  }, [value]);
  return settled;
}

function middleOf(node: CardNode): [number, number] {
  return [node.position.x + (node.width ?? 0) / 2, node.position.y + (node.height ?? 0) / 2];
}

function prefersStill(): boolean {
  return window.matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function Tool({ icon, label, onUse }: { icon: IconName; label: string; onUse: () => void }) {
  return (
    <button type="button" className="button square small" onClick={onUse} title={label} aria-label={label}>
      <Icon name={icon} size={16} />
    </button>
  );
}
