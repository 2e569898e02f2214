"""`python -m traefik.follow`: keep Traefik's servers equal to what the tiers' names resolve to.

In containers a service's name resolves to the addresses of its running replicas. Traefik itself takes a name for one
server, whatever it resolves to, so this process asks the names and writes the routes anew whenever an answer changes.
When it is away nothing happens but that new replicas wait for it: Traefik keeps the routes it has, and leaves out those
that fail its health check.
"""

import argparse
import contextlib
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from traefik.compose import COMPOSE_SERVERS, PLAIN, TLS, build_compose_dynamic
from traefik.configuration import DYNAMIC_FILE, render
from traefik.files import replace_file
from traefik.routes import Tier

INTERVAL_S = 0.5

Servers = Mapping[Tier, tuple[str, ...]]
Resolve = Callable[[str], Sequence[str]]


def resolve_name(name: str) -> list[str]:
    """The IPv4 addresses of a name; none when nothing has it."""
    with contextlib.suppress(socket.gaierror):
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
        return sorted({str(address[0]) for *_, address in found})
    return []


def find_servers(wanted: Mapping[Tier, Sequence[str]], known: Servers, resolve: Resolve = resolve_name) -> Servers:
    """The replicas of each tier now; a name that nobody answers to keeps those it had.

    That name may only be unknown for a moment, and without any server the routes would be no better.
    """
    return {tier: _list_replicas(urls, resolve) or known.get(tier, ()) for tier, urls in wanted.items()}


def write_routes(folder: Path, servers: Servers, tls_host: str | None) -> None:
    """Put the routes to `servers` below `folder`, for each edition that is in use."""
    replace_file(folder / PLAIN / DYNAMIC_FILE, render(build_compose_dynamic(servers)))
    if tls_host is not None:
        replace_file(folder / TLS / DYNAMIC_FILE, render(build_compose_dynamic(servers, tls_host)))


def find_tls_host(public_url: str) -> str | None:
    """The host that a certificate is needed for; None for plain http."""
    parts = urlsplit(public_url)
    return parts.hostname if parts.scheme == "https" else None


def follow(folder: Path, tls_host: str | None) -> None:
    """Write the routes now and after each change, for ever."""
    known: Servers | None = None
    while True:
        found = find_servers(COMPOSE_SERVERS, known or {})
        if found != known:
            write_routes(folder, found, tls_host)
            known = found
            replicas = (f"{tier.value} {' '.join(urls) or 'nowhere'}" for tier, urls in found.items())
            sys.stdout.write(f"routes lead to {', '.join(replicas)}\n")
            sys.stdout.flush()
        time.sleep(INTERVAL_S)


def _list_replicas(urls: Sequence[str], resolve: Resolve) -> tuple[str, ...]:
    split = [urlsplit(url) for url in urls]
    return tuple(f"{one.scheme}://{address}:{one.port}" for one in split for address in resolve(one.hostname or ""))


def main() -> None:
    """Follow the names of compose's services."""
    parser = argparse.ArgumentParser(prog="python -m traefik.follow", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the folder that Traefik has its routes from")
    parser.add_argument("--public-url", default="", help="what people open; https asks for a certificate")
    asked = parser.parse_args()
    follow(asked.folder, find_tls_host(asked.public_url))


if __name__ == "__main__":
    main()
