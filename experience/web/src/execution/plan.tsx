import { type NodeChange, useNodesState } from "@xyflow/react";
import { useContext, useEffect, useMemo } from "react";
import { useNodeTypes, useWorkflowVersion } from "../api/queries";
import { Canvas } from "../canvas/canvas";
import { type CardNode, drawDocument, drawPlan } from "../canvas/graph";
import { LightsContext } from "../canvas/lights";
import { type ExecutionView, standing } from "../stream/view";
import { Empty } from "../ui/empty";
import { ShowContext, useReused, useView } from "./show";

interface PlanProps {
  selected: string | null;
  onSelect: (id: string | null) => void;
}

/** The graph with its nodes lit as the execution goes. */
export function Plan({ selected, onSelect }: PlanProps) {
  const graph = useGraph();
  const show = useContext(ShowContext);
  // at the end, what went wrong is what one wants to see
  const current = useView((view) => view.currentNode ?? (view.endedAt === null ? null : firstFailed(view)));
  const [nodes, setNodes, applyChanges] = useNodesState<CardNode>([]);

  const reused = useReused();

  useEffect(
    () => setNodes(graph.nodes.map((node) => (reused.has(node.id) ? taken(node) : node))),
    [graph, reused, setNodes],
  );
  useEffect(() => {
    setNodes((before) =>
      before.map((node) =>
        node.selected === (node.id === selected) ? node : { ...node, selected: node.id === selected },
      ),
    );
  }, [selected, setNodes]);

  function change(changes: NodeChange<CardNode>[]): void {
    applyChanges(changes);
    for (const one of changes) if (one.type === "select" && one.selected) onSelect(one.id);
  }

  return (
    <section className="pane plan" aria-label="Graph">
      {show && graph.nodes.length > 0 ? (
        <LightsContext value={show.view}>
          <Canvas mode="run" label="Graph" nodes={nodes} wires={graph.wires} onNodesChange={change} current={current} />
        </LightsContext>
      ) : (
        <Empty title="The plan comes with the first step" />
      )}
    </section>
  );
}

function taken(node: CardNode): CardNode {
  return { ...node, data: { ...node.data, note: "Taken over" } };
}

function firstFailed(view: ExecutionView): string | null {
  return view.order.find((id) => view.nodes[id] && standing(view.nodes[id]) === "failed") ?? null;
}

/** The drawing of the version that runs; the plan alone where there is no document, or no longer. */
function useGraph() {
  const workflowId = useView((view) => view.workflowId);
  const version = useView((view) => view.workflowVersion);
  const order = useView((view) => view.order);
  const phases = useView((view) => view.phases);
  const show = useContext(ShowContext);
  const workflow = useWorkflowVersion(workflowId, version);
  const types = useNodeTypes();
  return useMemo(() => {
    if (workflow.data) return drawDocument(workflow.data.document, types.data);
    if (workflow.isLoading || !show) return { nodes: [], wires: [] };
    return drawPlan({ order, phases, nodes: show.view.getState().nodes }, types.data);
  }, [workflow.data, workflow.isLoading, types.data, order, phases, show]);
}
