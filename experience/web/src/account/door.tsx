import type { ReactNode } from "react";
import { Wordmark } from "../shell/wordmark";
import "./door.css";

/** The pages before the door: one card in front of a door that stands ajar. */
export function Door({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="door">
      <div className="door-scene" aria-hidden="true">
        <div className="door-light" />
        <div className="door-frame">
          <div className="door-leaf" />
        </div>
        <div className="door-floor" />
      </div>
      <main className="door-card card" id="main">
        <Wordmark />
        <h1>{title}</h1>
        {children}
      </main>
    </div>
  );
}
