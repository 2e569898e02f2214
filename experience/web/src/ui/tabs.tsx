import { type KeyboardEvent, type ReactNode, useId } from "react";
import "./tabs.css";

export interface Tab<Id extends string> {
  id: Id;
  label: string;
  count?: number;
  content: ReactNode;
  /** What the tab shows: another thing is read from its beginning. */
  thing?: string | null;
}

interface TabsProps<Id extends string> {
  label: string;
  tabs: readonly Tab<Id>[];
  chosen: Id;
  onChoose: (id: Id) => void;
}

/** Tabs as ARIA describes them: one stop for the Tab key, arrows between them. */
export function Tabs<Id extends string>({ label, tabs, chosen, onChoose }: TabsProps<Id>) {
  const prefix = useId();
  const shown = tabs.find((tab) => tab.id === chosen) ?? tabs[0];

  function move(event: KeyboardEvent): void {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step || !shown) return;
    const next = tabs[(tabs.indexOf(shown) + step + tabs.length) % tabs.length];
    if (!next) return;
    onChoose(next.id);
    document.getElementById(`${prefix}${next.id}`)?.focus();
  }

  if (!shown) return null;
  return (
    <>
      <div className="pane-bar tabs" role="tablist" aria-label={label} onKeyDown={move}>
        {tabs.map((tab) => (
          <button
            key={tab.id}
            id={`${prefix}${tab.id}`}
            type="button"
            role="tab"
            aria-selected={tab === shown}
            aria-controls={`${prefix}panel`}
            tabIndex={tab === shown ? 0 : -1}
            onClick={() => onChoose(tab.id)}
          >
            {tab.label}
            {!!tab.count && <span className="tabs-count numbers">{tab.count}</span>}
          </button>
        ))}
      </div>
      <div
        key={`${shown.id} ${shown.thing ?? ""}`}
        className="tab-panel"
        role="tabpanel"
        id={`${prefix}panel`}
        aria-labelledby={`${prefix}${shown.id}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a panel that scrolls must be reachable by keyboard
        tabIndex={0}
      >
        {shown.content}
      </div>
    </>
  );
}
