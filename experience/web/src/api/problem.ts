import type { components } from "../../generated/schema";

export type Problem = components["schemas"]["Problem"];

/** A call that did not succeed, always as a problem document: what failed, and the way out. */
export class Refused extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.name = "Refused";
    this.problem = problem;
  }
}

/** Whether trying the same again soon makes sense. */
export function isPassing(error: unknown): boolean {
  return error instanceof Refused && ["unavailable", "timeout", "rate_limited"].includes(error.problem.code);
}

export function isSignedOut(error: unknown): boolean {
  return error instanceof Refused && error.problem.code === "unauthenticated";
}

export function isMissing(error: unknown): boolean {
  return error instanceof Refused && error.problem.code === "not_found";
}

/** Whatever was thrown, as a problem document. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  return made("internal", "Something went wrong in this page.", `Reload it; if it stays, report this: ${error}`);
}

/** The problem of an answer that is not a success; proxies may answer without a document. */
export async function readProblem(response: Response): Promise<Problem> {
  const found: unknown = await response.json().catch(() => null);
  if (isProblem(found)) return found;
  const code = response.status === 404 ? "not_found" : response.status < 500 ? "invalid" : "unavailable";
  return made(code, `The server answered ${response.status}.`, "Try again in a moment.", response.status);
}

/** The problem of a request that got no answer at all. */
export function unreachable(error: unknown): Problem {
  if (error instanceof DOMException && error.name === "TimeoutError")
    return made("timeout", "The server took too long to answer.", "Try again in a moment.");
  return made("unavailable", "The server can't be reached.", "Check that it runs and that you are online.");
}

function made(code: Problem["code"], detail: string, hint: string, status = 0): Problem {
  return {
    type: "about:blank",
    title: detail,
    status,
    detail,
    hint,
    code,
    request_id: "",
    faults: [],
    retry_after: null,
  };
}

function isProblem(value: unknown): value is Problem {
  return typeof value === "object" && value !== null && "code" in value && "detail" in value && "hint" in value;
}
