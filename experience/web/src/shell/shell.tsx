import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef } from "react";
import { Link, matchRoute, Redirect, useLocation, useRouter } from "wouter";
import { signInAddress } from "../account/next";
import { call } from "../api/call";
import type { Me } from "../api/nouns";
import { forgetPerson, ME } from "../api/queries";
import { INSIDE } from "../paths";
import { Announcer } from "../ui/announce";
import { Loading } from "../ui/empty";
import { Icon } from "../ui/icon";
import { Trouble } from "../ui/trouble";
import { Boundary } from "./boundary";
import { LostPage } from "./lost";
import { isOperator, MeContext, mayDecide, maySeeCredentials } from "./me";
import { Shortcomings } from "./shortcomings";
import { ThemeSwitch } from "./theme";
import { Wordmark } from "./wordmark";
import "./shell.css";

/** Everything behind the door: who you are, the ways around, and the page itself. */
export function Shell({ children }: { children: ReactNode }) {
  const me = useQuery(ME);
  const [here] = useLocation();
  const isPage = useIsPage();
  if (me.data === null && !isPage)
    return (
      <main className="shell-trouble" id="main">
        <Wordmark />
        <LostPage />
      </main>
    );
  if (me.data === null) return <Redirect to={signInAddress(here + window.location.search)} replace />;
  if (me.error && !me.data)
    return (
      <main className="shell-trouble" id="main">
        <Wordmark />
        <Trouble error={me.error}>
          <button type="button" className="button" onClick={() => me.refetch()}>
            Try again
          </button>
        </Trouble>
      </main>
    );
  return (
    <div className="shell">
      <a className="skip" href="#main">
        Skip to the page
      </a>
      {me.data?.insecure && (
        <p className="insecure" role="alert">
          <Icon name="warning" /> This installation runs on plain http: passwords and logins can be read on the way.
          Serve it over https.
        </p>
      )}
      <Shortcomings mayRead={isOperator(me.data)} />
      <header className="bar">
        <Link href="/" className="bar-home">
          <Wordmark />
        </Link>
        <nav aria-label="Pages">
          <NavLink href="/" here={here}>
            Home
          </NavLink>
          <NavLink href="/executions" here={here}>
            Executions
          </NavLink>
          {maySeeCredentials(me.data) && (
            <NavLink href="/credentials" here={here}>
              Credentials
            </NavLink>
          )}
          {mayDecide(me.data) && (
            <NavLink href="/dead-letters" here={here}>
              Dead letters
            </NavLink>
          )}
        </nav>
        <div className="bar-end">
          <ThemeSwitch />
          {me.data && <Account me={me.data} />}
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <FocusOnArrival here={here} />
        {me.data ? (
          <MeContext value={me.data}>
            <Boundary key={here}>{children}</Boundary>
          </MeContext>
        ) : (
          <Loading what="the page" />
        )}
      </main>
      <Announcer />
    </div>
  );
}

/** Whether there is a page at this address: nobody needs to sign in to hear that there is none. */
function useIsPage(): boolean {
  const { parser } = useRouter();
  const [here] = useLocation();
  return INSIDE.some((path) => matchRoute(parser, path, here)[0]);
}

function NavLink({ href, here, children }: { href: string; here: string; children: ReactNode }) {
  const isHere = href === "/" ? here === "/" : here.startsWith(href);
  return (
    <Link href={href} aria-current={isHere ? "page" : undefined}>
      {children}
    </Link>
  );
}

function Account({ me }: { me: Me }) {
  const client = useQueryClient();
  const leave = useMutation({
    mutationFn: () => call("post", "/api/auth/logout", { body: { refresh_token: null } }),
    onSuccess: () => {
      forgetPerson(client);
      client.setQueryData(ME.queryKey, null);
    },
  });
  const name = me.user?.display_name || me.user?.email || "Guest";
  return (
    <>
      <span className="bar-who" title={`${me.user?.email ?? "Guest"} · ${me.tenant.name} · ${me.role}`}>
        {name}
      </span>
      <button type="button" className="button plain square" onClick={() => leave.mutate()} title="Sign out">
        <Icon name="leave" />
        <span className="hidden-text">Sign out</span>
      </button>
    </>
  );
}

/** Moves the focus to the new page's heading, so that keyboard and screen reader arrive where the eyes do. */
function FocusOnArrival({ here }: { here: string }) {
  const first = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the address is what the effect is about
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    window.scrollTo(0, 0);
    const heading = document.querySelector<HTMLElement>("main h1");
    (heading ?? document.getElementById("main"))?.focus({ preventScroll: true });
  }, [here]);
  return null;
}
