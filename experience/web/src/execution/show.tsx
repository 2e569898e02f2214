import { createContext, useContext } from "react";
import { useStore } from "zustand";
import type { Link } from "../stream/link";
import type { Show } from "../stream/store";
import type { ExecutionView } from "../stream/view";

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

/** A part of the connection's state. */
export function useLink<T>(select: (link: Link) => T): T {
  return useStore(useShow().link, select);
}
