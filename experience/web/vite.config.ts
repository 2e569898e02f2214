import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";
import { PATHS } from "./src/paths.ts";

declare const process: { env: Record<string, string | undefined> };

// Where `npm run dev` finds the API: the address that `stagedoor up` prints.
const stack = process.env.STAGEDOOR_PUBLIC_URL ?? "http://localhost:8080";

/** Tells the server which addresses are the page's. */
const tellPaths: Plugin = {
  name: "tell-paths",
  generateBundle() {
    this.emitFile({ type: "asset", fileName: "paths.json", source: JSON.stringify(PATHS) });
  },
};

export default defineConfig({
  plugins: [react(), tellPaths],
  build: {
    // light-dark() and the rest of the style sheets as written; every browser since 2024 knows them
    cssTarget: ["chrome123", "firefox120", "safari17.5"],
    // the policy allows images from this origin; inlined ones would only hide from the cache
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        // libraries change rarely: a browser keeps them over many versions of the page
        codeSplitting: { groups: [{ name: "vendor", test: /node_modules/ }] },
      },
    },
  },
  server: {
    proxy: {
      // the server refuses writes and sockets of any other origin than its own
      "/api": { target: stack, ws: true, headers: { origin: stack } },
    },
  },
});
