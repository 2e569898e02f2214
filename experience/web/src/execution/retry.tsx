import { type KeyboardEvent, useEffect, useId, useRef, useState } from "react";
import { useLocation } from "wouter";
import type { Answer, RetryStart } from "../api/nouns";
import { askedNodes, type RetryWish, useRetry } from "../api/recovery";
import { useMayWrite } from "../shell/me";
import { type ExecutionView, standing } from "../stream/view";
import { Icon } from "../ui/icon";
import { Trouble } from "../ui/trouble";
import { Answers } from "./answers";
import { useView } from "./show";
import "./retry.css";

/** Opens the choices of a retry; once the execution has ended. */
export function RetryMenu({ id }: { id: string }) {
  const [isOpen, setOpen] = useState(false);
  const mayWrite = useMayWrite();
  const opener = useRef<HTMLButtonElement>(null);
  const panel = useId();
  if (!mayWrite) return null;

  function close(): void {
    setOpen(false);
    opener.current?.focus();
  }
  function leaveByEscape(event: KeyboardEvent): void {
    if (event.key === "Escape" && isOpen) close();
  }

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: Escape closes what stands inside; the controls are buttons
    <div className="retry" onKeyDown={leaveByEscape}>
      <button
        ref={opener}
        type="button"
        className="button small"
        aria-expanded={isOpen}
        aria-controls={panel}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name="retry" size={15} /> Retry
        <Icon name="chevron" size={14} />
      </button>
      <div id={panel} className="retry-panel card" hidden={!isOpen}>
        {isOpen && <RetryForm id={id} onClose={close} />}
      </div>
    </div>
  );
}

function RetryForm({ id, onClose }: { id: string; onClose: () => void }) {
  const order = useView((view) => view.order);
  const nodes = useView((view) => view.nodes);
  const hasWorkflow = useView((view) => view.workflowId !== null);
  const hasQuestion = useView((view) => view.question !== null);
  const whatFailed = useView(hasFailed);
  const canGoOn = whatFailed && !hasQuestion;
  const [startAt, setStartAt] = useState<RetryStart>(canGoOn ? "failed" : "beginning");
  const [nodeId, setNodeId] = useState(() => order.find((one) => isFailed(nodes[one])) ?? order[0] ?? "");
  const [version, setVersion] = useState<RetryWish["version"]>("same");
  const [answers, setAnswers] = useState<Record<string, Answer>>({});
  const [, go] = useLocation();
  const retry = useRetry(id);
  const submit = useRef<HTMLButtonElement>(null);
  const group = useId();
  useEffect(() => submit.current?.focus(), []);
  const asked = askedNodes(retry.error);

  /** What was asked and answered is about the wish as it was. */
  function choose(change: () => void): void {
    change();
    setAnswers({});
    retry.reset();
  }
  function send(): void {
    retry.mutate(
      { startAt, nodeId: startAt === "node" ? nodeId : null, version, answers },
      { onSuccess: (accepted) => go(`/executions/${accepted.execution_id}`) },
    );
  }
  const choice = (value: RetryStart, label: string, about: string, isOff = false) => (
    <label className="choice">
      <input
        type="radio"
        name={`${group}start`}
        checked={startAt === value}
        disabled={isOff}
        onChange={() => choose(() => setStartAt(value))}
      />
      <span>
        {label}
        <small>{about}</small>
      </span>
    </label>
  );

  return (
    <form
      aria-label="Retry"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <fieldset>
        <legend>Start</legend>
        {(whatFailed || hasQuestion) &&
          choice(
            "failed",
            "From what failed",
            hasQuestion ? "Answer the question above to go on from there." : "What ended well is taken over.",
            hasQuestion,
          )}
        {order.length > 0 && choice("node", "From a node", "It and all that comes after it run again.")}
        {startAt === "node" && (
          <select
            className="input small"
            aria-label="Node to start from"
            value={nodeId}
            onChange={(event) => {
              const chosen = event.currentTarget.value;
              choose(() => setNodeId(chosen));
            }}
          >
            {order.map((one) => (
              <option key={one} value={one}>
                {nodes[one]?.name ?? one}
              </option>
            ))}
          </select>
        )}
        {choice("beginning", "Whole", "Nothing is taken over; its inputs stay.")}
      </fieldset>
      {hasWorkflow && (
        <label className="retry-version">
          <span>Version</span>
          <select
            className="input small"
            value={version}
            onChange={(event) => {
              const chosen = event.currentTarget.value === "latest" ? "latest" : "same";
              choose(() => setVersion(chosen));
            }}
          >
            <option value="same">The one that ran</option>
            <option value="latest">The latest</option>
          </select>
        </label>
      )}
      <Answers
        nodes={asked.map((one) => ({ id: one, name: nodes[one]?.name ?? one }))}
        given={answers}
        onGive={(node, answer) => setAnswers({ ...answers, [node]: answer })}
      />
      {retry.error && !asked.length && <Trouble error={retry.error} />}
      <div className="retry-acts">
        <button
          ref={submit}
          type="submit"
          className="button main"
          disabled={retry.isPending || retry.isSuccess || asked.some((one) => !answers[one])}
        >
          {retry.isPending || retry.isSuccess ? "Starting…" : "Start the retry"}
        </button>
        <button type="button" className="button plain" onClick={onClose}>
          Close
        </button>
      </div>
    </form>
  );
}

function isFailed(node: ExecutionView["nodes"][string] | undefined): boolean {
  return node !== undefined && standing(node) === "failed";
}

/** Whether there is anything that a retry could go on from: a node that did not end well. */
function hasFailed(view: ExecutionView): boolean {
  return view.status !== "completed" || view.order.some((id) => view.nodes[id]?.status === "failed");
}

/** In a node's details: it and what follows run again, and a person is asked about others that must not by themselves. */
export function RetryFromHere({ id, nodeId, name }: { id: string; nodeId: string; name: string }) {
  const nodes = useView((view) => view.nodes);
  const [answers, setAnswers] = useState<Record<string, Answer>>({});
  const [, go] = useLocation();
  const retry = useRetry(id);
  const asked = askedNodes(retry.error);
  if (!useMayWrite()) return null;
  return (
    <>
      <Answers
        nodes={asked.map((one) => ({ id: one, name: nodes[one]?.name ?? one }))}
        given={answers}
        onGive={(node, answer) => setAnswers({ ...answers, [node]: answer })}
      />
      <button
        type="button"
        className="button small"
        disabled={retry.isPending || retry.isSuccess || asked.some((one) => !answers[one])}
        onClick={() =>
          retry.mutate(
            { startAt: "node", nodeId, version: "same", answers },
            { onSuccess: (accepted) => go(`/executions/${accepted.execution_id}`) },
          )
        }
      >
        <Icon name="retry" size={15} /> Retry from here<span className="hidden-text">: {name}</span>
      </button>
      {retry.error && !asked.length && <Trouble error={retry.error} />}
    </>
  );
}
