import { defineConfig, mergeConfig } from "vitest/config";
import page from "./vite.config.ts";

// Apart from vite.config.ts, because an installation builds the page without the test tools.
export default mergeConfig(
  page,
  defineConfig({
    test: {
      environment: "jsdom",
      // jsdom is made once per worker and not once per file: a sixth of the time
      pool: "vmThreads",
      setupFiles: ["./src/testing/setup.ts"],
      restoreMocks: true,
      testTimeout: 120_000, // no measure of anything: it ends what hangs
    },
  }),
);
