import { useId, useState } from "react";
import type { CredentialKind } from "../api/nouns";
import { Icon } from "../ui/icon";

export const KINDS: Record<CredentialKind, { title: string; fields: readonly string[] }> = {
  login: { title: "Login", fields: ["username", "password"] },
  token: { title: "Token or API key", fields: ["token"] },
  header: { title: "HTTP header", fields: ["name", "value"] },
  fields: { title: "Fields of its own", fields: [] },
};

/** Fields that name somebody or something rather than opening it: shown while they are typed. */
const OPEN: ReadonlySet<string> = new Set(["login username", "header name"]);

const VALUE = "value ";

/** The values that a form with `ValueFields` holds. They stay in the form: nothing else keeps them. */
export function readValues(form: FormData): Record<string, string> {
  const names = [...form.keys()].filter((key) => key.startsWith(VALUE));
  return Object.fromEntries(
    names.map((key) => [String(form.get(`name of ${key}`) ?? key.slice(VALUE.length)), String(form.get(key) ?? "")]),
  );
}

export function readDomains(form: FormData): string[] {
  return String(form.get("domains") ?? "")
    .split(/[\s,]+/)
    .filter((domain) => domain);
}

interface ValueFieldsProps {
  kind: CredentialKind;
  /** Names that are there already, of a kind that has none of its own. */
  names?: readonly string[];
}

/** One input for each field of a credential: written, never read. */
export function ValueFields({ kind, names = [] }: ValueFieldsProps) {
  if (kind === "fields") return <FreeFields names={names} />;
  return KINDS[kind].fields.map((name) => <ValueField key={name} name={name} isOpen={OPEN.has(`${kind} ${name}`)} />);
}

function ValueField({ name, isOpen }: { name: string; isOpen: boolean }) {
  return (
    <label className="field">
      <span>{name[0]?.toUpperCase() + name.slice(1)}</span>
      <input
        className="input"
        name={`${VALUE}${name}`}
        type={isOpen ? "text" : "password"}
        // it is somebody's login elsewhere: the browser must neither offer its own nor keep this one
        autoComplete={isOpen ? "off" : "new-password"}
        autoCapitalize="off"
        spellCheck={false}
        maxLength={16_384}
        required
      />
    </label>
  );
}

function FreeFields({ names }: { names: readonly string[] }) {
  const group = useId();
  const [count, setCount] = useState(Math.max(1, names.length));
  return (
    <fieldset className="free-fields">
      <legend>Fields</legend>
      {Array.from({ length: count }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: fields are added at the end only
        <div key={index} className="free-field">
          <label className="field" htmlFor={`${group}-name-${index}`}>
            <span>Name</span>
            <input
              id={`${group}-name-${index}`}
              className="input"
              name={`name of ${VALUE}${index}`}
              defaultValue={names[index] ?? ""}
              pattern="[A-Za-z][A-Za-z0-9_]*"
              title="A letter, then letters, digits and underscores"
              maxLength={64}
              autoComplete="off"
              required
            />
          </label>
          <label className="field" htmlFor={`${group}-value-${index}`}>
            <span>Value</span>
            <input
              id={`${group}-value-${index}`}
              className="input"
              name={`${VALUE}${index}`}
              type="password"
              autoComplete="new-password"
              maxLength={16_384}
              required
            />
          </label>
        </div>
      ))}
      {count < 20 && (
        <button type="button" className="button small" onClick={() => setCount(count + 1)}>
          <Icon name="plus" size={14} /> Another field
        </button>
      )}
    </fieldset>
  );
}

/** Where a credential may go. */
export function DomainsField({ domains = [] }: { domains?: readonly string[] }) {
  const hint = useId();
  return (
    <label className="field">
      <span>Domains</span>
      <textarea
        className="input domains"
        name="domains"
        rows={2}
        defaultValue={domains.join("\n")}
        placeholder="shop.example"
        spellCheck={false}
        autoCapitalize="off"
        aria-describedby={hint}
      />
      <small id={hint} className="soft">
        Hosts where it may be typed or sent, one a line: <code>shop.example</code>, <code>shop.example:8443</code>,{" "}
        <code>*.shop.example</code>. Without any it goes nowhere.
      </small>
    </label>
  );
}
