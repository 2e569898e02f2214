import { create } from "zustand";

const useWords = create<{ words: string }>(() => ({ words: "" }));

/** Say something to people who listen to the page instead of looking at it. */
export function announce(words: string): void {
  useWords.setState({ words });
}

/** The one place that is read out; it must be in the page before its first words. */
export function Announcer() {
  const words = useWords((state) => state.words);
  return (
    <div className="hidden-text" role="status" aria-live="polite">
      {words}
    </div>
  );
}
