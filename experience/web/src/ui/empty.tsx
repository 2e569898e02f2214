import type { ReactNode } from "react";
import "./empty.css";

/** What stands where nothing is yet: says what will be here and how it comes. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <p className="empty-title">{title}</p>
      {children && <p>{children}</p>}
    </div>
  );
}

/** Quiet place holders while a list loads. */
export function Loading({ lines = 3, what }: { lines?: number; what: string }) {
  return (
    <div className="loading" role="status">
      <span className="hidden-text">Loading {what}…</span>
      {Array.from({ length: lines }, (_, line) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the bars are all alike
        <div key={line} className="loading-bar" />
      ))}
    </div>
  );
}
