// What executions used tools for: for who may read the audit trail.
import { useQuery } from "@tanstack/react-query";
import { call } from "./call";

const BUSY_MS = 2_000;
/** The most that one answer holds. */
const MOST = 200;

/** The latest calls of an execution's nodes; read again and again while it runs, and once more at its end. */
export function useToolEvents(executionId: string, mayRead: boolean, isOver: boolean) {
  return useQuery({
    queryKey: ["tool-events", executionId, isOver],
    queryFn: ({ signal }) =>
      call("get", "/api/admin/tool-events", { query: { execution_id: executionId, limit: MOST }, signal }),
    enabled: mayRead,
    refetchInterval: isOver ? false : BUSY_MS,
    placeholderData: (before) => before,
  });
}
