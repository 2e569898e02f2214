"""`python -m tests.support.standin NAME COMMAND`: a tier that does nothing but answer, for tests of the supervisor.

What it should do badly is asked of it over HTTP (`/crash`, `/stubborn`), so that it happens when a test wants it.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading

PORTS = {"experience": "STAGEDOOR_EXPERIENCE_PORT", "runtime": "STAGEDOOR_RUNTIME_PORT"}


stubborn = threading.Event()


def end(_number: int, _frame: object) -> None:
    """On SIGTERM, unless told otherwise."""
    if not stubborn.is_set():
        os._exit(0)


class Handler(http.server.BaseHTTPRequestHandler):
    """Every path answers 200."""

    def do_GET(self) -> None:
        if self.path == "/crash":
            print("the last thing I saw was /crash", flush=True)
            os._exit(3)
        if self.path == "/stubborn":
            stubborn.set()
        body = json.dumps({"status": "ok", "checks": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Say nothing."""


def main() -> None:
    """Migrations end at once; a service starts a helper, as Runtime does, and answers."""
    signal.signal(signal.SIGTERM, end)
    name, *rest = sys.argv[1:]
    print(f"{name} {' '.join(rest)}", flush=True)
    if rest == ["migrate"]:
        return
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    port = int(os.environ[PORTS[name]] if name in PORTS else rest[-1])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
