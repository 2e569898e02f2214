import { useState } from "react";
import { useCredentials } from "../api/credentials";
import { Lost } from "../shell/lost";
import { maySeeCredentials, maySeeProfiles, mayWriteCredentials, useMe } from "../shell/me";
import { Empty, Loading } from "../ui/empty";
import { Icon } from "../ui/icon";
import { useTitle } from "../ui/title";
import { Trouble } from "../ui/trouble";
import { Add } from "./add";
import { CredentialCard } from "./credential";
import { Profiles } from "./profiles";
import "./credentials.css";

/** `/credentials`: what workflows sign in with. Values are typed here and shown nowhere. */
export function CredentialsPage() {
  useTitle("Credentials");
  if (!maySeeCredentials(useMe()))
    return <Lost what="This page is for members.">Ask an owner or admin of the tenant.</Lost>;
  return <Credentials />;
}

function Credentials() {
  const me = useMe();
  const mayWrite = mayWriteCredentials(me);
  const [isAdding, setAdding] = useState(false);
  const credentials = useCredentials();
  const items = credentials.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <>
      <div className="page-head">
        <div>
          <h1 tabIndex={-1}>Credentials</h1>
          <p className="soft credentials-about">
            What workflows sign in with. Values are kept sealed, typed or sent on their domains only, and never shown
            again, here or anywhere else.
          </p>
        </div>
        {mayWrite && !isAdding && (
          <button type="button" className="button main" onClick={() => setAdding(true)}>
            <Icon name="plus" size={16} /> Add
          </button>
        )}
      </div>
      {isAdding && <Add onDone={() => setAdding(false)} />}
      {credentials.error && (
        <Trouble error={credentials.error}>
          <button type="button" className="button small" onClick={() => credentials.refetch()}>
            Try again
          </button>
        </Trouble>
      )}
      {credentials.isLoading && <Loading what="credentials" lines={4} />}
      {credentials.data && !items.length && !isAdding && (
        <Empty title="No credentials">
          {mayWrite
            ? "Add one, and workflows can use it without anybody having to write it down."
            : "An owner or admin of the tenant can add them."}
        </Empty>
      )}
      <ul className="credentials">
        {items.map((credential) => (
          <li key={credential.credential_id}>
            <CredentialCard credential={credential} mayWrite={mayWrite} />
          </li>
        ))}
      </ul>
      {credentials.hasNextPage && (
        <button
          type="button"
          className="button"
          disabled={credentials.isFetchingNextPage}
          onClick={() => credentials.fetchNextPage()}
        >
          {credentials.isFetchingNextPage ? "Loading…" : "Show older"}
        </button>
      )}
      {maySeeProfiles(me) && <Profiles />}
    </>
  );
}
