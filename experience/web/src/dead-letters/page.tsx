import { Link, useLocation, useSearch } from "wouter";
import { useDeadLetters } from "../api/recovery";
import { Lost } from "../shell/lost";
import { mayDecide, useMe } from "../shell/me";
import { Empty, Loading } from "../ui/empty";
import { useTitle } from "../ui/title";
import { Trouble } from "../ui/trouble";
import { Letter } from "./letter";
import "./dead-letters.css";

/** `/dead-letters`: executions that took their workers down, and what an admin decides about each. */
export function DeadLettersPage() {
  useTitle("Dead letters");
  if (!mayDecide(useMe())) return <Lost what="This page is for admins.">Ask an owner or admin of the tenant.</Lost>;
  return <Letters />;
}

function Letters() {
  const isDecided = new URLSearchParams(useSearch()).get("show") === "decided";
  const [, go] = useLocation();
  const letters = useDeadLetters(isDecided);
  const items = letters.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <div className="page-head">
        <div>
          <h1 tabIndex={-1}>Dead letters</h1>
          <p className="soft letters-about">
            Executions that lost one worker after another. They are not tried again until somebody decides.
          </p>
        </div>
        <nav className="letters-which" aria-label="Which dead letters">
          <Link href="/dead-letters" replace aria-current={isDecided ? undefined : "true"} className="button small">
            Waiting
          </Link>
          <Link
            href="/dead-letters?show=decided"
            replace
            aria-current={isDecided ? "true" : undefined}
            className="button small"
          >
            Decided
          </Link>
        </nav>
      </div>
      {letters.error && (
        <Trouble error={letters.error}>
          <button type="button" className="button small" onClick={() => letters.refetch()}>
            Try again
          </button>
        </Trouble>
      )}
      {letters.isLoading && <Loading what="dead letters" lines={4} />}
      {letters.data && !items.length && (
        <Empty title={isDecided ? "Nothing has been decided yet" : "No dead letters"}>
          {isDecided
            ? "What was retried or discarded is listed here."
            : "An execution comes here when worker after worker is lost in it."}
        </Empty>
      )}
      <ul className="letters">
        {items.map((letter) => (
          <li key={letter.execution_id}>
            <Letter letter={letter} onRetried={(id) => go(`/executions/${id}`)} />
          </li>
        ))}
      </ul>
      {letters.hasNextPage && (
        <button
          type="button"
          className="button letters-more"
          disabled={letters.isFetchingNextPage}
          onClick={() => letters.fetchNextPage()}
        >
          {letters.isFetchingNextPage ? "Loading…" : "Show older"}
        </button>
      )}
    </>
  );
}
