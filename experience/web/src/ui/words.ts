// Times and texts as a person would say them. Pure.

/** Milliseconds as a person would say them: `< 0.1 s`, `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 50) return "< 0.1 s";
  if (ms < 10_000) return `${(Math.round(ms / 100) / 10).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Words that somebody has typed, as a sentence: with an end, where they have none. */
export function sentence(words: string): string {
  const said = words.trim();
  return /[.!?…]$/.test(said) ? said : `${said}.`;
}

/** The line of a message that says most: of a Python traceback the last, of everything else the first. */
export function gist(message: string): string {
  const lines = message.split("\n").filter((line) => line.trim());
  const said = lines[0]?.startsWith("Traceback") ? lines.at(-1) : lines[0];
  return said?.trim() ?? message;
}

/** How long ago, in words; older than a month as a date. */
export function ago(then: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - then) / 1000));
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86_400);
  if (days <= 30) return days === 1 ? "1 day ago" : `${days} days ago`;
  return DATE.format(then);
}

export const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
