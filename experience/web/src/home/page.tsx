import { type ReactNode, useState } from "react";
import { Link } from "wouter";
import type { ExecutionSummary } from "../api/nouns";
import { usePendingIntents, useStage, useWorkflows } from "../api/queries";
import { TAKEN } from "../execution/question";
import { ExecutionTable, readable } from "../executions/table";
import { Empty, Loading } from "../ui/empty";
import { Status } from "../ui/status";
import { Elapsed } from "../ui/time";
import { useTitle } from "../ui/title";
import { Trouble } from "../ui/trouble";
import { PendingIntents, Questions } from "./pending";
import { DemoCard, isDemo, WorkflowList } from "./workflows";
import "./home.css";

/** `/`: what is on stage, what waits, what was, and what can be put on. */
export function HomePage() {
  const stage = useStage();
  const pending = usePendingIntents();
  const needsYou = pending.data?.items.filter((intent) => intent.question) ?? [];
  const stored = pending.data?.items.filter((intent) => !intent.question) ?? [];
  const [isTaken, setTaken] = useState(false);
  const workflows = useWorkflows();
  useTitle("");
  const demo = workflows.data?.items.find(isDemo);
  const active = stage.data?.active ?? [];
  return (
    <div className="home">
      <h1 tabIndex={-1} className="hidden-text">
        Home
      </h1>
      <div className="home-main">
        {(needsYou.length > 0 || isTaken) && (
          <Section title="Needs you">
            {isTaken && (
              <p role="status" className="question-taken">
                {TAKEN}
              </p>
            )}
            <Questions intents={needsYou} onTaken={() => setTaken(true)} />
          </Section>
        )}
        {demo && <DemoCard workflow={demo} />}
        <Section title="On stage now">
          {stage.error && <Trouble error={stage.error} />}
          {stage.isLoading && <Loading what="what runs" />}
          {stage.data && !active.length && (
            <Empty title="The stage is empty">Start a workflow, and watch its browser at work here.</Empty>
          )}
          <ul className="running">
            {active.map((item) => (
              <li key={item.execution_id}>
                <Running item={item} />
              </li>
            ))}
          </ul>
        </Section>
        {stored.length > 0 && (
          <Section title="Waiting">
            <PendingIntents intents={stored} />
          </Section>
        )}
        <Section title="Recent" more={<Link href="/executions">All executions</Link>}>
          {stage.data && <ExecutionTable items={stage.data.ended} empty="Nothing has come to its end yet" />}
        </Section>
      </div>
      <Section title="Workflows" className="home-side">
        {workflows.error && <Trouble error={workflows.error} />}
        {workflows.isLoading && <Loading what="workflows" />}
        {workflows.data && <WorkflowList workflows={workflows.data.items} />}
      </Section>
    </div>
  );
}

function Section(props: { title: string; more?: ReactNode; className?: string; children: ReactNode }) {
  return (
    <section className={`home-section ${props.className ?? ""}`}>
      <header>
        <h2>{props.title}</h2>
        {props.more}
      </header>
      {props.children}
    </section>
  );
}

function Running({ item }: { item: ExecutionSummary }) {
  const percent = Math.round(item.progress * 100);
  return (
    <Link href={`/executions/${item.execution_id}`} className="running-card card">
      <span className="running-name">{item.name}</span>
      <Status status={item.status} />
      <span className="running-node soft">{item.current_node ? readable(item.current_node) : "In the wings"}</span>
      <span className="soft">
        <Elapsed from={Date.parse(item.started_at ?? item.created_at)} to={null} />
      </span>
      <span className="running-bar" role="img" aria-label={`${percent} % done`}>
        <span style={{ transform: `scaleX(${item.progress})` }} />
      </span>
    </Link>
  );
}
