import { useEffect, useState } from "react";
import { isFinal } from "../api/nouns";
import { Empty } from "../ui/empty";
import { Tabs } from "../ui/tabs";
import { CopyButton, Value } from "../ui/value";
import { Artifacts } from "./artifacts";
import { NodeDetails, NodeList } from "./nodes";
import { useView } from "./show";

type Tab = "nodes" | "result" | "artifacts";

interface SidePaneProps {
  selected: string | null;
  onSelect: (id: string | null) => void;
}

/** What there is to know beside the picture: nodes one by one, the result, the files. */
export function SidePane({ selected, onSelect }: SidePaneProps) {
  const nodes = useView((view) => view.order.length);
  const artifacts = useView((view) => view.artifacts.length);
  const isDone = useView((view) => view.outcome?.kind === "completed");
  const [chosen, choose] = useState<Tab>("nodes");

  useEffect(() => {
    if (isDone) choose("result");
  }, [isDone]);
  useEffect(() => {
    if (selected) choose("nodes");
  }, [selected]);

  const list = <NodeList onSelect={onSelect} />;
  return (
    <section className="pane side" aria-label="Details">
      <Tabs<Tab>
        label="Details"
        chosen={chosen}
        onChoose={choose}
        tabs={[
          {
            id: "nodes",
            label: "Nodes",
            count: nodes,
            thing: selected,
            content: selected ? <NodeDetails id={selected} onBack={() => onSelect(null)} /> : list,
          },
          { id: "result", label: "Result", content: <Result /> },
          { id: "artifacts", label: "Files", count: artifacts, content: <Artifacts onSelect={onSelect} /> },
        ]}
      />
    </section>
  );
}

function Result() {
  const outcome = useView((view) => view.outcome);
  const isOver = useView((view) => isFinal(view.status));
  const nodes = useView((view) => view.nodes);
  if (outcome?.kind !== "completed")
    return (
      <Empty title={isOver ? "No result" : "Not yet"}>
        {isOver ? "It did not come to its end." : "What the workflow brings back appears here at its end."}
      </Empty>
    );
  // the answer's keys are node ids; a person knows their names
  const named = Object.fromEntries(Object.entries(outcome.output).map(([id, part]) => [nodes[id]?.name ?? id, part]));
  if (!Object.keys(outcome.output).length) return <Empty title="Done">This workflow brings nothing back.</Empty>;
  return (
    <div className="side-body">
      <Value value={named} />
      <CopyButton value={outcome.output} />
    </div>
  );
}
