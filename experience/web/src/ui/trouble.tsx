import type { ReactNode } from "react";
import { problemOf } from "../api/problem";
import { Icon } from "./icon";
import "./trouble.css";

/** A failure as the server told it: what failed, then the way out, then the id to report it with. */
export function Trouble({ error, children }: { error: unknown; children?: ReactNode }) {
  const problem = problemOf(error);
  return (
    <div className="trouble" role="alert">
      <Icon name="warning" size={20} />
      <div>
        <p className="trouble-detail">{problem.detail}</p>
        <p>{problem.hint}</p>
        {problem.faults.length > 0 && (
          <ul>
            {problem.faults.map((fault) => (
              <li key={`${fault.where} ${fault.rule}`}>
                <code>{fault.where}</code> {fault.detail}
              </li>
            ))}
          </ul>
        )}
        {problem.request_id && <p className="trouble-id">Request {problem.request_id}</p>}
        {children && <div className="trouble-acts">{children}</div>}
      </div>
    </div>
  );
}
