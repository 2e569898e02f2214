import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Redirect, useLocation, useSearch } from "wouter";
import { call } from "../api/call";
import { forgetPerson, ME } from "../api/queries";
import { useTitle } from "../ui/title";
import { Trouble } from "../ui/trouble";
import { Door } from "./door";
import { safeNext } from "./next";

/** Characters of a password at least, as `Register` in the contracts has it. */
const SHORTEST = 10;

interface Entered {
  email: string;
  password: string;
  displayName: string;
}

/** `/sign-in`: with an account, or by making one; an invitation in the address joins its tenant. */
export function SignInPage() {
  const search = new URLSearchParams(useSearch());
  const next = safeNext(search.get("next"));
  const invitation = search.get("invitation") ?? invitationInFragment();
  const [isNew, setIsNew] = useState(invitation !== null);
  const [, go] = useLocation();
  const client = useQueryClient();
  const me = useQuery(ME);
  const entry = useMutation({
    mutationFn: (entered: Entered) => (isNew ? register(entered, invitation) : logIn(entered)),
    onSuccess: async () => {
      forgetPerson(client);
      await client.fetchQuery({ ...ME, staleTime: 0 });
      go(next, { replace: true });
    },
  });
  useTitle(isNew ? "Create an account" : "Sign in");

  if (me.data && !entry.isPending && invitation === null) return <Redirect to={next} replace />;

  function submit(event: FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "");
    entry.mutate({ email: text("email"), password: text("password"), displayName: text("name") });
  }

  return (
    <Door title={isNew ? "Create an account" : "Sign in"}>
      <form onSubmit={submit} method="post">
        {isNew && <Field name="name" label="Your name" autoComplete="name" required={false} />}
        <Field name="email" label="Email" type="email" autoComplete="username" />
        <Field
          name="password"
          label="Password"
          type="password"
          autoComplete={isNew ? "new-password" : "current-password"}
          hint={isNew ? `At least ${SHORTEST} characters. Length is what counts.` : undefined}
          minLength={isNew ? SHORTEST : undefined}
        />
        {entry.error && <Trouble error={entry.error} />}
        <button className="button main" type="submit" disabled={entry.isPending}>
          {isNew ? "Create account" : "Sign in"}
        </button>
      </form>
      <p className="soft">
        {isNew ? "You have an account?" : "No account yet?"}{" "}
        <button
          type="button"
          className="link"
          onClick={() => {
            entry.reset();
            setIsNew(!isNew);
          }}
        >
          {isNew ? "Sign in" : "Create one"}
        </button>
      </p>
    </Door>
  );
}

function Field(props: {
  name: string;
  label: string;
  type?: string;
  autoComplete: string;
  hint?: string | undefined;
  minLength?: number | undefined;
  required?: boolean;
}) {
  const { label, hint, required = true, ...input } = props;
  return (
    <label className="field">
      <span>{label}</span>
      <input className="input" {...input} required={required} aria-describedby={hint && `${props.name}-hint`} />
      {hint && (
        <small id={`${props.name}-hint`} className="soft">
          {hint}
        </small>
      )}
    </label>
  );
}

function logIn({ email, password }: Entered) {
  return call("post", "/api/auth/login", { body: { email, password, tenant_id: null, transport: "cookie" } });
}

function register({ email, password, displayName }: Entered, invitation: string | null) {
  return call("post", "/api/auth/register", {
    body: { email, password, display_name: displayName, tenant_name: null, invitation, transport: "cookie" },
  });
}

/** Invitations travel in the fragment, which no server and no log ever sees. */
function invitationInFragment(): string | null {
  return new URLSearchParams(window.location.hash.slice(1)).get("invitation");
}
