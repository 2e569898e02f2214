import type { Artifact } from "../api/nouns";

/** Where an artifact's bytes are; the login cookie opens it. */
export function contentAddress(artifact: Artifact): string {
  return `/api/artifact/${encodeURIComponent(artifact.artifact_id)}`;
}

/** Bytes as a person would say them. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
