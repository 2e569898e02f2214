// Credentials: their values go in with these calls, and no call brings one back.
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { call } from "./call";
import type { CreateCredential } from "./nouns";

const PAGE_SIZE = 50;
const KEY = ["credentials"];
// a mutation keeps what it was given for as long as it is kept itself
const FORGET = { gcTime: 0 };

export function useCredentials() {
  return useInfiniteQuery({
    queryKey: KEY,
    queryFn: ({ pageParam, signal }) =>
      call("get", "/api/credential", { query: { limit: PAGE_SIZE, ...(pageParam && { cursor: pageParam }) }, signal }),
    initialPageParam: "",
    getNextPageParam: (page) => page.next_cursor,
  });
}

export function useAddCredential() {
  const client = useQueryClient();
  return useMutation({
    ...FORGET,
    mutationFn: (body: CreateCredential) => call("post", "/api/credential", { body }),
    onSuccess: () => client.invalidateQueries({ queryKey: KEY }),
  });
}

export interface Change {
  name?: string;
  domains?: string[];
}

export function useChangeCredential(credentialId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (change: Change) =>
      call("patch", "/api/credential/{credential_id}", { path: { credential_id: credentialId }, body: change }),
    onSettled: () => client.invalidateQueries({ queryKey: KEY }),
  });
}

export function useReplaceValues(credentialId: string) {
  const client = useQueryClient();
  return useMutation({
    ...FORGET,
    mutationFn: (values: Record<string, string>) =>
      call("put", "/api/credential/{credential_id}/values", {
        path: { credential_id: credentialId },
        body: { values },
      }),
    onSettled: () => client.invalidateQueries({ queryKey: KEY }),
  });
}

export function useDeleteCredential(credentialId: string) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => call("delete", "/api/credential/{credential_id}", { path: { credential_id: credentialId } }),
    onSettled: () => client.invalidateQueries({ queryKey: KEY }),
  });
}
