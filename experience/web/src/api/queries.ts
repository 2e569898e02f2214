// What the page reads, by name; lists refresh themselves while somebody looks at them.
import {
  type InfiniteData,
  QueryCache,
  QueryClient,
  queryOptions,
  useInfiniteQuery,
  useMutation,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import type { components } from "../../generated/schema";
import { call } from "./call";
import { type ExecutionStatus, type ExecutionSummary, isFinal, type Me, type NodeType } from "./nouns";
import { isPassing, isSignedOut } from "./problem";

type ExecutionPage = components["schemas"]["Page_ExecutionSummary_"];

const BUSY_MS = 2_000;
const QUIET_MS = 10_000;
const PAGE_SIZE = 30;

/** The one client. A call that finds the login gone signs the page out, wherever it was made. */
export function createQueryClient(): QueryClient {
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({
      onError: (error) => {
        if (isSignedOut(error)) client.setQueryData(ME.queryKey, null);
      },
    }),
    defaultOptions: {
      queries: {
        retry: (failures, error) => isPassing(error) && failures < 3,
        retryDelay: (attempt) => Math.min(8_000, 500 * 2 ** attempt) * (0.5 + Math.random() / 2),
        staleTime: 5_000,
      },
      mutations: {
        retry: false,
        onError: (error) => {
          if (isSignedOut(error)) client.setQueryData(ME.queryKey, null);
        },
      },
    },
  });
  return client;
}

/** Who the server takes you for; null when for nobody. */
export const ME = queryOptions({
  queryKey: ["me"],
  queryFn: async ({ signal }): Promise<Me | null> => {
    try {
      return await call("get", "/api/auth/me", { signal });
    } catch (error) {
      if (isSignedOut(error)) return null;
      throw error;
    }
  },
  staleTime: 60_000,
});

/** Another person, or nobody: nothing that was read for the one before stays. */
export function forgetPerson(client: QueryClient): void {
  client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== ME.queryKey[0] });
}

/** Executions, newest first, page by page; fast while something on them still moves. */
export function useExecutions(filter: { status: ExecutionStatus | null; text: string }) {
  return useInfiniteQuery({
    queryKey: ["executions", filter],
    queryFn: ({ pageParam, signal }) => {
      const query = {
        limit: PAGE_SIZE,
        ...(filter.status && { status: filter.status }),
        ...(filter.text && { text: filter.text }),
        ...(pageParam && { cursor: pageParam }),
      };
      return call("get", "/api/execution", { query, signal });
    },
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    refetchInterval: ({ state }) => pace(state.data),
    placeholderData: (before) => before,
  });
}

function pace(data: InfiniteData<ExecutionPage> | undefined): number {
  const moving = data?.pages.some((page) => page.items.some((item) => !isFinal(item.status)));
  // somebody who has paged far back is reading, not watching
  return moving && data && data.pages.length < 4 ? BUSY_MS : QUIET_MS;
}

/** What Home shows: everything under way, even if it is old, and what ended last. */
export function useStage() {
  return useQuery({
    queryKey: ["stage"],
    queryFn: async ({ signal }) => {
      const asked: (ExecutionStatus | null)[] = [null, "running", "waiting", "paused", "pending"];
      const pages = await Promise.all(
        asked.map((status) =>
          call("get", "/api/execution", { query: { limit: status ? 20 : 16, ...(status && { status }) }, signal }),
        ),
      );
      const [newest, ...active] = pages.map((page) => page.items);
      const ended = (newest ?? []).filter((item) => isFinal(item.status)).slice(0, 8);
      return { ended, active: uniteActive([...active.flat(), ...(newest ?? [])]) };
    },
    refetchInterval: ({ state }) => (state.data?.active.length ? BUSY_MS : QUIET_MS / 2),
  });
}

function uniteActive(items: ExecutionSummary[]): ExecutionSummary[] {
  const byId = new Map(items.filter((item) => !isFinal(item.status)).map((item) => [item.execution_id, item]));
  return [...byId.values()].sort((one, other) => other.created_at.localeCompare(one.created_at));
}

/** Intents that wait for a person, or for Runtime to come back. */
export function usePendingIntents() {
  return useQuery({
    queryKey: ["pending"],
    queryFn: ({ signal }) => call("get", "/api/intent/pending", { query: { limit: 20 }, signal }),
    refetchInterval: ({ state }) => (state.data?.items.length ? BUSY_MS : QUIET_MS),
  });
}

export function useWorkflows() {
  return useQuery({
    queryKey: ["workflows"],
    queryFn: ({ signal }) => call("get", "/api/workflow", { query: { limit: 50 }, signal }),
    refetchInterval: QUIET_MS * 3,
  });
}

/** The document an execution runs: one immutable version, so it is read once. */
export function useWorkflowVersion(id: string | null, version: number | null) {
  return useQuery({
    queryKey: ["workflow", id, version],
    queryFn: ({ signal }) =>
      call("get", "/api/workflow/{workflow_id}", {
        path: { workflow_id: id ?? "" },
        query: version === null ? {} : { version },
        signal,
      }),
    enabled: id !== null,
    staleTime: Number.POSITIVE_INFINITY,
  });
}

/** The node catalogue; what of it can be run changes with what Runtime's workers find. */
export function useNodeTypes() {
  return useQuery({
    queryKey: ["node-types"],
    queryFn: ({ signal }) => call("get", "/api/node-types", { signal }),
    staleTime: QUIET_MS * 30,
    select: byType,
  });
}

// named, because an arrow in the hook would be new and so run again on every render
function byType(types: components["schemas"]["NodeTypes"]): ReadonlyMap<string, NodeType> {
  return new Map(types.items.map((type) => [type.type, type]));
}

/** Where an execution stands, with everything that the log does not say. */
export function useStatus(executionId: string, tenantId: string) {
  return useQuery({
    queryKey: ["status", executionId],
    queryFn: ({ signal }) =>
      call("get", "/api/execution/{execution_id}/status", {
        path: { execution_id: executionId },
        query: { tenant_id: tenantId, include_artifacts: true },
        signal,
      }),
    staleTime: 0,
  });
}

export function useRunWorkflow() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (wish: { workflowId: string; version: number | null; key: string }) =>
      call("post", "/api/workflow/{workflow_id}/run", {
        path: { workflow_id: wish.workflowId },
        body: { inputs: {}, ...(wish.version !== null && { version: wish.version }) },
        headers: { "Idempotency-Key": wish.key },
      }),
    // a lost answer is asked for again with the same key: it starts nothing twice
    retry: (failures, error) => isPassing(error) && failures < 3,
    onSuccess: () => client.invalidateQueries({ queryKey: ["stage"] }),
  });
}

export function useCancelExecution(executionId: string) {
  return useMutation({
    mutationFn: () =>
      call("post", "/api/execution/{execution_id}/cancel", {
        path: { execution_id: executionId },
        body: { reason: "by hand, on the page" },
      }),
    retry: (failures, error) => isPassing(error) && failures < 3,
  });
}

export function useCancelIntent() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (intentId: string) => call("post", "/api/intent/{intent_id}/cancel", { path: { intent_id: intentId } }),
    onSettled: () => client.invalidateQueries({ queryKey: ["pending"] }),
  });
}
