import { Link } from "wouter";
import { type ExecutionSummary, isFinal } from "../api/nouns";
import { Empty } from "../ui/empty";
import { Status } from "../ui/status";
import { Ago, Elapsed } from "../ui/time";
import { gist } from "../ui/words";
import "./executions.css";

/** Executions as rows; on a narrow screen each row folds into a small card. */
export function ExecutionTable({ items, empty }: { items: readonly ExecutionSummary[]; empty: string }) {
  if (!items.length) return <Empty title={empty} />;
  return (
    <table className="executions card">
      <thead>
        <tr>
          <th scope="col">Execution</th>
          <th scope="col">Status</th>
          <th scope="col">Started</th>
          <th scope="col">Took</th>
        </tr>
      </thead>
      <tbody>
        {items.map((item) => (
          <Row key={item.execution_id} item={item} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ item }: { item: ExecutionSummary }) {
  return (
    <tr>
      <td>
        <Link href={`/executions/${item.execution_id}`} className="executions-name">
          {item.name}
        </Link>
        <span className="executions-about">{about(item)}</span>
      </td>
      <td>
        <Status status={item.status} />
      </td>
      <td className="soft">
        <Ago at={item.started_at ?? item.created_at} />
      </td>
      <td className="soft">
        {item.started_at ? (
          <Elapsed from={Date.parse(item.started_at)} to={item.finished_at ? Date.parse(item.finished_at) : null} />
        ) : (
          "–"
        )}
      </td>
    </tr>
  );
}

/** A node's id as words; lists don't know its name. */
export function readable(nodeId: string): string {
  return nodeId.replace(/[-_]+/g, " ");
}

function about(item: ExecutionSummary): string {
  if (item.error) return gist(item.error.message);
  if (!isFinal(item.status) && item.current_node) return `At ${readable(item.current_node)}`;
  if (item.workflow_version) return `Version ${item.workflow_version}`;
  return `${item.realm} · ${item.intent}`;
}
