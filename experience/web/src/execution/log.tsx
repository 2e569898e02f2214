import { memo, useEffect, useRef, useState } from "react";
import type { LogLine } from "../stream/tell";
import { PAGE } from "../stream/view";
import { Icon } from "../ui/icon";
import { clock } from "../ui/time";
import { useView } from "./show";
import "./log.css";

type Level = LogLine["level"];
const RANK: Record<Level, number> = { debug: 0, info: 1, warning: 2, error: 3 };
const LEVELS: readonly { level: Level; words: string }[] = [
  { level: "debug", words: "Everything" },
  { level: "info", words: "Info and up" },
  { level: "warning", words: "Warnings and errors" },
  { level: "error", words: "Errors" },
];
/** Pages in the document at first and per press of "Show earlier": more only slow the browser down. */
const PAGES = 20;
const NEAR_END_PX = 24;

interface Filter {
  level: Level;
  nodeId: string | null;
}

interface LogPaneProps {
  selected: string | null;
  onSelect: (id: string) => void;
}

/** One log of all nodes, following its end until somebody scrolls back. */
export function LogPane({ selected, onSelect }: LogPaneProps) {
  const lines = useView((view) => view.lines);
  const name = useView((view) => (selected ? view.nodes[selected]?.name : null));
  const [level, setLevel] = useState<Level>("info");
  const [onlyNode, setOnlyNode] = useState(false);
  const [isFollowing, setFollowing] = useState(true);
  const filter = { level, nodeId: onlyNode ? selected : null };
  return (
    <section className="pane log" aria-labelledby="log-title">
      <header className="pane-bar">
        <h2 id="log-title">Log</h2>
        <span className="soft numbers">{lines.toLocaleString()}</span>
        <span className="pane-tools">
          {name && (
            <button
              type="button"
              className="button small log-node"
              aria-pressed={onlyNode}
              onClick={() => setOnlyNode(!onlyNode)}
            >
              Only {name}
            </button>
          )}
          <label>
            <span className="hidden-text">Level</span>
            <select
              className="input small"
              value={level}
              onChange={(event) => setLevel(event.currentTarget.value as Level)}
            >
              {LEVELS.map((one) => (
                <option key={one.level} value={one.level}>
                  {one.words}
                </option>
              ))}
            </select>
          </label>
          <button
            type="button"
            className="button small square"
            aria-pressed={isFollowing}
            title="Follow the end"
            onClick={() => setFollowing(!isFollowing)}
          >
            <Icon name="down" size={16} />
            <span className="hidden-text">Follow the end</span>
          </button>
        </span>
      </header>
      <Lines filter={filter} isFollowing={isFollowing} setFollowing={setFollowing} onSelect={onSelect} />
    </section>
  );
}

interface LinesProps {
  filter: Filter;
  isFollowing: boolean;
  setFollowing: (following: boolean) => void;
  onSelect: (id: string) => void;
}

function Lines({ filter, isFollowing, setFollowing, onSelect }: LinesProps) {
  const pages = useView((view) => view.log);
  const [limit, setLimit] = useState(PAGES);
  const box = useRef<HTMLDivElement>(null);
  const shown = pages.slice(-limit);
  const hidden = pages.length - shown.length;

  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines and another filter move the end
  useEffect(() => {
    if (isFollowing && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [pages, isFollowing, filter.level, filter.nodeId]);

  function notice(): void {
    const { scrollTop, scrollHeight, clientHeight } = box.current ?? { scrollTop: 0, scrollHeight: 0, clientHeight: 0 };
    setFollowing(scrollHeight - scrollTop - clientHeight < NEAR_END_PX);
  }

  const matches = shown.some((page) => page.some((line) => passes(line, filter)));
  return (
    <div
      className="log-lines"
      ref={box}
      onScroll={notice}
      role="log"
      aria-live="off"
      aria-label="Log lines"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
      tabIndex={0}
    >
      {hidden > 0 && (
        <button type="button" className="button small plain log-earlier" onClick={() => setLimit(limit + PAGES)}>
          Show earlier lines
        </button>
      )}
      {!matches && (
        <p className="log-none soft">{pages.length ? "No line matches." : "Lines appear as they are written."}</p>
      )}
      {shown.map((page) => (
        <LogPage key={page[0]?.seq} page={page} level={filter.level} nodeId={filter.nodeId} onSelect={onSelect} />
      ))}
    </div>
  );
}

interface LogPageProps extends Filter {
  page: readonly LogLine[];
  onSelect: (id: string) => void;
}

/** A hundred lines at most; only the last page changes while the log grows. */
const LogPage = memo(function LogPage({ page, level, nodeId, onSelect }: LogPageProps) {
  const lines = page.filter((line) => passes(line, { level, nodeId }));
  if (!lines.length) return null;
  return (
    <ol className={`log-page ${page.length === PAGE ? "is-full" : ""}`}>
      {lines.map((line) => (
        <Line key={line.seq} line={line} onSelect={onSelect} />
      ))}
    </ol>
  );
});

const Line = memo(function Line({ line, onSelect }: { line: LogLine; onSelect: (id: string) => void }) {
  return (
    <li className={`line is-${line.level}`}>
      <time dateTime={new Date(line.at).toISOString()}>{clock(line.at)}</time>
      {line.nodeId ? <NodeName id={line.nodeId} onSelect={onSelect} /> : <span className="line-node" />}
      <span className="line-message">
        {line.level !== "info" && <b>{line.level} </b>}
        {line.message}
      </span>
    </li>
  );
});

function NodeName({ id, onSelect }: { id: string; onSelect: (id: string) => void }) {
  const name = useView((view) => view.nodes[id]?.name ?? id);
  return (
    <button type="button" className="line-node" onClick={() => onSelect(id)}>
      {name}
    </button>
  );
}

function passes(line: LogLine, filter: Filter): boolean {
  return RANK[line.level] >= RANK[filter.level] && (filter.nodeId === null || line.nodeId === filter.nodeId);
}
