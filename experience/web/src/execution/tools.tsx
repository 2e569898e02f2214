import type { ToolEvent } from "../api/nouns";
import { useToolEvents } from "../api/tools";
import { useMayAudit } from "../shell/me";
import { Icon, type IconName } from "../ui/icon";
import { clock } from "../ui/time";
import { Trouble } from "../ui/trouble";
import { duration } from "../ui/words";
import { size } from "./address";

interface ToolCallsProps {
  executionId: string;
  nodeId: string;
  isOver: boolean;
}

/** Which tools a node called and what came of it, for who may read the audit trail; nothing for others. */
export function ToolCalls({ executionId, nodeId, isOver }: ToolCallsProps) {
  const events = useToolEvents(executionId, useMayAudit(), isOver);
  // newest first on the wire; beside the attempts they are read from the first on
  const calls = events.data?.items.filter((event) => event.node_id === nodeId).reverse() ?? [];
  const isCut = Boolean(events.data?.next_cursor);
  if (!calls.length && !isCut && !events.error) return null;
  return (
    <section>
      <h3>Tools called</h3>
      {events.error && <Trouble error={events.error} />}
      <ol className="tool-calls">
        {calls.map((event) => (
          <ToolCall key={event.event_id} event={event} />
        ))}
      </ol>
      {isCut && <p className="soft">Of this execution only the latest {events.data?.items.length} calls are shown.</p>}
    </section>
  );
}

function ToolCall({ event }: { event: ToolEvent }) {
  const { tone, icon, word } = look(event.outcome);
  return (
    <li>
      <span className={`chip ${tone}`}>
        <Icon name={icon} size={14} />
        {word}
      </span>
      <span className="tool-call-what">
        <b>{event.tool}</b> <span className="mono">{event.what}</span>
        <span className="soft">
          {clock(Date.parse(event.at))} · sent {size(event.sent)} · got {size(event.received)}
        </span>
      </span>
      <span className="soft numbers">{duration(event.seconds * 1000)}</span>
    </li>
  );
}

function look(outcome: string): { tone: string; icon: IconName; word: string } {
  if (outcome === "ok") return { tone: "good", icon: "check", word: "Ok" };
  if (outcome === "cancelled") return { tone: "halt", icon: "stop", word: "Stopped" };
  return { tone: "bad", icon: "cross", word: outcome.replaceAll("_", " ") };
}
