import { useState } from "react";
import { useAddCredential } from "../api/credentials";
import type { CredentialKind } from "../api/nouns";
import { Trouble } from "../ui/trouble";
import { DomainsField, KINDS, readDomains, readValues, ValueFields } from "./fields";

/** The form that a credential is added with. */
export function Add({ onDone }: { onDone: () => void }) {
  const add = useAddCredential();
  const [kind, setKind] = useState<CredentialKind>("login");
  return (
    <form
      className="credential-form card"
      aria-label="Add a credential"
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        const form = new FormData(event.currentTarget);
        const name = String(form.get("name"));
        add.mutate({ name, kind, values: readValues(form), domains: readDomains(form) }, { onSuccess: onDone });
      }}
    >
      <label className="field">
        <span>Name</span>
        <input
          className="input"
          name="name"
          pattern="[A-Za-z][A-Za-z0-9_\-]*"
          title="A letter, then letters, digits, _ and -"
          maxLength={64}
          autoComplete="off"
          // biome-ignore lint/a11y/noAutofocus: it appears because of a press, and is what that press was about
          autoFocus
          required
        />
        <small className="soft">What workflows call it.</small>
      </label>
      <label className="field">
        <span>Kind</span>
        <select
          className="input"
          value={kind}
          onChange={(event) => setKind(event.currentTarget.value as CredentialKind)}
        >
          {Object.entries(KINDS).map(([value, { title }]) => (
            <option key={value} value={value}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <ValueFields key={kind} kind={kind} />
      <DomainsField />
      {add.error && <Trouble error={add.error} />}
      <div className="credential-acts">
        <button type="submit" className="button main" disabled={add.isPending}>
          Add it
        </button>
        <button type="button" className="button plain" onClick={onDone}>
          Cancel
        </button>
      </div>
    </form>
  );
}
