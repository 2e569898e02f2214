import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useStore } from "zustand";
import { ME, useStatus } from "../api/queries";
import { createShow, type Show } from "../stream/store";
import { type Watch, watch } from "../stream/watch";

/** Time between snapshots that the log asks for: a burst of failing nodes must not become a burst of requests. */
const SNAPSHOT_PAUSE_MS = 400;

export interface Watched {
  show: Show;
  /** Why there is no snapshot. */
  error: unknown;
  isLoading: boolean;
  retry: () => void;
}

/** Watches one execution for as long as the component lives: snapshot over HTTP, everything else from the stream. */
export function useWatched(executionId: string, tenantId: string): Watched {
  const [show] = useState(createShow);
  const [watching, setWatching] = useState<Watch | null>(null);
  const client = useQueryClient();
  const status = useStatus(executionId, tenantId);

  useEffect(() => {
    const started = watch(executionId, {
      apply: show.apply,
      take: show.take,
      forget: show.forget,
      show: (link) => show.link.setState(link, true),
      renew: async () => {
        try {
          return (await client.fetchQuery({ ...ME, staleTime: 0, retry: false })) !== null;
        } catch {
          return true; // not reachable is not signed out: the link tries again
        }
      },
    });
    setWatching(started);
    return () => started.stop();
  }, [executionId, show, client]);

  useEffect(() => {
    if (status.data) show.settle(status.data);
  }, [status.data, show]);

  const isBehind = useStore(show.view, (view) => view.wanted > view.known);
  const { refetch, dataUpdatedAt } = status;
  useEffect(() => {
    if (!isBehind || !dataUpdatedAt) return;
    const timer = window.setTimeout(() => refetch(), SNAPSHOT_PAUSE_MS);
    return () => window.clearTimeout(timer);
  }, [isBehind, refetch, dataUpdatedAt]);

  return {
    show,
    error: status.error,
    isLoading: status.isLoading,
    retry: () => {
      watching?.retry();
      status.refetch();
    },
  };
}
