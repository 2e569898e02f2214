import { Link } from "wouter";
import { useTitle } from "../ui/title";
import "./lost.css";

export function LostPage() {
  return <Lost what="There is no page at this address.">It may have moved, or the link lost a letter on the way.</Lost>;
}

/** Nothing here: says what is missing and leads back. */
export function Lost({ what, children }: { what: string; children: string }) {
  useTitle("Not found");
  return (
    <section className="lost">
      <p className="lost-number" aria-hidden="true">
        404
      </p>
      <h1 tabIndex={-1}>{what}</h1>
      <p className="soft">{children}</p>
      <p className="lost-ways">
        <Link className="button main" href="/">
          Home
        </Link>
        <Link className="button" href="/executions">
          All executions
        </Link>
      </p>
    </section>
  );
}
