// Going on after a stop: pause, resume, retry, a person's answer, and the executions nobody tries again by itself.
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { call } from "./call";
import type { Answer, Execution, RetryStart } from "./nouns";
import { isPassing, Refused } from "./problem";

const PAGE_SIZE = 30;
const LIST_MS = 10_000;

export interface RetryWish {
  startAt: RetryStart;
  nodeId: string | null;
  version: "same" | "latest";
  /** By node, for those of which only a person knows whether they happened. */
  answers: Readonly<Record<string, Answer>>;
}

/** Pause or resume; the answer is the execution as it stands then. */
export function useHold(executionId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (act: "pause" | "resume") => {
      const path = { execution_id: executionId };
      return act === "pause"
        ? call("post", "/api/execution/{execution_id}/pause", { path, body: { reason: "Paused on the page." } })
        : call("post", "/api/execution/{execution_id}/resume", { path });
    },
    retry: askAgain,
    onSuccess: (execution: Execution) => client.setQueryData(["status", executionId], execution),
    // it may have ended meanwhile: show how it stands
    onError: () => client.invalidateQueries({ queryKey: ["status", executionId] }),
  });
}

/** Do a finished execution once more. However often a wish is sent, it starts one. */
export function useRetry(executionId: string) {
  const key = useWishKey();
  return useMutation({
    mutationFn: (wish: RetryWish) =>
      call("post", "/api/execution/{execution_id}/retry", {
        path: { execution_id: executionId },
        body: { start_at: wish.startAt, node_id: wish.nodeId, version: wish.version, answers: { ...wish.answers } },
        headers: { "Idempotency-Key": key.of(wish) },
      }),
    retry: askAgain,
    onSettled: (_, error) => key.settle(error),
  });
}

/** Say what only a person can know; a new execution goes on from there. */
export function useAnswer(executionId: string) {
  const key = useWishKey();
  const client = useQueryClient();
  return useMutation({
    mutationFn: (answer: Answer) =>
      call("post", "/api/execution/{execution_id}/answer", {
        path: { execution_id: executionId },
        body: { answer },
        headers: { "Idempotency-Key": key.of(answer) },
      }),
    retry: askAgain,
    onSettled: (_, error) => {
      key.settle(error);
      client.invalidateQueries({ queryKey: ["pending"] });
    },
  });
}

/** Nodes that a retry has taken over from the execution it was made from. Read once it has begun: they come first. */
export function useTakenOver(executionId: string, isRetry: boolean, hasBegun: boolean): ReadonlySet<string> {
  const steps = useQuery({
    queryKey: ["taken-over", executionId],
    queryFn: ({ signal }) =>
      call("get", "/api/execution/{execution_id}/steps", { path: { execution_id: executionId }, signal }),
    enabled: isRetry && hasBegun,
    staleTime: Number.POSITIVE_INFINITY,
    select: reusedNodes,
  });
  return steps.data ?? NONE;
}

const NONE: ReadonlySet<string> = new Set();

// named, because an arrow in the hook would be new and so run again on every render
function reusedNodes(steps: { items: readonly { node_id: string; reused: boolean }[] }): ReadonlySet<string> {
  return new Set(steps.items.filter((step) => step.reused).map((step) => step.node_id));
}

export function useDeadLetters(isDecided: boolean) {
  return useInfiniteQuery({
    queryKey: ["dead-letters", isDecided],
    queryFn: ({ pageParam, signal }) =>
      call("get", "/api/admin/dead-letters", {
        query: { resolved: isDecided, limit: PAGE_SIZE, ...(pageParam && { cursor: pageParam }) },
        signal,
      }),
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
    refetchInterval: LIST_MS,
  });
}

/** One of them with its runs and suspects. */
export function useDeadLetter(executionId: string, isWanted: boolean) {
  return useQuery({
    queryKey: ["dead-letter", executionId],
    queryFn: ({ signal }) =>
      call("get", "/api/admin/dead-letters/{execution_id}", { path: { execution_id: executionId }, signal }),
    enabled: isWanted,
  });
}

export function useRetryDeadLetter(executionId: string) {
  const key = useWishKey();
  const client = useQueryClient();
  return useMutation({
    mutationFn: (answers: Readonly<Record<string, Answer>>) =>
      call("post", "/api/admin/dead-letters/{execution_id}/retry", {
        path: { execution_id: executionId },
        body: { answers: { ...answers } },
        headers: { "Idempotency-Key": key.of(answers) },
      }),
    retry: askAgain,
    onSettled: (_, error) => {
      key.settle(error);
      client.invalidateQueries({ queryKey: ["dead-letters"] });
    },
  });
}

export function useDiscardDeadLetter(executionId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (reason: string) =>
      call("post", "/api/admin/dead-letters/{execution_id}/discard", {
        path: { execution_id: executionId },
        body: { reason },
      }),
    retry: askAgain,
    onSettled: () => client.invalidateQueries({ queryKey: ["dead-letters"] }),
  });
}

/** Nodes of which a refused retry asks whether they happened. */
export function askedNodes(error: unknown): readonly string[] {
  if (!(error instanceof Refused)) return [];
  return error.problem.faults.flatMap((fault) =>
    fault.rule === "answer_needed" && fault.node_id ? [fault.node_id] : [],
  );
}

/** Whether somebody else was quicker, or the same person in another tab. */
export function isTaken(error: unknown): boolean {
  return error instanceof Refused && error.problem.code === "conflict";
}

function askAgain(failures: number, error: Error): boolean {
  return isPassing(error) && failures < 3;
}

/** One key per wish: a lost answer is asked for again with it, a refused wish or another one gets a new key. */
function useWishKey() {
  const kept = useRef<{ wish: string; key: string } | null>(null);
  return {
    of(wish: unknown): string {
      const now = JSON.stringify(wish);
      if (kept.current?.wish !== now) kept.current = { wish: now, key: crypto.randomUUID() };
      return kept.current.key;
    },
    settle(error: unknown): void {
      if (error && !isPassing(error)) kept.current = null;
    },
  };
}
