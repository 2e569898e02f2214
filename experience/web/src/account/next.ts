/** Where to go after signing in: a path on this origin, whatever the address says. */
export function safeNext(wanted: string | null | undefined): string {
  if (!wanted?.startsWith("/") || /^\/[/\\]/.test(wanted) || hasControl(wanted) || /^\/(sign-in|enter)\b/.test(wanted))
    return "/";
  return wanted;
}

function hasControl(text: string): boolean {
  return [...text].some((letter) => letter < " " || letter === "\\");
}

/** The sign-in page's address that comes back here. */
export function signInAddress(here: string): string {
  const next = safeNext(here);
  return next === "/" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(next)}`;
}
