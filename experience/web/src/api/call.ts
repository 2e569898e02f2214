import type { paths } from "../../generated/schema";
import { Refused, readProblem, unreachable } from "./problem";

type Method = "get" | "post" | "put" | "patch" | "delete";
type Operation<P extends keyof paths, M extends Method> = paths[P][M];
/** The paths that have this method: a path or method that the server doesn't declare does not compile. */
type PathsWith<M extends Method> = {
  [P in keyof paths]: Operation<P, M> extends { responses: unknown } ? P : never;
}[keyof paths];

type Json<T> = T extends { content: { "application/json": infer Body } } ? Body : undefined;
type Success<R> = { [Status in keyof R]: Status extends 200 | 201 | 202 | 204 ? Json<R[Status]> : never }[keyof R];
type Answer<O> = O extends { responses: infer R } ? Success<R> : never;

type Sent<O> = (O extends { parameters: { path: infer Path extends object } } ? { path: Path } : { path?: never }) &
  (O extends { parameters: { query: infer Query extends object } }
    ? { query: Query }
    : O extends { parameters: { query?: infer Query } }
      ? { query?: Query }
      : { query?: never }) &
  (O extends { requestBody: { content: { "application/json": infer Body } } }
    ? { body: Body }
    : O extends { requestBody?: { content: { "application/json": infer Body } } }
      ? { body?: Body }
      : { body?: never }) & { headers?: Record<string, string>; signal?: AbortSignal | undefined };

/** Longer than any endpoint's own deadline, so that the server's answer is the one that is shown. */
const DEADLINE_MS = 40_000;

/**
 * One request to the public API, typed by its declaration. The login travels as a cookie that no script can read.
 * Throws `Refused` with a problem document for every failure, the network's included.
 */
export async function call<M extends Method, P extends PathsWith<M>>(
  method: M,
  path: P,
  sent: Sent<Operation<P, M>>,
): Promise<Answer<Operation<P, M>>> {
  const loose = sent as { path?: object; query?: object; body?: unknown; headers?: object; signal?: AbortSignal };
  const response = await send(addressOf(path, loose.path, loose.query), {
    method: method.toUpperCase(),
    headers: { ...(loose.body === undefined ? {} : { "Content-Type": "application/json" }), ...loose.headers },
    body: loose.body === undefined ? null : JSON.stringify(loose.body),
    credentials: "same-origin",
    signal: AbortSignal.any([AbortSignal.timeout(DEADLINE_MS), ...(loose.signal ? [loose.signal] : [])]),
  });
  if (!response.ok) throw new Refused(await readProblem(response));
  if (response.status === 204) return undefined as Answer<Operation<P, M>>;
  return (await response.json()) as Answer<Operation<P, M>>;
}

/** The address of a call: path fields in place, absent query fields left out. */
export function addressOf(path: string, fields: object = {}, query: object = {}): string {
  const values = new Map(Object.entries(fields));
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(values.get(name))));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== "") search.set(name, String(value));
  return search.size ? `${filled}?${search}` : filled;
}

async function send(address: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(address, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error; // the asker has left
    throw new Refused(unreachable(error));
  }
}
