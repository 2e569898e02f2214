import { useEffect, useState } from "react";
import { Link } from "wouter";
import { isFinal, type PhaseState } from "../api/nouns";
import { useCancelExecution } from "../api/queries";
import { useHold } from "../api/recovery";
import { RunButton } from "../home/run-button";
import { useMayCancel, useMayWrite } from "../shell/me";
import { type ExecutionView, type Standing, standing } from "../stream/view";
import { announce } from "../ui/announce";
import { Icon } from "../ui/icon";
import { executionWord, Status } from "../ui/status";
import { Elapsed } from "../ui/time";
import { Trouble } from "../ui/trouble";
import { gist, sentence } from "../ui/words";
import { Connection } from "./connection";
import { QuestionCard } from "./question";
import { RetryMenu } from "./retry";
import { useView } from "./show";

/** Name, state, time and what can be done; below it the phases as they light up. */
export function Head({ id, retry }: { id: string; retry: () => void }) {
  const name = useView((view) => view.name);
  const status = useView((view) => view.status);
  const reason = useView((view) => view.reason);
  const workflowId = useView((view) => view.workflowId);
  const version = useView((view) => view.workflowVersion);
  const isCancelling = useView((view) => view.cancelRequested) && !isFinal(status);
  const holding = useView(holdWord);
  const retryOf = useView((view) => view.retryOf);
  const question = useView((view) => view.question);
  const word = isCancelling ? "Cancelling" : holding;

  useEffect(() => {
    if (name) announce(`${name}: ${word ?? executionWord(status)}`);
  }, [name, status, word]);

  return (
    <header className="head">
      <div className="head-title">
        <Link href="/executions" className="head-back">
          <Icon name="back" size={16} /> Executions
        </Link>
        <h1 tabIndex={-1}>{name || "Execution"}</h1>
      </div>
      <div className="head-facts">
        <Status status={status} {...(word && { word })} />
        <Took />
        {version !== null && <span className="soft">Version {version}</span>}
        {retryOf && (
          <Link href={`/executions/${retryOf}`} className="head-retry-of">
            Retry of an earlier execution
          </Link>
        )}
        <Connection retry={retry} />
      </div>
      <div className="head-acts">
        {isFinal(status) ? (
          <>
            {workflowId && <RunButton workflowId={workflowId} name={name} label="Run again" />}
            <RetryMenu id={id} />
          </>
        ) : (
          !isCancelling && (
            <>
              <HoldButton id={id} />
              <CancelButton id={id} />
            </>
          )
        )}
      </div>
      {reason && !isFinal(status) && <p className="head-reason soft">{reason}</p>}
      {question && <QuestionCard executionId={id} question={question} />}
      <Outcome />
      <Phases />
    </header>
  );
}

function Took() {
  const startedAt = useView((view) => view.startedAt);
  const endedAt = useView((view) => view.endedAt);
  if (startedAt === null) return null;
  return (
    <span className="head-time soft">
      <Icon name="clock" size={15} />
      <Elapsed from={startedAt} to={endedAt} />
    </span>
  );
}

/** What is under way between pressing and being paused or running again. */
function holdWord(view: ExecutionView): string | null {
  if (isFinal(view.status)) return null;
  if (view.pauseRequested) return view.status === "paused" ? null : "Pausing…";
  return view.status === "paused" ? "Resuming…" : null;
}

/** Nodes at work come to their end first, so a pause may take a while; it can be taken back until then. */
function HoldButton({ id }: { id: string }) {
  const hold = useHold(id);
  const isHeld = useView((view) => view.pauseRequested);
  const status = useView((view) => view.status);
  if (!useMayWrite() || (status === "paused" && !isHeld)) return null;
  return (
    <>
      <button
        type="button"
        className="button small"
        disabled={hold.isPending}
        onClick={() => hold.mutate(isHeld ? "resume" : "pause")}
      >
        <Icon name={isHeld ? "play" : "pause"} size={15} />
        {isHeld ? (status === "paused" ? "Resume" : "Go on after all") : "Pause"}
      </button>
      {hold.error && <Trouble error={hold.error} />}
    </>
  );
}

/** Cancelling can't be undone, so it takes a second press; looking away takes the first one back. */
function CancelButton({ id }: { id: string }) {
  const cancel = useCancelExecution(id);
  const mayCancel = useMayCancel();
  const [isSure, setSure] = useState(false);
  if (!mayCancel) return null;
  return (
    <>
      <button
        type="button"
        className="button small danger"
        disabled={cancel.isPending || cancel.isSuccess}
        onBlur={() => setSure(false)}
        onKeyDown={(event) => event.key === "Escape" && setSure(false)}
        onClick={() => (isSure ? cancel.mutate() : setSure(true))}
      >
        <Icon name="stop" size={15} />
        {cancel.isPending || cancel.isSuccess ? "Cancelling…" : isSure ? "Really cancel?" : "Cancel"}
      </button>
      {cancel.error && <Trouble error={cancel.error} />}
    </>
  );
}

/** Why it did not end well. */
function Outcome() {
  const outcome = useView((view) => view.outcome);
  if (outcome?.kind === "failed")
    return (
      <div className="head-outcome bad">
        <Icon name="cross" />
        <div>
          <p className="head-outcome-what">{gist(outcome.failure?.message ?? outcome.error)}</p>
          {outcome.failure?.hint && <p>{outcome.failure.hint}</p>}
          {outcome.failure?.page_url && <p className="mono">{outcome.failure.page_url}</p>}
        </div>
      </div>
    );
  if (outcome?.kind === "cancelled")
    return (
      <div className="head-outcome halt">
        <Icon name="stop" />
        <p>
          {sentence(outcome.reason ? `Cancelled: ${outcome.reason}` : "Cancelled")} What was done until then is kept.
        </p>
      </div>
    );
  return null;
}

/** More segments than this can't be told apart. */
const MOST_SEGMENTS = 60;

function Phases() {
  const phases = useView((view) => view.phases);
  const progress = useView((view) => view.progress);
  const percent = Math.round(progress * 100);
  return (
    <div
      className="phases"
      role="progressbar"
      aria-label="Progress"
      aria-valuenow={percent}
      aria-valuemin={0}
      aria-valuemax={100}
    >
      {phases.length > 0 && phases.length <= MOST_SEGMENTS ? (
        phases.map((phase) => <Phase key={phase.number} phase={phase} />)
      ) : (
        <span className="phase is-part">
          <span style={{ transform: `scaleX(${progress})` }} />
        </span>
      )}
    </div>
  );
}

function Phase({ phase }: { phase: PhaseState }) {
  const state = useView((view) => phaseState(phase.nodes.map((id) => standingOf(view.nodes[id]))));
  return <span className={`phase is-${state}`} style={{ flexGrow: Math.sqrt(phase.nodes.length) }} />;
}

function standingOf(node: ExecutionView["nodes"][string] | undefined): Standing {
  return node ? standing(node) : "queued";
}

/** A phase runs while one of its nodes does, and has failed when one of them has; stopped ones did not get to an end. */
export function phaseState(
  states: readonly Standing[],
): "queued" | "running" | "paused" | "stopped" | "failed" | "success" | "skipped" {
  if (states.some((state) => state === "running" || state === "retrying")) return "running";
  if (states.includes("failed")) return "failed";
  if (states.includes("paused")) return "paused";
  if (states.includes("stopped")) return "stopped";
  if (states.every((state) => state === "skipped")) return "skipped";
  if (states.includes("queued")) return states.includes("success") ? "running" : "queued";
  return "success";
}
