import { Route, Switch } from "wouter";
import { EnterPage } from "./account/enter";
import { SignInPage } from "./account/sign-in";
import { CredentialsPage } from "./credentials/page";
import { DeadLettersPage } from "./dead-letters/page";
import { ExecutionPage } from "./execution/page";
import { ExecutionsPage } from "./executions/page";
import { HomePage } from "./home/page";
import { LostPage } from "./shell/lost";
import { Shell } from "./shell/shell";

/** Every page by its path. */
export function App() {
  return (
    <Switch>
      <Route path="/sign-in" component={SignInPage} />
      <Route path="/enter" component={EnterPage} />
      <Route>
        <Shell>
          <Switch>
            <Route path="/" component={HomePage} />
            <Route path="/executions" component={ExecutionsPage} />
            <Route path="/executions/:id">{({ id }) => <ExecutionPage key={id} id={id} />}</Route>
            <Route path="/credentials" component={CredentialsPage} />
            <Route path="/dead-letters" component={DeadLettersPage} />
            <Route component={LostPage} />
          </Switch>
        </Shell>
      </Route>
    </Switch>
  );
}
