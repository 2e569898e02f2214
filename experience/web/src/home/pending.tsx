import { Link } from "wouter";
import type { Intent } from "../api/nouns";
import { useCancelIntent } from "../api/queries";
import { useMayCancel } from "../shell/me";
import { Ago } from "../ui/time";
import { Trouble } from "../ui/trouble";

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
