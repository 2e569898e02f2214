import { Link } from "wouter";
import type { Intent } from "../api/nouns";
import { useCancelIntent } from "../api/queries";
import { QuestionCard } from "../execution/question";
import { useMayCancel } from "../shell/me";
import { Ago } from "../ui/time";
import { Trouble } from "../ui/trouble";

/** What only a person can go on with, each with its answers. */
export function Questions({ intents, onTaken }: { intents: readonly Intent[]; onTaken: () => void }) {
  return intents.map(
    (intent) =>
      intent.question && (
        <QuestionCard
          key={intent.intent_id}
          executionId={intent.execution_id}
          question={intent.question}
          level={3}
          onTaken={onTaken}
        >
          <p className="soft">
            <Link href={`/executions/${intent.execution_id}`}>
              See the execution<span className="hidden-text"> with {intent.question.node_name}</span>
            </Link>
            , asked for <Ago at={intent.created_at} />.
          </p>
        </QuestionCard>
      ),
  );
}

/** Intents that are stored and not yet on stage, each with the way to call it off. */
export function PendingIntents({ intents }: { intents: readonly Intent[] }) {
  const cancel = useCancelIntent();
  const mayCancel = useMayCancel();
  return (
    <>
      {cancel.error && <Trouble error={cancel.error} />}
      <ul className="pending card">
        {intents.map((intent) => (
          <li key={intent.intent_id}>
            <div>
              <Link href={`/executions/${intent.execution_id}`} className="pending-name">
                {intent.realm} · {intent.intent}
              </Link>
              <span className="soft">
                {intent.error ?? "Stored; it starts as soon as Runtime is back."} Asked for{" "}
                <Ago at={intent.created_at} />.
              </span>
            </div>
            {intent.cancel_requested ? (
              <span className="soft">Cancelling…</span>
            ) : (
              mayCancel && (
                <button
                  type="button"
                  className="button small danger"
                  disabled={cancel.isPending}
                  onClick={() => cancel.mutate(intent.intent_id)}
                >
                  Cancel<span className="hidden-text"> {intent.intent}</span>
                </button>
              )
            )}
          </li>
        ))}
      </ul>
    </>
  );
}
