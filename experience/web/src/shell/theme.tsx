import { create } from "zustand";
import { Icon, type IconName } from "../ui/icon";

type Theme = "auto" | "light" | "dark";

const KEY = "stagedoor.theme";
const ORDER: readonly Theme[] = ["auto", "light", "dark"];
const LOOK: Record<Theme, { icon: IconName; words: string }> = {
  auto: { icon: "auto", words: "Colours follow the system" },
  light: { icon: "sun", words: "Light colours" },
  dark: { icon: "moon", words: "Dark colours" },
};

const useTheme = create<{ theme: Theme }>(() => ({ theme: read() }));

/** Puts the chosen colours on the page; call it once before anything is drawn. */
export function applyTheme(theme: Theme = useTheme.getState().theme): void {
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
}

export function ThemeSwitch() {
  const theme = useTheme((state) => state.theme);
  const { icon, words } = LOOK[theme];
  return (
    <button type="button" className="button plain square" onClick={() => choose(after(theme))} title={words}>
      <Icon name={icon} />
      <span className="hidden-text">{words}. Change.</span>
    </button>
  );
}

function choose(theme: Theme): void {
  applyTheme(theme);
  useTheme.setState({ theme });
  try {
    window.localStorage.setItem(KEY, theme);
  } catch {
    // a browser that stores nothing keeps the choice until the page is left
  }
}

function after(theme: Theme): Theme {
  return ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length] ?? "auto";
}

function read(): Theme {
  try {
    const stored = window.localStorage.getItem(KEY);
    return ORDER.find((theme) => theme === stored) ?? "auto";
  } catch {
    return "auto";
  }
}
