import { useState } from "react";
import { Redirect } from "wouter";
import { useStore } from "zustand";
import { signInAddress } from "../account/next";
import { isMissing } from "../api/problem";
import { Lost } from "../shell/lost";
import { useMe } from "../shell/me";
import { executionWord } from "../ui/status";
import { useTitle } from "../ui/title";
import { Trouble } from "../ui/trouble";
import { Head } from "./head";
import { LogPane } from "./log";
import { Plan } from "./plan";
import { IdContext, ShowContext } from "./show";
import { SidePane } from "./side";
import { StagePane } from "./stage";
import { useWatched } from "./use-show";
import "./execution.css";

/** `/executions/:id`: one execution, live or long over; the same page either way. */
export function ExecutionPage({ id }: { id: string }) {
  const me = useMe();
  const watched = useWatched(id, me.tenant.tenant_id);
  const { show } = watched;
  const phase = useStore(show.link, (link) => link.phase);
  const name = useStore(show.view, (view) => view.name);
  const word = useStore(show.view, (view) => executionWord(view.status));
  const [selected, select] = useState<string | null>(null);
  useTitle(name ? `${word} · ${name}` : "Execution");

  if (phase === "signed_out") return <Redirect to={signInAddress(`/executions/${id}`)} replace />;
  if (phase === "missing" || isMissing(watched.error))
    return <Lost what="There is no such execution.">It may have been deleted, or it belongs to somebody else.</Lost>;
  return (
    <IdContext value={id}>
      <ShowContext value={show}>
        <div className="execution">
          <Head id={id} retry={watched.retry} />
          {watched.error != null && !name && (
            <Trouble error={watched.error}>
              <button type="button" className="button small" onClick={watched.retry}>
                Try again
              </button>
            </Trouble>
          )}
          <div className="panes">
            <StagePane onSelect={select} />
            <Plan selected={selected} onSelect={select} />
            <SidePane selected={selected} onSelect={select} />
            <LogPane selected={selected} onSelect={select} />
          </div>
        </div>
      </ShowContext>
    </IdContext>
  );
}
