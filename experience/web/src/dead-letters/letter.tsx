import { useId, useState } from "react";
import { Link } from "wouter";
import type { Answer, DeadLetter, DeadLetterDetail } from "../api/nouns";
import { askedNodes, useDeadLetter, useDiscardDeadLetter, useRetryDeadLetter } from "../api/recovery";
import { Answers } from "../execution/answers";
import { readable } from "../executions/table";
import { Loading } from "../ui/empty";
import { Icon } from "../ui/icon";
import { Ago } from "../ui/time";
import { Trouble } from "../ui/trouble";

interface LetterProps {
  letter: DeadLetter;
  onRetried: (executionId: string) => void;
}

/** One of them: what happened, what is known about it, and the two decisions. */
export function Letter({ letter, onRetried }: LetterProps) {
  const [isOpen, setOpen] = useState(false);
  const details = useId();
  return (
    <article className="letter card">
      <header>
        <h2>
          <Link href={`/executions/${letter.execution_id}`}>{letter.name}</Link>
        </h2>
        <span className="soft">
          {letter.losses} {letter.losses === 1 ? "worker" : "workers"} lost · <Ago at={letter.died_at} />
          {letter.workflow_version !== null && ` · version ${letter.workflow_version}`}
        </span>
      </header>
      <p className="letter-why">{letter.failure.message}</p>
      {letter.failure.hint && <p className="soft">{letter.failure.hint}</p>}
      {letter.resolution && <Decision letter={letter} />}
      <button
        type="button"
        className="button small plain letter-more"
        aria-expanded={isOpen}
        aria-controls={details}
        onClick={() => setOpen(!isOpen)}
      >
        <Icon name={isOpen ? "up" : "down"} size={14} /> {isOpen ? "Less" : "Runs and suspects"}
        <span className="hidden-text"> of {letter.name}</span>
      </button>
      <div id={details} hidden={!isOpen}>
        {isOpen && <Details executionId={letter.execution_id} />}
      </div>
      {!letter.resolution && <Decide letter={letter} onRetried={onRetried} />}
    </article>
  );
}

function Decision({ letter }: { letter: DeadLetter }) {
  return (
    <p>
      {letter.resolution === "retried" ? "Retried" : "Discarded"}
      {letter.resolved_at && (
        <>
          {" "}
          <Ago at={letter.resolved_at} />
        </>
      )}
      {letter.retried_as && (
        <>
          {" "}
          as{" "}
          <Link href={`/executions/${letter.retried_as}`}>
            another execution<span className="hidden-text"> of {letter.name}</span>
          </Link>
        </>
      )}
      .
    </p>
  );
}

function Details({ executionId }: { executionId: string }) {
  const detail = useDeadLetter(executionId, true);
  if (detail.error) return <Trouble error={detail.error} />;
  if (!detail.data) return <Loading what="its runs" lines={2} />;
  return (
    <div className="letter-details">
      <section>
        <h3>Suspects</h3>
        {detail.data.in_flight.length ? (
          <ul>
            {detail.data.in_flight.map((id) => (
              <li key={id}>
                {readable(id)} <span className="soft">was at work when the last worker was lost</span>
              </li>
            ))}
          </ul>
        ) : (
          <p className="soft">No node was at work when the last worker was lost.</p>
        )}
      </section>
      <section>
        <h3>Runs</h3>
        <Runs runs={detail.data.runs} />
      </section>
    </div>
  );
}

function Runs({ runs }: { runs: DeadLetterDetail["runs"] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className="letter-runs" aria-label="Runs" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <th scope="col">Run</th>
            <th scope="col">Worker</th>
            <th scope="col">Began</th>
            <th scope="col">End</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={run.epoch}>
              <td className="numbers">{run.epoch}</td>
              <td className="mono">{run.worker}</td>
              <td>
                <Ago at={run.started_at} />
              </td>
              <td>{run.outcome ? run.outcome.replaceAll("_", " ") : "under way"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Decide({ letter, onRetried }: LetterProps) {
  const retry = useRetryDeadLetter(letter.execution_id);
  const discard = useDiscardDeadLetter(letter.execution_id);
  const [answers, setAnswers] = useState<Record<string, Answer>>({});
  const [isDiscarding, setDiscarding] = useState(false);
  const [reason, setReason] = useState("");
  const asked = askedNodes(retry.error);
  const isBusy = retry.isPending || retry.isSuccess || discard.isPending || discard.isSuccess;
  return (
    <div className="letter-decide">
      <Answers
        nodes={asked.map((id) => ({ id, name: readable(id) }))}
        given={answers}
        onGive={(node, answer) => setAnswers({ ...answers, [node]: answer })}
      />
      {retry.error && !asked.length && <Trouble error={retry.error} />}
      {discard.error && <Trouble error={discard.error} />}
      {isDiscarding && (
        <form
          className="letter-discard"
          onSubmit={(event) => {
            event.preventDefault();
            discard.mutate(reason);
          }}
        >
          <label className="field">
            <span>Why it is discarded</span>
            <input
              className="input"
              maxLength={500}
              // biome-ignore lint/a11y/noAutofocus: it appears because of a press, and is what that press was about
              autoFocus
              value={reason}
              onChange={(event) => setReason(event.currentTarget.value)}
              onKeyDown={(event) => event.key === "Escape" && setDiscarding(false)}
            />
          </label>
          <p className="soft">It leaves this list; the execution stays as it ended.</p>
          <div className="letter-acts">
            <button type="submit" className="button danger" disabled={isBusy}>
              Discard<span className="hidden-text"> {letter.name}</span>
            </button>
            <button type="button" className="button plain" onClick={() => setDiscarding(false)}>
              Keep it
            </button>
          </div>
        </form>
      )}
      {!isDiscarding && (
        <div className="letter-acts">
          <button
            type="button"
            className="button main"
            disabled={isBusy || asked.some((id) => !answers[id])}
            onClick={() => retry.mutate(answers, { onSuccess: (accepted) => onRetried(accepted.execution_id) })}
          >
            <Icon name="retry" size={16} /> Retry<span className="hidden-text"> {letter.name}</span>
          </button>
          <button type="button" className="button danger" disabled={isBusy} onClick={() => setDiscarding(true)}>
            Discard…<span className="hidden-text"> {letter.name}</span>
          </button>
        </div>
      )}
    </div>
  );
}
