import { useRef } from "react";
import { useLocation } from "wouter";
import { useRunWorkflow } from "../api/queries";
import { useMayWrite } from "../shell/me";
import { Icon } from "../ui/icon";
import { Trouble } from "../ui/trouble";

/** Starts a workflow and goes to its execution. */
export function RunButton(props: {
  workflowId: string;
  version?: number;
  name: string;
  label: string;
  main?: boolean;
  /** Id of the text beside it that says why it can't be started. */
  faultId?: string | undefined;
}) {
  const [, go] = useLocation();
  const run = useRunWorkflow();
  const mayWrite = useMayWrite();
  const key = useRef<string | null>(null);

  function start(): void {
    // one key per wish: pressing again after a failure asks for the same execution, not for a second one
    key.current ??= crypto.randomUUID();
    const wish = { workflowId: props.workflowId, version: props.version ?? null, key: key.current };
    run.mutate(wish, {
      onSuccess: (accepted) => {
        key.current = null;
        go(`/executions/${accepted.execution_id}`);
      },
    });
  }

  return (
    <>
      <button
        type="button"
        className={`button ${props.main ? "main" : "small"}`}
        onClick={start}
        disabled={run.isPending || !mayWrite || props.faultId !== undefined}
        title={mayWrite ? undefined : "Your role may watch, not start."}
        aria-describedby={props.faultId}
      >
        <Icon name="play" size={props.main ? 18 : 15} />
        {props.label}
        <span className="hidden-text"> {props.name}</span>
      </button>
      {run.error && <Trouble error={run.error} />}
    </>
  );
}
