import { cleanup, configure } from "@testing-library/react";
import { afterEach } from "vitest";

// what a test waits for comes at once or never: only a busy machine takes longer than the second that is the default
configure({ asyncUtilTimeout: 30_000 });

// What jsdom lacks and the canvas asks for.
class NoResizes {
  observe() {}
  unobserve() {}
  disconnect() {}
}
class NoMatrix {
  m22 = 1;
}
// assigned, not stubbed: tests take their own stubs away again, and these must stay
Object.assign(globalThis, {
  ResizeObserver: NoResizes,
  DOMMatrixReadOnly: NoMatrix,
  matchMedia: (query: string) => ({ matches: false, media: query, addEventListener() {} }),
});
Object.defineProperties(HTMLElement.prototype, {
  offsetWidth: { get: () => 200 },
  offsetHeight: { get: () => 60 },
});
Element.prototype.scrollTo = () => {};
Element.prototype.scrollBy = () => {};
window.scrollTo = () => {};

/** What only jsdom says: it knows neither <search> nor sizes. */
const HARMLESS = /is unrecognized in this browser|Received NaN/;

console.error = (...said: unknown[]) => {
  if (!HARMLESS.test(String(said[0]))) throw new Error(`console.error: ${said.map(String).join(" ")}`);
};

afterEach(() => {
  cleanup();
  localStorage.clear();
  sessionStorage.clear();
  window.history.replaceState(null, "", "/");
});
