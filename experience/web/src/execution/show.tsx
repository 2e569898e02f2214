import { createContext, useContext } from "react";
import { useStore } from "zustand";
import { useTakenOver } from "../api/recovery";
import type { Link } from "../stream/link";
import type { Show } from "../stream/store";
import type { ExecutionView } from "../stream/view";

/** Which execution it is. */
export const IdContext = createContext("");

export const ShowContext = createContext<Show | null>(null);

function useShow(): Show {
  const show = useContext(ShowContext);
  if (!show) throw new Error("outside of an execution's page");
  return show;
}

/** A part of the execution that this page shows; renders again only when that part changes. */
export function useView<T>(select: (view: ExecutionView) => T): T {
  return useStore(useShow().view, select);
}

/** Nodes that this retry has taken over; empty where it is none. */
export function useReused(): ReadonlySet<string> {
  const isRetry = useView((view) => view.retryOf !== null);
  const hasBegun = useView((view) => view.startedAt !== null);
  return useTakenOver(useContext(IdContext), isRetry, hasBegun);
}

/** A part of the connection's state. */
export function useLink<T>(select: (link: Link) => T): T {
  return useStore(useShow().link, select);
}
