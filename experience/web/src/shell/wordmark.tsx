import "./wordmark.css";

/** The name with its door, light falling through. */
export function Wordmark() {
  return (
    <span className="wordmark">
      <svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
        <rect width="32" height="32" rx="7" className="wordmark-night" />
        <path d="M12.5 25.5V6.5h11v19z" className="wordmark-light" />
        <path d="M12.5 25.5h11L29 30H7z" className="wordmark-light" opacity=".45" />
        <path d="M12.5 6.5 7.5 4v23.5l5-2z" className="wordmark-leaf" />
        <circle cx="10.9" cy="16.4" r=".95" className="wordmark-light" />
      </svg>
      <span>Stagedoor</span>
    </span>
  );
}
