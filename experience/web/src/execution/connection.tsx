import type { Phase } from "../stream/link";
import { useLink, useView } from "./show";

const WORDS: Record<Phase, string> = {
  connecting: "Connecting…",
  open: "Live",
  reconnecting: "Reconnecting…",
  ended: "Complete record",
  missing: "Not found",
  signed_out: "Signed out",
  refused: "Not connected",
};

/** Whether what is on the screen is the present: shown at all times, said aloud when it changes. */
export function Connection({ retry }: { retry: () => void }) {
  const phase = useLink((link) => link.phase);
  const detail = useLink((link) => link.detail);
  const isLoadingPast = useLink((link) => link.phase === "open" && link.head > link.after + 200);
  const seq = useView((view) => view.seq);
  return (
    <span className={`connection is-${phase}`} title={`${seq} events${detail ? ` · ${detail}` : ""}`}>
      <span role="status">
        <span className="connection-dot" aria-hidden="true" />
        {isLoadingPast ? "Catching up…" : WORDS[phase]}
      </span>
      {phase === "reconnecting" && (
        <button type="button" className="link" onClick={retry}>
          Try now
        </button>
      )}
      {phase === "refused" && <span>{detail ?? "The server would not open the stream. Reload the page."}</span>}
    </span>
  );
}
