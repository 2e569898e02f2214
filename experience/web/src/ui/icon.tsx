// Own drawings on a 24 grid, stroked with the text's colour. Decorative: words stand beside them or in a label.
const DRAWINGS = {
  play: <path d="M8 5.5v13l10.5-6.5z" fill="currentColor" />,
  stop: <rect x="7" y="7" width="10" height="10" rx="1.5" fill="currentColor" />,
  check: <path d="m5.5 12.5 4.2 4.2L18.5 7.5" />,
  cross: <path d="m7 7 10 10M17 7 7 17" />,
  dash: <path d="M7 12h10" />,
  skip: <path d="m6 7 5 5-5 5m7-10 5 5-5 5" />,
  clock: (
    <>
      <circle cx="12" cy="12" r="8" />
      <path d="M12 7.5V12l3 2" />
    </>
  ),
  pause: <path d="M9 7v10m6-10v10" />,
  retry: <path d="M19 12a7 7 0 1 1-2-4.9M19 4v4h-4" />,
  chevron: <path d="m7 10 5 5 5-5" />,
  question: <path d="M9 9.2a3 3 0 1 1 4.6 2.5c-1 .7-1.6 1.2-1.6 2.5m0 2.8v.1M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18Z" />,
  warning: <path d="M12 4.5 3.8 19h16.4zM12 10v4.2m0 2.3v.1" />,
  globe: (
    <>
      <circle cx="12" cy="12" r="8" />
      <path d="M4 12h16M12 4c5 5 5 11 0 16-5-5-5-11 0-16" />
    </>
  ),
  browser: (
    <>
      <rect x="3.5" y="5" width="17" height="14" rx="2" />
      <path d="M3.5 9.5h17M6.5 7.3v.1m2.5-.1v.1" />
    </>
  ),
  click: <path d="m9.5 9.5 3.3 10 2.2-4.5 4.5-2.2zM9 3.5V6M3.5 9H6M5 5l1.8 1.8M13 5l-1.8 1.8M5 13l1.8-1.8" />,
  type: <path d="M3.5 8.5v-2h17v11h-17v-2M8 9.5v5M6.5 9.5h3m-3 5h3M13 12h4" />,
  choose: <path d="M4 6.5h16v11H4zM8 11l2 2 2-2m3 .5h2" />,
  wait: <path d="M7 4h10M7 20h10M8 4c0 5 3 6 4 8 1-2 4-3 4-8M8 20c0-5 3-6 4-8 1 2 4 3 4 8" />,
  code: <path d="m8.5 8-4 4 4 4m7-8 4 4-4 4M13.5 6l-3 12" />,
  text: <path d="M5 7V5.5h14V7M12 5.5v13m-2.5 0h5" />,
  list: <path d="M9 6.5h11M9 12h11M9 17.5h11M4.5 6.5h.1m-.1 5.5h.1m-.1 5.5h.1" />,
  split: <path d="M4 12h6l6-6h4m-3-3 3 3-3 3M10 12l6 6h4m-3-3 3 3-3 3" />,
  merge: <path d="M4 6h4l6 6h6m-3-3 3 3-3 3M4 18h4l6-6" />,
  camera: (
    <>
      <path d="M4 8h3.5L9 5.5h6L16.5 8H20v10.5H4z" />
      <circle cx="12" cy="13" r="3.2" />
    </>
  ),
  file: <path d="M6.5 3.5h7l4 4v13h-11zM13.5 3.5v4h4" />,
  download: <path d="M12 4v11m-4.5-4L12 15.5 16.5 11M5 19.5h14" />,
  back: <path d="m14.5 6-6 6 6 6" />,
  forward: <path d="m9.5 6 6 6-6 6" />,
  up: <path d="M12 19V5.5m-5 5 5-5 5 5" />,
  down: <path d="M12 5v13.5m-5-5 5 5 5-5" />,
  plus: <path d="M12 5.5v13M5.5 12h13" />,
  frame: <path d="M4.5 9V4.5H9M15 4.5h4.5V9M19.5 15v4.5H15M9 19.5H4.5V15" />,
  follow: <path d="M12 3v3m0 12v3M3 12h3m12 0h3M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z" />,
  sun: (
    <>
      <circle cx="12" cy="12" r="3.6" />
      <path d="M12 3.5v2m0 13v2m-8.5-8.5h2m13 0h2M6 6l1.4 1.4m9.2 9.2L18 18M18 6l-1.4 1.4M7.4 16.6 6 18" />
    </>
  ),
  moon: <path d="M19.5 14A8 8 0 0 1 10 4.5a8 8 0 1 0 9.5 9.5Z" />,
  auto: (
    <>
      <circle cx="12" cy="12" r="8" />
      <path d="M12 4v16a8 8 0 0 0 0-16Z" fill="currentColor" />
    </>
  ),
  leave: <path d="M13.5 5h-8v14h8M10.5 12h9.5m-3.5-3.5L20 12l-3.5 3.5" />,
  search: (
    <>
      <circle cx="10.5" cy="10.5" r="5.8" />
      <path d="m15 15 4.8 4.8" />
    </>
  ),
  spark: <path d="M12 4c.6 5 3 7.4 8 8-5 .6-7.4 3-8 8-.6-5-3-7.4-8-8 5-.6 7.4-3 8-8Z" />,
} as const;

export type IconName = keyof typeof DRAWINGS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg
      className="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {DRAWINGS[name]}
    </svg>
  );
}

/** Whether there is a drawing of that name; node types name theirs in the catalogue. */
export function isIcon(name: string): name is IconName {
  return name in DRAWINGS;
}
