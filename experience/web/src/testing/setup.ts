import { cleanup } from "@testing-library/react";
import { afterEach, vi } from "vitest";

// What jsdom lacks and the canvas asks for.
class NoResizes {
  observe() {}
  unobserve() {}
  disconnect() {}
}
vi.stubGlobal("ResizeObserver", NoResizes);
vi.stubGlobal(
  "DOMMatrixReadOnly",
  class {
    m22 = 1;
  },
);
vi.stubGlobal("matchMedia", (query: string) => ({ matches: false, media: query, addEventListener() {} }));
Object.defineProperties(HTMLElement.prototype, {
  offsetWidth: { get: () => 200 },
  offsetHeight: { get: () => 60 },
});
Element.prototype.scrollTo = () => {};
window.scrollTo = () => {};

afterEach(() => {
  cleanup();
  localStorage.clear();
  window.history.replaceState(null, "", "/");
});
