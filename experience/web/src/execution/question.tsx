import { type ReactNode, useId } from "react";
import { Link, useLocation } from "wouter";
import type { Answer, Question } from "../api/nouns";
import { isTaken, useAnswer } from "../api/recovery";
import { useMayWrite } from "../shell/me";
import { Icon } from "../ui/icon";
import { Trouble } from "../ui/trouble";
import "./question.css";

const WORDS: Record<Answer, readonly [label: string, meaning: string]> = {
  happened: ["It happened", "Its effect is there: the rest goes on behind it, and it does not run a second time."],
  run_again: ["Run it again", "Its effect is missing, or may come twice without harm: it runs once more."],
};

interface QuestionCardProps {
  executionId: string;
  question: Question;
  /** A way to the execution, where it is not on the page already. */
  children?: ReactNode;
  level?: 2 | 3;
  /** Somebody else was quicker: the list of questions will lose this one, and the word about it stays with the caller. */
  onTaken?: () => void;
}

/** What is said to whoever was second. */
export const TAKEN = "Somebody has answered this already, and a new execution goes on from there.";

/** What only a person can know, with what each answer does. */
export function QuestionCard({ executionId, question, children, level = 2, onTaken }: QuestionCardProps) {
  const [, go] = useLocation();
  const answer = useAnswer(executionId);
  const mayWrite = useMayWrite();
  const title = useId();
  const Title = level === 2 ? "h2" : "h3";
  const answered = isTaken(answer.error);
  return (
    <section className="question" aria-labelledby={title}>
      <Icon name="question" size={22} />
      <div>
        <Title id={title}>Did “{question.node_name}” happen?</Title>
        <p>{question.message}</p>
        {question.hint && <p className="soft">{question.hint}</p>}
        {answered ? (
          <p role="status" className="question-taken">
            {TAKEN} <Link href="/executions">All executions</Link>
          </p>
        ) : mayWrite ? (
          <ul className="question-answers">
            {question.answers.map((one) => (
              <li key={one}>
                <button
                  type="button"
                  className="button"
                  disabled={answer.isPending || answer.isSuccess}
                  aria-describedby={`${title}${one}`}
                  onClick={() =>
                    answer.mutate(one, {
                      onSuccess: (accepted) => go(`/executions/${accepted.execution_id}`),
                      onError: (error) => isTaken(error) && onTaken?.(),
                    })
                  }
                >
                  {WORDS[one][0]}
                </button>
                <span id={`${title}${one}`}>{WORDS[one][1]}</span>
              </li>
            ))}
          </ul>
        ) : (
          <p className="soft">Your role may watch, not answer.</p>
        )}
        {answer.error && !answered && <Trouble error={answer.error} />}
        {children}
      </div>
    </section>
  );
}
