import { createContext, useContext } from "react";
import { createStore, type StoreApi, useStore } from "zustand";
import type { Failure, StepStatus } from "../api/nouns";
import { type Attempt, type Standing, standing } from "../stream/view";

/** What the canvas needs to know of an execution to light its cards. */
export interface Lights {
  nodes: Readonly<
    Record<
      string,
      {
        status: StepStatus;
        startedAt: number | null;
        endedAt: number | null;
        failure: Failure | null;
        attempts: readonly Attempt[];
      }
    >
  >;
}

const DARK = createStore<Lights>(() => ({ nodes: {} }));

/** The execution on this canvas; an editor has none, and its cards stay unlit. */
export const LightsContext = createContext<StoreApi<Lights>>(DARK);

/** The state of one node. Only that node's card renders when it changes. */
export function useLight(id: string): Lights["nodes"][string] | undefined {
  return useStore(useContext(LightsContext), (lights) => lights.nodes[id]);
}

export type Current = "idle" | "live" | "done" | "dead";

/** How a wire stands between its two nodes. */
export function useCurrent(source: string, target: string): Current {
  return useStore(useContext(LightsContext), ({ nodes }) => current(read(nodes[source]), read(nodes[target])));
}

function read(light: Lights["nodes"][string] | undefined): Standing | undefined {
  return light && standing(light);
}

export function current(source: Standing | undefined, target: Standing | undefined): Current {
  if (source === "failed" || source === "stopped" || source === "skipped" || target === "skipped") return "dead";
  if (source !== "success") return "idle";
  return target === "running" || target === "retrying" ? "live" : "done";
}
