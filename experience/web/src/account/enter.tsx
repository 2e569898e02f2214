import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { call } from "../api/call";
import { forgetPerson, ME } from "../api/queries";
import { useTitle } from "../ui/title";
import { Trouble } from "../ui/trouble";
import { Door } from "./door";
import { safeNext } from "./next";

/** `/enter#<code>`: redeems a one-time link and goes on to where it leads. */
export function EnterPage() {
  const [, go] = useLocation();
  const next = safeNext(new URLSearchParams(useSearch()).get("next"));
  const [code] = useState(readCode);
  const client = useQueryClient();
  const { mutate, error } = useMutation({
    mutationFn: (wish: string) => call("post", "/api/auth/link/redeem", { body: { code: wish, transport: "cookie" } }),
    onSuccess: async () => {
      forgetPerson(client);
      await client.fetchQuery({ ...ME, staleTime: 0 });
      go(next, { replace: true });
    },
  });
  useTitle("Entering");
  const asked = useRef(false);
  useEffect(() => {
    if (!code || asked.current) return; // it works once
    asked.current = true;
    // it leaves the address bar and the history as it is used
    window.history.replaceState(null, "", window.location.pathname + window.location.search);
    mutate(code);
  }, [code, mutate]);

  return (
    <Door title={error || !code ? "This link opens nothing" : "Come in"}>
      {error ? <Trouble error={error} /> : !code && <p>The link is incomplete: the part after # is missing.</p>}
      {error || !code ? (
        <Link className="button main" href="/sign-in">
          Sign in instead
        </Link>
      ) : (
        <p role="status">The door is opening…</p>
      )}
    </Door>
  );
}

function readCode(): string {
  return decodeURIComponent(window.location.hash.slice(1));
}
