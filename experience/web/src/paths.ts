// The page's addresses, as wouter writes patterns. The build leaves them in paths.json, where the server reads which
// addresses are the page's: it answers every other one with 404.

/** Open to everybody. */
export const OUTSIDE = ["/sign-in", "/enter"] as const;

/** Behind the door: who is not signed in is asked to. */
export const INSIDE = ["/", "/executions", "/executions/:id", "/credentials", "/dead-letters"] as const;

export const PATHS: readonly string[] = [...OUTSIDE, ...INSIDE];
