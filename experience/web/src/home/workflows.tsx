import type { WorkflowSummary } from "../api/nouns";
import { Empty } from "../ui/empty";
import { Icon } from "../ui/icon";
import { Ago } from "../ui/time";
import { RunButton } from "./run-button";

/** The workflow that `stagedoor up` brings along; it says so in its name. */
export function isDemo(workflow: WorkflowSummary): boolean {
  return /\bdemo\b/i.test(workflow.name);
}

/** The first thing to try. */
export function DemoCard({ workflow }: { workflow: WorkflowSummary }) {
  return (
    <section className="demo" aria-labelledby="demo-title">
      <div className="demo-lights" aria-hidden="true" />
      <h2 id="demo-title">{workflow.name}</h2>
      <p>{workflow.description || "A real browser does the work, and you watch."}</p>
      <div className="demo-act">
        <RunButton workflowId={workflow.workflow_id} name={workflow.name} label="Start" main />
        <span>{workflow.nodes} steps on a real browser</span>
      </div>
    </section>
  );
}

export function WorkflowList({ workflows }: { workflows: readonly WorkflowSummary[] }) {
  if (!workflows.length)
    return (
      <Empty title="No workflows yet">
        Send one to <code>POST /api/workflow</code>; <a href="/api/docs">the documentation</a> shows how.
      </Empty>
    );
  return (
    <ul className="workflows card">
      {workflows.map((workflow) => (
        <li key={workflow.workflow_id}>
          <div>
            <span className="workflows-name">{workflow.name}</span>
            <span className="soft">
              {workflow.nodes} {workflow.nodes === 1 ? "node" : "nodes"} · version {workflow.version} ·{" "}
              <Ago at={workflow.updated_at} />
            </span>
            {!workflow.valid && (
              <span className="workflows-fault">
                <Icon name="warning" size={14} /> Can't run as it stands
              </span>
            )}
          </div>
          <RunButton workflowId={workflow.workflow_id} name={workflow.name} label="Run" />
        </li>
      ))}
    </ul>
  );
}
