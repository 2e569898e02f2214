import { useState } from "react";
import { Icon } from "./icon";
import "./value.css";

type Row = Record<string, unknown>;

const MOST_ROWS = 100;
const MOST_LETTERS = 20_000;

/** A value as its shape asks for: rows of records as a table, a record as a list, text as text, the rest as JSON. */
export function Value({ value }: { value: unknown }) {
  const rows = asRows(value);
  if (rows) return <Table rows={rows} />;
  if (isFile(value)) return <StoredFile file={value} />;
  if (isRecord(value) && Object.keys(value).length)
    return (
      <dl className="value-list">
        {Object.entries(value).map(([name, part]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <Value value={part} />
            </dd>
          </div>
        ))}
      </dl>
    );
  if (typeof value === "string") return <span className="value-text">{shorten(value)}</span>;
  return <code className="value-text">{shorten(JSON.stringify(value, null, 2) ?? "")}</code>;
}

type FileValue = { artifact_id: string; name: string; media_type: string };

function isFile(value: unknown): value is FileValue {
  return isRecord(value) && ["artifact_id", "name", "media_type"].every((key) => typeof value[key] === "string");
}

/** A stored file that a node handed out: a picture is shown small, anything else by its name. */
function StoredFile({ file }: { file: FileValue }) {
  const address = `/api/artifact/${encodeURIComponent(file.artifact_id)}`;
  return (
    <a className="value-file" href={address} download={file.name}>
      {file.media_type.startsWith("image/") && <img src={address} alt="" loading="lazy" />}
      <span>{file.name}</span>
    </a>
  );
}

function Table({ rows }: { rows: readonly Row[] }) {
  const [isWhole, setWhole] = useState(false);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const shown = isWhole ? rows : rows.slice(0, MOST_ROWS);
  return (
    <div className="value-table">
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, index) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows of a result have no other identity
            <tr key={index}>
              {columns.map((column) => (
                <td key={column}>{cell(row[column])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {shown.length < rows.length && (
        <button type="button" className="button small" onClick={() => setWhole(true)}>
          Show all {rows.length} rows
        </button>
      )}
    </div>
  );
}

/** Copies the value as JSON. */
export function CopyButton({ value }: { value: unknown }) {
  const [isDone, setDone] = useState(false);
  async function copy(): Promise<void> {
    await navigator.clipboard.writeText(JSON.stringify(value, null, 2));
    setDone(true);
    window.setTimeout(() => setDone(false), 2000);
  }
  return (
    <button type="button" className="button small plain" onClick={copy}>
      <Icon name={isDone ? "check" : "file"} size={15} />
      <span aria-live="polite">{isDone ? "Copied" : "Copy JSON"}</span>
    </button>
  );
}

/** Rows, if the value is a list of flat records. */
export function asRows(value: unknown): readonly Row[] | null {
  if (!Array.isArray(value) || !value.length || !value.every(isRecord)) return null;
  return value.every((row) => Object.values(row).every((part) => typeof part !== "object" || part === null))
    ? value
    : null;
}

function isRecord(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function cell(value: unknown): string {
  return value === null || value === undefined ? "" : String(value);
}

function shorten(text: string): string {
  return text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS)}…` : text;
}
