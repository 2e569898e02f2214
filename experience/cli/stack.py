"""`stagedoor up`: the whole product as real processes on one port, from start to end."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from experience.cli.console import Console
from experience.cli.data_dir import DEFAULT_DATA, DataDir
from experience.cli.failure import StackError
from experience.cli.ports import LOOPBACK, find_free_ports, find_holder, find_next_free, is_free
from experience.cli.postgres import find_socket_dir, prepare_cluster
from experience.cli.readiness import DISPENSABLE, probe_readiness
from experience.cli.schema import fingerprint_schema
from experience.cli.services import Plan, Ports, Programs
from experience.cli.supervisor import StopRequested, Supervisor
from traefik.configuration import Profile
from traefik.files import write_local
from traefik.routes import Tier

if TYPE_CHECKING:
    from experience.cli.first_visit import Visit

DEFAULT_PORT = 8080
POSTGRES_TIMEOUT_S = 60.0
MIGRATION_TIMEOUT_S = 300.0
READY_TIMEOUT_S = 120.0
PATIENCE_S = 8.0
"""After this a person is told what is being waited for."""
ECHO_S = 1.0
"""`uv run` and timeout(1) pass a signal on that the terminal has sent us as well: that one shows no impatience."""
_SOMEBODY = "another program"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for on the command line."""

    port: int | None
    """None means the default one, or the next that is free."""
    data: Path
    with_demo: bool = True
    verbose: bool = False
    """Whether the terminal shows routine lines too."""
    profile: Profile = Profile.DEFAULT
    programs: Programs = field(default_factory=Programs)


def run_stack(wish: Wish, console: Console) -> int:
    """Bring the stack up, keep it until it is asked to stop, end all of it. Returns the exit status.

    0 when it ended because somebody wanted it to, 1 when it could not start or a process of it ended by itself.
    """
    data = DataDir(wish.data.resolve())
    try:
        if wish.port is not None and not data.root.exists():
            _refuse_used(wish.port)  # before there is a folder that somebody has to delete again
        data.make()
        with data.lock() as lock, _supervise(data, console) as supervisor:
            _run(wish, data, lock, supervisor, console)
    except StopRequested:
        console.say("Stopped.")
    except StackError as failure:
        console.complain(failure.problem, failure.way_out)
        return 1
    return 0


