import { type CSSProperties, useEffect, useRef, useState } from "react";
import { isFinal } from "../api/nouns";
import type { Shot } from "../stream/view";
import { Icon } from "../ui/icon";
import { clock } from "../ui/time";
import { contentAddress } from "./address";
import { useView } from "./show";
import "./stage.css";

/** The stage: the latest picture of the browser, large, and a strip of all of them to go back in. */
export function StagePane({ onSelect }: { onSelect: (node: string) => void }) {
  const shots = useView((view) => view.shots);
  const isLit = useView((view) => view.status === "running");
  const [chosen, choose] = useState<string | null>(null);
  const latest = shots.at(-1);
  const shot = shots.find((one) => one.artifact.artifact_id === chosen) ?? latest;
  return (
    <section className={`pane stage ${isLit ? "is-lit" : ""}`} aria-label="Browser pictures">
      <div className="stage-set">{shot ? <Picture shot={shot} onSelect={onSelect} /> : <Curtain />}</div>
      {shots.length > 1 && <Strip shots={shots} shown={shot} onChoose={choose} isPinned={chosen !== null} />}
    </section>
  );
}

function Picture({ shot, onSelect }: { shot: Shot; onSelect: (node: string) => void }) {
  const { artifact } = shot;
  const shown = useLoaded(contentAddress(artifact));
  const node = useView((view) => (shot.nodeId ? view.nodes[shot.nodeId]?.name : null));
  const ratio = artifact.width && artifact.height ? artifact.width / artifact.height : 16 / 9;
  const failed = artifact.kind === "failure_screenshot";
  return (
    <figure className={`picture ${failed ? "is-failure" : ""}`} style={{ "--ratio": ratio } as CSSProperties}>
      <div className="picture-bar">
        <Icon name={failed ? "warning" : "globe"} size={14} />
        <span className="picture-url">{artifact.page_url ?? "about:blank"}</span>
      </div>
      <div className="picture-frame">
        {shown === "missing" && <p>This picture is no longer kept.</p>}
        {shown === null && <p>Loading the picture…</p>}
        {shown !== null && shown !== "missing" && (
          <img src={shown} alt={`The browser at ${artifact.page_url ?? "its page"}`} />
        )}
      </div>
      <figcaption>
        {failed ? "When it failed: " : ""}
        {shot.nodeId && node ? (
          <button type="button" className="link" onClick={() => shot.nodeId && onSelect(shot.nodeId)}>
            {node}
          </button>
        ) : (
          artifact.name
        )}{" "}
        <span className="numbers">{clock(Date.parse(artifact.created_at))}</span>
      </figcaption>
    </figure>
  );
}

const MOST_TRIES = 2;
const TRY_AGAIN_MS = 1500;

/** The address once its picture is there: until then the one before stays, so that nothing flickers. */
function useLoaded(address: string): string | "missing" | null {
  const [loaded, setLoaded] = useState<string | "missing" | null>(null);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    const image = new Image();
    let timer = 0;
    image.onload = () => setLoaded(address);
    image.onerror = () => {
      if (tries < MOST_TRIES) timer = window.setTimeout(() => setTries(tries + 1), TRY_AGAIN_MS);
      else setLoaded("missing");
    };
    image.src = address;
    return () => {
      window.clearTimeout(timer);
      image.onload = image.onerror = null;
    };
  }, [address, tries]);
  return loaded;
}

function Curtain() {
  const isOver = useView((view) => isFinal(view.status));
  return (
    <div className="curtain">
      <div className="curtain-words">
        <p className="curtain-title">{isOver ? "No pictures were taken" : "No picture yet"}</p>
        <p>A picture is taken where a “Screenshot” node runs, and where a node fails on a page.</p>
      </div>
    </div>
  );
}

interface StripProps {
  shots: readonly Shot[];
  shown: Shot | undefined;
  isPinned: boolean;
  onChoose: (id: string | null) => void;
}

function Strip({ shots, shown, isPinned, onChoose }: StripProps) {
  const strip = useRef<HTMLOListElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new picture is what moves the strip to its end
  useEffect(() => {
    if (!isPinned) strip.current?.scrollTo({ left: strip.current.scrollWidth });
  }, [shots.length, isPinned]);
  return (
    <div className="strip">
      <ol ref={strip} aria-label="Pictures in order">
        {shots.map((shot) => (
          <li key={shot.artifact.artifact_id}>
            <Thumb shot={shot} isShown={shot === shown} onChoose={onChoose} />
          </li>
        ))}
      </ol>
      {isPinned && (
        <button type="button" className="button small strip-latest" onClick={() => onChoose(null)}>
          Latest
        </button>
      )}
    </div>
  );
}

function Thumb({ shot, isShown, onChoose }: { shot: Shot; isShown: boolean; onChoose: (id: string) => void }) {
  const name = useView((view) => (shot.nodeId ? view.nodes[shot.nodeId]?.name : null)) ?? shot.artifact.name;
  return (
    <button
      type="button"
      className={`thumb ${shot.artifact.kind === "failure_screenshot" ? "is-failure" : ""}`}
      aria-pressed={isShown}
      title={name}
      onClick={() => onChoose(shot.artifact.artifact_id)}
      onKeyDown={(event) => moveAlong(event.key, event.currentTarget)}
    >
      <img src={contentAddress(shot.artifact)} alt={`After ${name}`} loading="lazy" decoding="async" />
    </button>
  );
}

/** Left and right walk along the strip. */
function moveAlong(key: string, from: HTMLElement): void {
  const item = from.closest("li");
  const next =
    key === "ArrowLeft" ? item?.previousElementSibling : key === "ArrowRight" ? item?.nextElementSibling : null;
  const thumb = next?.querySelector("button");
  thumb?.focus();
  thumb?.click();
}
