import type { ComponentType } from "react";
import { Route, Switch, useParams } from "wouter";
import { EnterPage } from "./account/enter";
import { SignInPage } from "./account/sign-in";
import { CredentialsPage } from "./credentials/page";
import { DeadLettersPage } from "./dead-letters/page";
import { ExecutionPage } from "./execution/page";
import { ExecutionsPage } from "./executions/page";
import { HomePage } from "./home/page";
import { INSIDE, OUTSIDE } from "./paths";
import { LostPage } from "./shell/lost";
import { Shell } from "./shell/shell";

const OUTSIDE_PAGES: Record<(typeof OUTSIDE)[number], ComponentType> = {
  "/sign-in": SignInPage,
  "/enter": EnterPage,
};
const INSIDE_PAGES: Record<(typeof INSIDE)[number], ComponentType> = {
  "/": HomePage,
  "/executions": ExecutionsPage,
  "/executions/:id": OneExecution,
  "/credentials": CredentialsPage,
  "/dead-letters": DeadLettersPage,
};

/** Every page by its path. */
export function App() {
  return (
    <Switch>
      {OUTSIDE.map((path) => (
        <Route key={path} path={path} component={OUTSIDE_PAGES[path]} />
      ))}
      <Route>
        <Shell>
          <Switch>
            {INSIDE.map((path) => (
              <Route key={path} path={path} component={INSIDE_PAGES[path]} />
            ))}
            <Route component={LostPage} />
          </Switch>
        </Shell>
      </Route>
    </Switch>
  );
}

function OneExecution() {
  const { id } = useParams<{ id: string }>();
  return <ExecutionPage key={id} id={id} />;
}
