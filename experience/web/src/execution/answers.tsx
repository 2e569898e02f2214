import { useId } from "react";
import type { Answer } from "../api/nouns";

interface AnswersProps {
  nodes: readonly { id: string; name: string }[];
  given: Readonly<Record<string, Answer>>;
  onGive: (node: string, answer: Answer) => void;
}

const CHOICES: readonly (readonly [Answer, string])[] = [
  ["happened", "It happened"],
  ["run_again", "Run it again"],
];

/** Asks of each node whether it happened, where a retry can't know. */
export function Answers({ nodes, given, onGive }: AnswersProps) {
  const group = useId();
  if (!nodes.length) return null;
  return (
    <div className="answers" role="alert">
      <p>Only a person knows whether {nodes.length === 1 ? "this" : "these"} happened. Look, and say it here.</p>
      {nodes.map((node) => (
        <fieldset key={node.id}>
          <legend>{node.name}</legend>
          {CHOICES.map(([answer, label]) => (
            <label key={answer} className="choice">
              <input
                type="radio"
                name={`${group}${node.id}`}
                checked={given[node.id] === answer}
                onChange={() => onGive(node.id, answer)}
              />
              <span>{label}</span>
            </label>
          ))}
        </fieldset>
      ))}
    </div>
  );
}
