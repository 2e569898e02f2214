import { useState } from "react";
import type { FoundShortcoming } from "../api/nouns";
import { useShortcomings } from "../api/shortcomings";
import { Icon } from "../ui/icon";
import "./shortcomings.css";

const TITLES: Record<FoundShortcoming["shortcoming"], string> = {
  browsers_exposed: "Browsers are not shut in",
  code_refused: "Nothing shuts code in",
  tenants_together: "Nothing insists on keeping tenants apart",
};
const DOCUMENTATION = "/api/docs#shape-Shortcoming";
const KEY = "stagedoor.dismissed";

/** Tells who runs the installation what is weaker than it should be. Put away, each comes back with the next session. */
export function Shortcomings({ mayRead }: { mayRead: boolean }) {
  const found = useShortcomings(mayRead);
  const [dismissed, setDismissed] = useState(readDismissed);
  const shown = found.data?.items.filter((one) => !dismissed.includes(name(one))) ?? [];
  if (!shown.length) return null;

  function dismiss(): void {
    const names = [...new Set([...dismissed, ...shown.map(name)])];
    setDismissed(names);
    keepDismissed(names);
  }

  return (
    <section className="shortcomings" aria-label="Weaker than it should be">
      <Icon name="warning" size={20} />
      <ul>
        {shown.map((one) => (
          <li key={name(one)}>
            <b>{TITLES[one.shortcoming] ?? one.shortcoming}.</b> {one.detail}
            {one.workers > 1 && <span className="soft"> So say {one.workers} workers.</span>}{" "}
            <a href={DOCUMENTATION}>What it needs</a>
          </li>
        ))}
      </ul>
      <button
        type="button"
        className="button plain square small"
        onClick={dismiss}
        title="Dismiss until the next session"
      >
        <Icon name="cross" size={16} />
        <span className="hidden-text">Dismiss until the next session</span>
      </button>
    </section>
  );
}

/** Other words are another shortcoming: it shows although one before it was put away. */
function name(one: FoundShortcoming): string {
  return `${one.shortcoming} ${one.detail}`;
}

function readDismissed(): readonly string[] {
  try {
    const kept: unknown = JSON.parse(window.sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.map(String) : [];
  } catch {
    return [];
  }
}

function keepDismissed(names: readonly string[]): void {
  try {
    window.sessionStorage.setItem(KEY, JSON.stringify(names));
  } catch {
    // a browser that stores nothing shows it again when the page is loaded again
  }
}
