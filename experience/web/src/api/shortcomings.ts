// What protects less on this installation than it could: for its operators.
import { useQuery } from "@tanstack/react-query";
import { call } from "./call";

const AGAIN_MS = 60_000;

export function useShortcomings(mayRead: boolean) {
  return useQuery({
    queryKey: ["shortcomings"],
    queryFn: ({ signal }) => call("get", "/api/admin/shortcomings", { signal }),
    enabled: mayRead,
    refetchInterval: AGAIN_MS,
  });
}
