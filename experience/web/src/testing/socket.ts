// A WebSocket whose server is the test.
import { vi } from "vitest";

export class ScriptedSocket {
  static opened: ScriptedSocket[] = [];

  onmessage: ((message: { data: string }) => void) | null = null;
  onclose: ((close: { code: number; reason: string }) => void) | null = null;
  isDropped = false;
  readonly query: URLSearchParams;

  constructor(readonly url: string) {
    this.query = new URL(url).searchParams;
    ScriptedSocket.opened.push(this);
  }

  /** The page closes. */
  close(): void {
    this.isDropped = true;
  }

  /** The server sends. */
  send(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The server closes. */
  end(code: number, reason = ""): void {
    this.onclose?.({ code, reason });
  }
}

/** Every WebSocket that the page opens from now on. */
export function scriptSockets(): ScriptedSocket[] {
  ScriptedSocket.opened = [];
  vi.stubGlobal("WebSocket", ScriptedSocket);
  return ScriptedSocket.opened;
}

/** The latest of them. */
export function latest(sockets: readonly ScriptedSocket[]): ScriptedSocket {
  const socket = sockets.at(-1);
  if (!socket) throw new Error("no WebSocket was opened");
  return socket;
}
