"""`python -m experience.demo --port P`: serve the Prop Room on the loopback address."""

import argparse
import sys

import uvicorn

from experience.demo.app import make_app


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m experience.demo", description="The Prop Room, a shop to automate.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    sys.stdout.write(f"[info     ] The Prop Room is open at http://{asked.host}:{asked.port}\n")
    uvicorn.run(
        make_app(), host=asked.host, port=asked.port, log_level="warning", access_log=False, timeout_graceful_shutdown=2
    )


if __name__ == "__main__":
    main()
