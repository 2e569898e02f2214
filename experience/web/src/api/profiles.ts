// Browser profiles: logins that workflows have saved. No call brings back what is in one.
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { call } from "./call";

const PAGE_SIZE = 50;
const KEY = ["browser-profiles"];

export function useProfiles() {
  return useInfiniteQuery({
    queryKey: KEY,
    queryFn: ({ pageParam, signal }) =>
      call("get", "/api/browser-profile", {
        query: { limit: PAGE_SIZE, ...(pageParam && { cursor: pageParam }) },
        signal,
      }),
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
  });
}

export function useDeleteProfile(profileId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () =>
      call("delete", "/api/browser-profile/{browser_profile_id}", { path: { browser_profile_id: profileId } }),
    onSettled: () => client.invalidateQueries({ queryKey: KEY }),
  });
}
