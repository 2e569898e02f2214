import type { Artifact } from "../api/nouns";
import { Empty } from "../ui/empty";
import { Icon, type IconName } from "../ui/icon";
import { contentAddress, size } from "./address";
import { useView } from "./show";

const ICONS: Record<Artifact["kind"], IconName> = {
  screenshot: "camera",
  failure_screenshot: "warning",
  console: "code",
  output: "text",
  file: "file",
};

/** Everything the execution has stored, to be taken home. */
export function Artifacts({ onSelect }: { onSelect: (node: string) => void }) {
  const artifacts = useView((view) => view.artifacts);
  if (!artifacts.length) return <Empty title="No files">Pictures and stored values appear here.</Empty>;
  return (
    <ul className="files">
      {artifacts.map((artifact) => (
        <li key={artifact.artifact_id}>
          <Icon name={ICONS[artifact.kind]} />
          <span className="files-words">
            <a href={contentAddress(artifact)} download={artifact.name}>
              {artifact.name}
            </a>
            <span className="soft">
              {size(artifact.size)}
              {artifact.width && artifact.height ? ` · ${artifact.width} × ${artifact.height}` : ""}
              {artifact.node_id && <Of id={artifact.node_id} onSelect={onSelect} />}
            </span>
          </span>
        </li>
      ))}
    </ul>
  );
}

function Of({ id, onSelect }: { id: string; onSelect: (node: string) => void }) {
  const name = useView((view) => view.nodes[id]?.name ?? id);
  return (
    <>
      {" · "}
      <button type="button" className="link" onClick={() => onSelect(id)}>
        {name}
      </button>
    </>
  );
}
