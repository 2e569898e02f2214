import { BaseEdge, type EdgeProps, getBezierPath, getSmoothStepPath } from "@xyflow/react";
import { memo } from "react";
import type { Wire } from "./graph";
import { useCurrent } from "./lights";

/** A connection; light runs along it while its target works. */
export const WirePath = memo(function WirePath(props: EdgeProps<Wire>) {
  const state = useCurrent(props.source, props.target);
  // a drawing that goes on in a new row leads its wire around, between the rows, and not across the cards
  const isBack = props.targetX < props.sourceX;
  const [path] = isBack ? getSmoothStepPath({ ...props, borderRadius: 18, offset: 26 }) : getBezierPath(props);
  return <BaseEdge id={props.id} path={path} className={`wire is-${state}`} interactionWidth={0} />;
});
