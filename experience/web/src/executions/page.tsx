import { useDeferredValue } from "react";
import { useLocation, useSearch } from "wouter";
import type { ExecutionStatus } from "../api/nouns";
import { useExecutions } from "../api/queries";
import { Loading } from "../ui/empty";
import { Icon } from "../ui/icon";
import { executionWord } from "../ui/status";
import { useTitle } from "../ui/title";
import { Trouble } from "../ui/trouble";
import { ExecutionTable } from "./table";

const STATUSES: readonly ExecutionStatus[] = [
  "running",
  "pending",
  "waiting",
  "paused",
  "completed",
  "failed",
  "cancelled",
  "budget_exceeded",
];

/** `/executions`: all of them, newest first; the filter is in the address, so that it can be sent to somebody. */
export function ExecutionsPage() {
  useTitle("Executions");
  const search = new URLSearchParams(useSearch());
  const [, go] = useLocation();
  const status = STATUSES.find((one) => one === search.get("status")) ?? null;
  const text = search.get("text") ?? "";
  const executions = useExecutions({ status, text: useDeferredValue(text) });
  const items = executions.data?.pages.flatMap((page) => page.items) ?? [];

  function filter(name: "status" | "text", value: string): void {
    if (value) search.set(name, value);
    else search.delete(name);
    go(search.size ? `/executions?${search}` : "/executions", { replace: true });
  }

  return (
    <>
      <div className="page-head">
        <h1 tabIndex={-1}>Executions</h1>
        <search className="filters">
          <label className="filters-text">
            <span className="hidden-text">Part of the name</span>
            <Icon name="search" size={16} />
            <input
              className="input"
              type="search"
              placeholder="Part of the name"
              maxLength={200}
              defaultValue={text}
              onChange={(event) => filter("text", event.currentTarget.value)}
            />
          </label>
          <label>
            <span className="hidden-text">Status</span>
            <select
              className="input"
              value={status ?? ""}
              onChange={(event) => filter("status", event.currentTarget.value)}
            >
              <option value="">Every status</option>
              {STATUSES.map((one) => (
                <option key={one} value={one}>
                  {executionWord(one)}
                </option>
              ))}
            </select>
          </label>
        </search>
      </div>
      {executions.error && (
        <Trouble error={executions.error}>
          <button type="button" className="button small" onClick={() => executions.refetch()}>
            Try again
          </button>
        </Trouble>
      )}
      {executions.isLoading && <Loading what="executions" lines={6} />}
      {executions.data && (
        <ExecutionTable items={items} empty={status || text ? "Nothing matches" : "Nothing has run yet"} />
      )}
      {executions.hasNextPage && (
        <button
          type="button"
          className="button executions-more"
          disabled={executions.isFetchingNextPage}
          onClick={() => executions.fetchNextPage()}
        >
          {executions.isFetchingNextPage ? "Loading…" : "Show older"}
        </button>
      )}
    </>
  );
}
