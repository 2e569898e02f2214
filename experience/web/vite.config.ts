import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

declare const process: { env: Record<string, string | undefined> };

// Where `npm run dev` finds the API: the address that `stagedoor up` prints.
const stack = process.env.STAGEDOOR_PUBLIC_URL ?? "http://localhost:8080";

export default defineConfig({
  plugins: [react()],
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