@contextmanager
def _supervise(data: DataDir, console: Console) -> Iterator[Supervisor]:
    """A supervisor whose processes all end with the block. A second signal ends them without patience."""
    supervisor = Supervisor(console, data.logs)
    heard_at = 0.0

    def hear(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard_at
        if supervisor.stop_requested:
            supervisor.in_hurry = time.monotonic() - heard_at > ECHO_S
            return
        heard_at, supervisor.stop_requested = time.monotonic(), True
        raise StopRequested  # out of whatever is being waited for; where it gets lost, the next `check` raises it again

    before = {number: signal.signal(number, hear) for number in STOP_SIGNALS}
    try:
        yield supervisor
    except StopRequested:
        console.say("Stopping …")
        raise
    finally:
        supervisor.stop_requested = True
        supervisor.stop()
        shutil.rmtree(find_socket_dir(data.postgres), ignore_errors=True)  # a server that was killed leaves its socket
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(wish: Wish, data: DataDir, lock: int, supervisor: Supervisor, console: Console) -> NoReturn:
    started = time.monotonic()
    console.hides_routine = not wish.verbose
    ports = _choose_ports(wish, data, console)
    admin = data.ensure_admin(os.environ)
    if not data.postgres.exists():
        console.say("First start: making the database …")
    cluster = prepare_cluster(data.postgres)
    plan = Plan(data=data, cluster=cluster, ports=ports, keys=data.ensure_keys(), admin=admin, programs=wish.programs)
    console.say("Starting PostgreSQL and Traefik …")
    _start_ground(plan, wish.profile, lock, supervisor)
    _migrate(plan, supervisor, console)
    console.say("Starting Runtime and Experience …")
    for service in plan.plan_tiers():
        supervisor.start(service)
    _wait_until_ready(ports, supervisor, console)
    _announce(plan, started, console)
    while True:
        supervisor.check()
        time.sleep(0.2)


def _start_ground(plan: Plan, profile: Profile, lock: int, supervisor: Supervisor) -> None:
    """The database, and beside it what does not need it. Returns when the database can be used."""
    postgres = supervisor.start(plan.plan_postgres(lock))
    servers = {
        Tier.EXPERIENCE: (f"http://{LOOPBACK}:{plan.ports.experience}",),
        Tier.RUNTIME: (f"http://{LOOPBACK}:{plan.ports.runtime}",),
    }
    address = f"{LOOPBACK}:{plan.ports.web}"
    supervisor.start(plan.plan_traefik(write_local(plan.data.traefik, address, profile, servers)))
    shop = plan.plan_shop()
    if shop:
        supervisor.start(shop)
    try:
        plan.cluster.wait_until_accepting(postgres.process, POSTGRES_TIMEOUT_S)
    except StackError:
        supervisor.check()  # says the same with its last lines
        raise
    plan.cluster.ensure_database()


def _migrate(plan: Plan, supervisor: Supervisor, console: Console) -> None:
    """Both tiers' migrations, unless the database says that these very ones have run."""
    note = f"migrated {fingerprint_schema()}"
    if plan.cluster.read_note() != note:
        console.say("Bringing the schema up to date …")
        supervisor.run_jobs(plan.plan_migrations(), MIGRATION_TIMEOUT_S)
        plan.cluster.write_note(note)


def _choose_ports(wish: Wish, data: DataDir, console: Console) -> Ports:
    web = _choose_web_port(wish.port, console)
    experience, runtime, metrics, other = find_free_ports(4)
    shop = data.read_ports().get("shop", other)
    if not is_free(shop):
        shop = other
    # the shop's is taken again, so that workflows made for it go on working; the web's is for `stagedoor link`
    data.write_ports({"shop": shop, "web": web})
    return Ports(
        web=web, experience=experience, runtime=runtime, metrics=metrics, shop=shop if wish.with_demo else None
    )


def _choose_web_port(wanted: int | None, console: Console) -> int:
    port = wanted or DEFAULT_PORT
    if is_free(port):
        return port
    if wanted is not None:
        _refuse_used(port)
    holder = find_holder(port) or _SOMEBODY
    free = find_next_free(port + 1)
    if free is None:
        raise StackError(f"Port {port} is used by {holder}, and so are those after it", "Choose one with --port.")
    console.say(f"Port {port} is used by {holder}; taking {free}.")
    return free


def _refuse_used(port: int) -> None:
    if not is_free(port):
        holder = find_holder(port) or _SOMEBODY
        raise StackError(f"Port {port} is used by {holder}", "Stop that, or choose another port with --port.")


def _wait_until_ready(ports: Ports, supervisor: Supervisor, console: Console) -> None:
    """Ask through the front door: Traefik listens before it has routes, and its own /ping knows nothing of them."""
    started = time.monotonic()
    told = False
    while missing := probe_readiness(ports.web):
        supervisor.check()
        if missing.keys() <= DISPENSABLE:
            console.complain("\n".join(missing.values()))
            return
        waited = time.monotonic() - started
        words = ", ".join(f"{name}: {reason}" for name, reason in missing.items())
        if waited > READY_TIMEOUT_S:
            raise StackError(f"Not ready after {waited:.0f} s: {words}", "The lines above say more.")
        if waited > PATIENCE_S and not told:
            console.say(f"Still waiting: {words}")
            told = True
        time.sleep(0.1)


def _announce(plan: Plan, started: float, console: Console) -> None:
    # Imported late: this takes 0.5 s, while the processes of the stack come up.
    from contracts.errors import ApiError  # noqa: PLC0415
    from experience.cli.first_visit import Visit, prepare_visit  # noqa: PLC0415

    shop_url = f"http://{plan.ports.shop_host}" if plan.ports.shop_host else None
    try:
        visit = asyncio.run(prepare_visit(plan.ports.public_url, plan.admin, shop_url))
    except ApiError as failure:
        visit = Visit(plan.ports.public_url, problem=failure.detail)
    if visit.problem:
        console.complain(visit.problem)
    console.announce(describe_visit(visit, plan, time.monotonic() - started))


def describe_visit(visit: "Visit", plan: Plan, took_s: float) -> str:
    """The lines that a person should see when the stack is ready."""
    password = f"**{plan.admin.password}** (kept in {plan.data.admin_file})"
    password = password if plan.admin.generated else f"in {plan.data.admin_file}"
    rows = [
        ("Sign in", f"{plan.ports.public_url}/sign-in as {plan.admin.email}, password {password}"),
        ("Shop", f"http://{plan.ports.shop_host}, where the demo buys" if plan.ports.shop_host else ""),
        ("New link", describe_link_command(plan.data.root, Path(sys.argv[0]))),
        ("Data", f"{plan.data.root}"),
        ("Logs", f"{plan.data.logs}; here only warnings and errors, every line with --verbose"),
        ("Stop", "Ctrl-C; everything is kept for the next start"),
    ]
    what = "it signs you in" + (" and shows the demo at work" if visit.shows_demo else "")
    once = f"Open this link within {visit.valid_s // 60} minutes; {what}. It works once." if visit.valid_s else "Open:"
    lines = ["", f"**Stagedoor is ready** after {took_s:.1f} s. {once}", "", f"    **{visit.url}**", ""]
    return "\n".join([*lines, *(f"    {name:<8} {text}" for name, text in rows if text), ""])


def describe_link_command(root: Path, program: Path) -> str:
    """What to type, in the folder where `up` was typed, for another link to the stack on `root`.

    `program` is how `up` was called: after `make run` or `uv run` no shell finds the command by its name alone.
    """
    shown = "stagedoor"
    if program.name == shown and program.is_absolute() and program.is_relative_to(Path.cwd()):
        shown = str(program.relative_to(Path.cwd()))
    elif program.name == shown and not program.is_absolute():
        shown = str(program)
    chosen = [] if root == DEFAULT_DATA.resolve() else ["--data", str(root)]
    return shlex.join([shown, "link", *chosen])
