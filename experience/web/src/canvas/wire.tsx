import { BaseEdge, type EdgeProps, getBezierPath } from "@xyflow/react";
import { memo } from "react";
import type { Wire } from "./graph";
import { useCurrent } from "./lights";

/** A connection; light runs along it while its target works. */
export const WirePath = memo(function WirePath(props: EdgeProps<Wire>) {
  const state = useCurrent(props.source, props.target);
  const [path] = getBezierPath(props);
  return <BaseEdge id={props.id} path={path} className={`wire is-${state}`} interactionWidth={0} />;
});
