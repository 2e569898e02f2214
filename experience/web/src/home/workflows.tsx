import { useId } from "react";
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
  const faultId = useId();
  return (
    <section className="demo" aria-labelledby="demo-title">
      <GhostLight />
      <h2 id="demo-title">{workflow.name}</h2>
      <p>{workflow.description || "A real browser does the work, and you watch."}</p>
      <div className="demo-act">
        <RunButton
          workflowId={workflow.workflow_id}
          name={workflow.name}
          label="Start"
          main
          faultId={workflow.valid ? undefined : faultId}
        />
        {workflow.valid ? <span>{workflow.nodes} steps on a real browser</span> : <CantRun id={faultId} />}
      </div>
    </section>
  );
}

/** The lamp that is left burning on an empty stage. */
function GhostLight() {
  return (
    <svg className="ghost-light" viewBox="0 0 120 260" aria-hidden="true" focusable="false">
      <path d="M60 78v164M34 246h52" stroke="#4b3a4a" strokeWidth="4" strokeLinecap="round" />
      <circle cx="60" cy="52" r="15" fill="#ffe9b8" />
      <path
        d="M40 74c-6-14-5-32 6-43 8-7 20-7 28 0 11 11 12 29 6 43zM60 26v48M46 31c-4 14-4 29 0 43M74 31c4 14 4 29 0 43M39 54h42"
        fill="none"
        stroke="#6d5745"
        strokeWidth="2"
      />
      <path d="M50 74h20v8H50z" fill="#4b3a4a" />
    </svg>
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
        <WorkflowRow key={workflow.workflow_id} workflow={workflow} />
      ))}
    </ul>
  );
}

function WorkflowRow({ workflow }: { workflow: WorkflowSummary }) {
  const faultId = useId();
  return (
    <li>
      <div>
        <span className="workflows-name">{workflow.name}</span>
        <span className="soft">
          {workflow.nodes} {workflow.nodes === 1 ? "node" : "nodes"} · version {workflow.version} ·{" "}
          <Ago at={workflow.updated_at} />
        </span>
        {!workflow.valid && <CantRun id={faultId} />}
      </div>
      <RunButton
        workflowId={workflow.workflow_id}
        name={workflow.name}
        label="Run"
        faultId={workflow.valid ? undefined : faultId}
      />
    </li>
  );
}

function CantRun({ id }: { id: string }) {
  return (
    <span className="workflows-fault" id={id}>
      <Icon name="warning" size={14} /> Can't run as it stands
    </span>
  );
}
