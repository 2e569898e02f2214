import { Handle, type NodeProps, Position } from "@xyflow/react";
import { memo } from "react";
import { standing } from "../stream/view";
import { Icon, type IconName } from "../ui/icon";
import { stepLook } from "../ui/status";
import { Elapsed } from "../ui/time";
import { duration } from "../ui/words";
import type { CardNode } from "./graph";
import { type Lights, useLight } from "./lights";

/** One node on the canvas; lit by the execution that the canvas shows, if it shows one. */
export const Card = memo(function Card({ id, data, selected }: NodeProps<CardNode>) {
  const light = useLight(id);
  const state = light && standing(light);
  return (
    <div className={`node-card ${state ? `is-${state}` : ""} ${selected ? "is-selected" : ""}`}>
      <Ports names={data.inputs} side="target" />
      <span className="node-icon">
        <Icon name={drawing(data.icon)} size={20} />
      </span>
      <span className="node-words">
        <span className="node-name" title={data.name}>
          {data.name}
        </span>
        <span className="node-kind">{data.note ?? (light ? <Told light={light} kind={data.kind} /> : data.kind)}</span>
      </span>
      {state && (
        <span className="node-mark">
          <Icon name={stepLook(state).icon} size={16} />
          <span className="hidden-text">{stepLook(state).word}</span>
        </span>
      )}
      <Ports names={data.outputs} side="source" />
    </div>
  );
});

function Told({ light, kind }: { light: Lights["nodes"][string]; kind: string }) {
  const tries = light.attempts.length > 1 ? ` · try ${light.attempts.length}` : "";
  const state = standing(light);
  if (light.startedAt === null || state === "skipped") return <>{kind}</>;
  if (state === "running" || state === "retrying")
    return (
      <>
        <Elapsed from={light.startedAt} to={null} />
        {tries}
      </>
    );
  return (
    <>
      {light.endedAt === null ? kind : duration(light.endedAt - light.startedAt)}
      {tries}
    </>
  );
}

function Ports({ names, side }: { names: readonly string[]; side: "source" | "target" }) {
  return names.map((name, index) => (
    <Handle
      key={name}
      id={name}
      title={name}
      type={side}
      position={side === "target" ? Position.Left : Position.Right}
      style={{ top: `${((index + 1) / (names.length + 1)) * 100}%` }}
    />
  ));
}

/** The catalogue names Lucide icons; these are the page's own drawings for them. */
const DRAWINGS: Record<string, IconName> = {
  "app-window": "browser",
  "panel-top": "browser",
  globe: "globe",
  compass: "globe",
  navigation: "globe",
  "arrow-right": "forward",
  link: "globe",
  send: "forward",
  "mouse-pointer-click": "click",
  "mouse-pointer": "click",
  "text-cursor-input": "type",
  "text-cursor": "type",
  keyboard: "type",
  pencil: "type",
  "list-checks": "choose",
  "chevrons-up-down": "choose",
  "square-check": "choose",
  eye: "wait",
  hourglass: "wait",
  timer: "clock",
  clock: "clock",
  code: "code",
  "code-xml": "code",
  "file-code": "code",
  text: "text",
  type: "text",
  "file-text": "text",
  "text-search": "text",
  list: "list",
  table: "list",
  rows: "list",
  "table-properties": "list",
  split: "split",
  merge: "merge",
  camera: "camera",
  image: "camera",
};

function drawing(icon: string): IconName {
  return DRAWINGS[icon] ?? "spark";
}
