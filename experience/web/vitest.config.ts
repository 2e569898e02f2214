import { defineConfig, mergeConfig } from "vitest/config";
import page from "./vite.config.ts";

// Apart from vite.config.ts, because an installation builds the page without the test tools.
export default mergeConfig(
  page,
  defineConfig({ test: { environment: "jsdom", setupFiles: ["./src/testing/setup.ts"], restoreMocks: true } }),
);
