import { createContext, useContext } from "react";
import type { Me } from "../api/nouns";

export const MeContext = createContext<Me | null>(null);

/** Who is signed in; only inside the shell, which shows nothing to nobody. */
export function useMe(): Me {
  const me = useContext(MeContext);
  if (!me) throw new Error("useMe outside of Shell");
  return me;
}

/** Whether this person may start things. */
export function useMayWrite(): boolean {
  return useMe().scopes.includes("execution:write");
}

/** Whether this person decides about executions that are not tried again by themselves. */
export function mayDecide(me: Me | null | undefined): boolean {
  return me?.scopes.includes("dead-letters") ?? false;
}

/** Whether this person may see which credentials there are. */
export function maySeeCredentials(me: Me | null | undefined): boolean {
  return me?.scopes.includes("credential:read") ?? false;
}

/** Whether this person keeps them, and says where they may go. */
export function mayWriteCredentials(me: Me): boolean {
  return me.scopes.includes("credential:write");
}

/** Whether this person may see which logins workflows have saved. */
export function maySeeProfiles(me: Me): boolean {
  return me.scopes.includes("browser-profile:read");
}

/** Whether this person may delete them. */
export function mayDeleteProfiles(me: Me): boolean {
  return me.scopes.includes("browser-profile:write");
}

/** Whether this person runs the installation. */
export function isOperator(me: Me | null | undefined): boolean {
  return me?.scopes.includes("installation") ?? false;
}

/** Whether this person may read what executions did, tool by tool. */
export function useMayAudit(): boolean {
  return useMe().scopes.includes("audit");
}

/** Whether this person may stop what runs; so may who is suspended and starts nothing more. */
export function useMayCancel(): boolean {
  return useMe().scopes.includes("execution:cancel");
}
