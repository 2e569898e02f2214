"""The configuration on disk: rendered for a place, replaced without a moment in which a file is half written."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from traefik.compose import COMPOSE_SERVERS, Edition, build_compose_dynamic, build_compose_static
from traefik.configuration import DYNAMIC_FILE, STATIC_FILE, Place, Profile, build_dynamic, build_static, render
from traefik.routes import Tier

DYNAMIC_DIR = "dynamic"


def replace_file(path: Path, text: str) -> None:
    """Write `text` to `path` in one step for every reader.

    Traefik reloads on each change it is told of: of a file that is written in place it saw the first half, and of
    1,226 requests meanwhile 208 answered 404. The new file grows outside the watched folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(unfinished).chmod(0o644)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def write_dynamic(folder: Path, servers: Mapping[Tier, Sequence[str]]) -> None:
    """Put the routes to `servers` under `folder`; a Traefik that watches them takes them over."""
    replace_file(folder / DYNAMIC_DIR / DYNAMIC_FILE, render(build_dynamic(servers)))


def write_local(
    folder: Path, address: str, profile: Profile, servers: Mapping[Tier, Sequence[str]], *, watched: bool = False
) -> Path:
    """Both files of the local stack under `folder`, listening on `address`. Returns the static one, to start with.

    Its tiers have the same address as long as it runs, so that nobody has to watch for others.
    """
    place = Place(address=address, dynamic_dir=(folder / DYNAMIC_DIR).resolve(), grace="1s", watched=watched)
    static = folder / STATIC_FILE
    replace_file(static, render(build_static(place, profile)))
    write_dynamic(folder, servers)
    return static


def render_compose() -> dict[str, str]:
    """The files of deploy/traefik by their relative name: a static one per edition, and the routes as an example.

    The example has the tiers' names where `python -m traefik.follow` puts the addresses of their replicas.
    """
    files = {f"{edition.value}/{STATIC_FILE}": render(build_compose_static(edition)) for edition in Edition}
    files[f"{DYNAMIC_DIR}/{DYNAMIC_FILE}"] = render(build_compose_dynamic(COMPOSE_SERVERS))
    return files


def find_stale(folder: Path) -> list[str]:
    """The names of compose files under `folder` that differ from what the routes say."""
    return [
        name
        for name, text in render_compose().items()
        if not (folder / name).exists() or (folder / name).read_text() != text
    ]
