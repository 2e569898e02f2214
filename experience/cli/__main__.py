"""`stagedoor`: what a person types. Each command imports what it needs when it is called."""

# ruff: noqa: PLC0415  # typer alone takes a third of a second; `--help` should not pay for the rest

from importlib.metadata import version as read_version
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="stagedoor",
    help="Self-hosted browser automation with a front door that stays open.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they hold passwords
)


@app.command()
def up(
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Where to listen. By default 8080, or the next free one.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the database, keys, artifacts and logs.")] = Path(".stagedoor"),
    demo: Annotated[bool, typer.Option(help="Start the demo shop and a workflow that buys there.")] = True,
    hardened: Annotated[
        bool, typer.Option("--hardened", help="Give a request 60 s to arrive, instead of for ever.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show every line of every process, not only what went wrong.")
    ] = False,
) -> None:
    """Run the whole product on this machine: PostgreSQL, Traefik, Runtime, Experience and a demo shop."""
    from experience.cli.console import Console
    from experience.cli.stack import Wish, run_stack
    from traefik.configuration import Profile

    profile = Profile.HARDENED if hardened else Profile.DEFAULT
    wish = Wish(port=port, data=data, with_demo=demo, profile=profile, verbose=verbose)
    raise typer.Exit(run_stack(wish, Console()))


@app.command()
def link(
    data: Annotated[Path, typer.Option(help="Folder of the stack that runs.")] = Path(".stagedoor"),
) -> None:
    """Make a new link that signs you in, for a stack that runs already. The link alone goes to standard output."""
    import sys

    from experience.cli.console import Console
    from experience.cli.link import show_link

    raise typer.Exit(show_link(data, Console(sys.stderr), sys.stdout))


@app.command()
def doctor(
    data: Annotated[Path, typer.Option(help="Folder that `up` uses or will use.")] = Path(".stagedoor"),
) -> None:
    """Check what `up` needs on this machine, and say how to mend what is missing."""
    from experience.cli.console import Console
    from experience.cli.doctor import examine

    raise typer.Exit(examine(data, Console()))


@app.command()
def version() -> None:
    """Say which version this is."""
    typer.echo(read_version("stagedoor"))


def main() -> None:
    """Entry point of the `stagedoor` script."""
    app()


if __name__ == "__main__":
    main()
