import { type ReactNode, useState } from "react";
import { useChangeCredential, useDeleteCredential, useReplaceValues } from "../api/credentials";
import type { Credential } from "../api/nouns";
import { Icon } from "../ui/icon";
import { Ago } from "../ui/time";
import { Trouble } from "../ui/trouble";
import { DomainsField, KINDS, readDomains, readValues, ValueFields } from "./fields";

type Act = "change" | "replace" | "delete";

/** One of them: what is known of it, how workflows name it, and what an admin may do. */
export function CredentialCard({ credential, mayWrite }: { credential: Credential; mayWrite: boolean }) {
  const [act, setAct] = useState<Act | null>(null);
  const done = () => setAct(null);
  return (
    <article className="credential card">
      <header>
        <h2>{credential.name}</h2>
        <span className="soft">
          {KINDS[credential.kind].title} · version {credential.version} ·{" "}
          {credential.last_used_at ? (
            <>
              used <Ago at={credential.last_used_at} />
            </>
          ) : (
            "never used"
          )}
        </span>
      </header>
      {credential.domains.length ? (
        <ul className="credential-domains" aria-label="Domains">
          {credential.domains.map((domain) => (
            <li key={domain} className="mono">
              {domain}
            </li>
          ))}
        </ul>
      ) : (
        <p className="credential-warning">
          <Icon name="warning" size={16} /> It may go nowhere yet: say to which domains.
        </p>
      )}
      <ul className="credential-references" aria-label="How workflows refer to it">
        {credential.fields.map((field) => (
          <li key={field}>
            <code>{`{{credential.${credential.name}.${field}}}`}</code>
          </li>
        ))}
      </ul>
      {mayWrite && act === null && (
        <div className="credential-acts">
          <button type="button" className="button small" onClick={() => setAct("change")}>
            Name and domains
            <Of credential={credential} />
          </button>
          <button type="button" className="button small" onClick={() => setAct("replace")}>
            Replace values
            <Of credential={credential} />
          </button>
          <button type="button" className="button small danger" onClick={() => setAct("delete")}>
            Delete…
            <Of credential={credential} />
          </button>
        </div>
      )}
      {act === "change" && <Change credential={credential} onDone={done} />}
      {act === "replace" && <Replace credential={credential} onDone={done} />}
      {act === "delete" && <Delete credential={credential} onDone={done} />}
    </article>
  );
}

/** Says to who can't see where a button stands what it is about. */
function Of({ credential }: { credential: Credential }) {
  return <span className="hidden-text"> of {credential.name}</span>;
}

interface ActProps {
  credential: Credential;
  onDone: () => void;
}

function Change({ credential, onDone }: ActProps) {
  const change = useChangeCredential(credential.credential_id);
  return (
    <ActForm
      label={`Name and domains of ${credential.name}`}
      error={change.error}
      isBusy={change.isPending}
      submit="Save"
      onDone={onDone}
      onSubmit={(form) =>
        change.mutate({ name: String(form.get("name")), domains: readDomains(form) }, { onSuccess: onDone })
      }
    >
      <label className="field">
        <span>Name</span>
        <input
          className="input"
          name="name"
          defaultValue={credential.name}
          pattern="[A-Za-z][A-Za-z0-9_\-]*"
          title="A letter, then letters, digits, _ and -"
          maxLength={64}
          autoComplete="off"
          required
        />
        <small className="soft">Workflows that use the old name have to be changed too.</small>
      </label>
      <DomainsField domains={credential.domains} />
    </ActForm>
  );
}

function Replace({ credential, onDone }: ActProps) {
  const replace = useReplaceValues(credential.credential_id);
  return (
    <ActForm
      label={`Replace the values of ${credential.name}`}
      error={replace.error}
      isBusy={replace.isPending}
      submit="Replace"
      onDone={onDone}
      onSubmit={(form) => replace.mutate(readValues(form), { onSuccess: onDone })}
    >
      <p className="soft">The values that are kept now can't be shown. They are gone once these take their place.</p>
      <ValueFields kind={credential.kind} names={credential.fields} />
    </ActForm>
  );
}

function Delete({ credential, onDone }: ActProps) {
  const remove = useDeleteCredential(credential.credential_id);
  return (
    <ActForm
      label={`Delete ${credential.name}`}
      error={remove.error}
      isBusy={remove.isPending || remove.isSuccess}
      submit="Delete"
      isDangerous
      onDone={onDone}
      onSubmit={() => remove.mutate()}
    >
      <p>Its values are gone for good, and workflows that name it fail from then on.</p>
    </ActForm>
  );
}

interface ActFormProps {
  label: string;
  submit: string;
  isDangerous?: boolean;
  isBusy: boolean;
  error: unknown;
  onSubmit: (form: FormData) => void;
  onDone: () => void;
  children: ReactNode;
}

function ActForm({ label, submit, isDangerous = false, isBusy, error, onSubmit, onDone, children }: ActFormProps) {
  return (
    <form
      className="credential-form"
      aria-label={label}
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit(new FormData(event.currentTarget));
      }}
    >
      {children}
      {error ? <Trouble error={error} /> : null}
      <div className="credential-acts">
        <button type="submit" className={`button ${isDangerous ? "danger" : "main"}`} disabled={isBusy}>
          {submit}
        </button>
        <button type="button" className="button plain" onClick={onDone}>
          Cancel
        </button>
      </div>
    </form>
  );
}
