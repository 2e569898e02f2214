import { useContext, useEffect, useRef } from "react";
import { isFinal } from "../api/nouns";
import { useNodeTypes } from "../api/queries";
import { type Attempt, attemptStanding, type NodeView, standing } from "../stream/view";
import { Icon } from "../ui/icon";
import { StepStatusChip, stepLook } from "../ui/status";
import { clock, Elapsed } from "../ui/time";
import { CopyButton, Value } from "../ui/value";
import { duration, gist } from "../ui/words";
import { RetryFromHere } from "./retry";
import { IdContext, useReused, useView } from "./show";
import { ToolCalls } from "./tools";
import "./nodes.css";

/** Every node in the order of the plan: the graph for those who can't or don't want to look at one. */
export function NodeList({ onSelect }: { onSelect: (id: string) => void }) {
  const order = useView((view) => view.order);
  const phases = useView((view) => view.phases);
  const reused = useReused();
  const groups = phases.length ? phases.map((phase) => phase.nodes) : [order];
  return (
    <ol className="nodes">
      {groups.map((ids, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a phase is its place
        <li key={index} className={ids.length > 1 ? "nodes-together" : undefined}>
          {ids.map((id) => (
            <NodeRow key={id} id={id} isReused={reused.has(id)} onSelect={onSelect} />
          ))}
        </li>
      ))}
    </ol>
  );
}

/** A node that is over sooner is not worth scrolling to. */
const SETTLED_MS = 300;

interface NodeRowProps {
  id: string;
  isReused: boolean;
  onSelect: (id: string) => void;
}

function NodeRow({ id, isReused, onSelect }: NodeRowProps) {
  const node = useView((view) => view.nodes[id]);
  const row = useRef<HTMLButtonElement>(null);
  const isOnStage = useView((view) => view.currentNode === id);
  useEffect(() => {
    if (!isOnStage) return;
    const timer = window.setTimeout(() => row.current && bringIntoView(row.current), SETTLED_MS);
    return () => window.clearTimeout(timer);
  }, [isOnStage]);
  if (!node) return null;
  const look = stepLook(standing(node));
  return (
    <button ref={row} type="button" className={`node-row ${look.tone}`} onClick={() => onSelect(id)}>
      <span className="node-row-mark">
        <Icon name={look.icon} size={15} />
      </span>
      <span className="node-row-name">
        {node.name}
        <span className="hidden-text">, {look.word}</span>
      </span>
      {isReused && <span className="soft">taken over</span>}
      {node.attempts.length > 1 && <span className="soft">{node.attempts.length} tries</span>}
      <span className="node-row-time soft">
        <Took node={node} />
      </span>
      {node.error && <span className="node-row-error">{gist(node.error)}</span>}
    </button>
  );
}

/** Scrolls the list, never the page, and not under the hands of somebody who is in it. */
function bringIntoView(row: HTMLElement): void {
  const panel = row.closest<HTMLElement>("[role=tabpanel]");
  if (!panel || panel.matches(":hover, :focus-within")) return;
  const below = row.getBoundingClientRect().top - panel.getBoundingClientRect().top;
  panel.scrollBy({ top: below - panel.clientHeight / 2, behavior: "smooth" });
}

function Took({ node }: { node: NodeView }) {
  const state = standing(node);
  if (node.startedAt === null || state === "skipped") return null;
  const isOpen = state === "running" || state === "retrying";
  if (!isOpen && node.endedAt === null) return null;
  return <Elapsed from={node.startedAt} to={isOpen ? null : node.endedAt} />;
}

/** One node: what it is, how it went, attempt by attempt, and what it handed on. */
export function NodeDetails({ id, onBack }: { id: string; onBack: () => void }) {
  const node = useView((view) => view.nodes[id]);
  const types = useNodeTypes();
  const executionId = useContext(IdContext);
  const isReused = useReused().has(id);
  const isOver = useView((view) => isFinal(view.status));
  if (!node) return null;
  const type = types.data?.get(node.type);
  return (
    <article className="side-body node-details">
      <button type="button" className="button small plain node-back" onClick={onBack}>
        <Icon name="back" size={15} /> All nodes
      </button>
      <header>
        <h2>{node.name}</h2>
        <StepStatusChip status={standing(node)} />
      </header>
      <p className="soft">
        {type?.title ?? node.type}
        {node.startedAt !== null && <> · began {clock(node.startedAt)}</>}
        {node.startedAt !== null && <> · </>}
        <Took node={node} />
      </p>
      {isReused && <p>Taken over from the execution that this is a retry of; it did not run here.</p>}
      {node.error && <NodeFailure node={node} />}
      {type?.unavailable && <Unavailable why={type.unavailable} />}
      {node.attempts.length > 0 && <Attempts attempts={node.attempts} />}
      <ToolCalls executionId={executionId} nodeId={id} isOver={isOver} />
      {node.output && Object.keys(node.output).length > 0 && (
        <section>
          <h3>Handed on</h3>
          <Value value={node.output} />
          <CopyButton value={node.output} />
        </section>
      )}
      <LastWords id={id} />
      {isOver && <RetryFromHere id={executionId} nodeId={id} name={node.name} />}
    </article>
  );
}

/** What the catalogue says of a type that no worker can run now. */
function Unavailable({ why }: { why: string }) {
  return (
    <div className="head-outcome wait">
      <Icon name="warning" />
      <div>
        <p className="head-outcome-what">Nodes of this type can't be run here now.</p>
        <p>{why}</p>
      </div>
    </div>
  );
}

function NodeFailure({ node }: { node: NodeView }) {
  const look = stepLook(standing(node));
  return (
    <div className={`head-outcome ${look.tone}`}>
      <Icon name={look.icon} />
      <div>
        <p className="head-outcome-what is-whole">{node.error}</p>
        {node.failure?.hint && <p>{node.failure.hint}</p>}
        {node.failure && <p className="mono">{node.failure.code}</p>}
        {node.failure?.page_url && <p className="mono">{node.failure.page_url}</p>}
      </div>
    </div>
  );
}

function Attempts({ attempts }: { attempts: readonly Attempt[] }) {
  return (
    <section>
      <h3>Attempts</h3>
      <ol className="attempts">
        {attempts.map((attempt) => (
          <li key={attempt.number}>
            <span className="numbers">{attempt.number}</span>
            <StepStatusChip status={attemptStanding(attempt)} />
            <span className="mono">{attempt.code}</span>
            <span className="soft numbers">{attempt.durationMs === null ? "" : duration(attempt.durationMs)}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

const MOST_WORDS = 4;

/** The node's latest log lines, so that its story is told in one place. */
function LastWords({ id }: { id: string }) {
  const pages = useView((view) => view.log);
  const lines = pages
    .slice(-4)
    .flat()
    .filter((line) => line.nodeId === id)
    .slice(-MOST_WORDS);
  if (!lines.length) return null;
  return (
    <section>
      <h3>Last lines</h3>
      <ul className="last-words">
        {lines.map((line) => (
          <li key={line.seq}>{line.message}</li>
        ))}
      </ul>
    </section>
  );
}
