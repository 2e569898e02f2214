"""What `up` keeps between starts, in one folder: the database, keys, artifacts, logs, and who its first owner is."""

import base64
import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import TypeAdapter, ValidationError

from contracts.identity import Email, Password
from experience.cli.failure import StackError

DEFAULT_DATA = Path(".stagedoor")
LAST_PORT = 65_535
LOCK_WAIT_S = 5.0
"""How long the last processes of a stack that was killed may take to go."""

GENERATED_EMAIL = "owner@stagedoor.local"
EMAIL_VARIABLE = "STAGEDOOR_ADMIN_EMAIL"
PASSWORD_VARIABLE = "STAGEDOOR_ADMIN_PASSWORD"  # noqa: S105  # the name of a setting


@dataclass(frozen=True)
class Admin:
    """The first owner of the installation."""

    email: str
    password: str
    generated: bool = False
    """Whether this start made the password up, so that its person has not seen it yet."""


@dataclass(frozen=True)
class Keys:
    """Keys in files that this user alone can read: Ed25519 ones as PEM, and one that seals."""

    internal: Path
    """Signs Experience's calls to Runtime."""
    internal_public: Path
    token: Path
    """Signs users' access tokens and links."""
    seal: Path
    """Under this Runtime seals what its database must not show: base64 of 32 bytes a line."""


@dataclass(frozen=True)
class DataDir:
    """The folder's layout."""

    root: Path

    @property
    def postgres(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.root / "postgres"

    @property
    def traefik(self) -> Path:
        """Traefik's configuration."""
        return self.root / "traefik"

    @property
    def logs(self) -> Path:
        """One file per process, and the one of the start before."""
        return self.root / "logs"

    @property
    def artifacts(self) -> Path:
        """Screenshots and downloads."""
        return self.root / "artifacts"

    @property
    def scratch(self) -> Path:
        """Browser profiles while they live."""
        return self.root / "scratch"

    @property
    def admin_file(self) -> Path:
        """The first owner's address and password."""
        return self.root / "admin.json"

    @property
    def ports_file(self) -> Path:
        """Where the last start listened: the shop, to be there again, and the web for who looks for a running stack."""
        return self.root / "ports.json"

    def make(self) -> None:
        """Create what is not there."""
        try:
            if not self.root.exists():
                self.root.mkdir(parents=True, mode=0o700)
                (self.root / ".gitignore").write_text("*\n")  # it may lie in a checkout, and holds keys
            for folder in (self.logs, self.artifacts, self.scratch):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as problem:
            raise StackError(
                f"{self.root} cannot be used: {problem.strerror}", "Choose a folder of yours with --data."
            ) from problem

    def ensure_keys(self) -> Keys:
        """The stack's keys, made at the first start."""
        folder = self.root / "keys"
        folder.mkdir(mode=0o700, exist_ok=True)
        keys = Keys(folder / "internal.pem", folder / "internal.pub.pem", folder / "token.pem", folder / "seal.keys")
        for path in (keys.internal, keys.token):
            if not path.exists():
                pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                _write_secret(path, pem)
        if not keys.seal.exists():
            _write_secret(keys.seal, base64.b64encode(secrets.token_bytes(32)) + b"\n")
        public = load_pem_private_key(keys.internal.read_bytes(), None).public_key()
        _write_secret(keys.internal_public, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return keys

    def ensure_admin(self, environment: Mapping[str, str]) -> Admin:
        """Who owns the installation: from the environment, else as at the first start, else made up now."""
        email, password = environment.get(EMAIL_VARIABLE), environment.get(PASSWORD_VARIABLE)
        if bool(email) != bool(password):
            missing = PASSWORD_VARIABLE if email else EMAIL_VARIABLE
            raise StackError(f"{missing} is not set", f"Set both {EMAIL_VARIABLE} and {PASSWORD_VARIABLE}, or none.")
        if email and password:
            _check_owner(email, password)
            admin = Admin(email, password)
            if self.postgres.exists() and self._knows_admin():
                return admin  # the first owner is there already, and stays who the file says
        elif self.admin_file.exists():
            return self._read_admin()
        else:
            admin = Admin(GENERATED_EMAIL, secrets.token_urlsafe(12), generated=True)
        _write_secret(self.admin_file, json.dumps({"email": admin.email, "password": admin.password}).encode())
        return admin

    def find_admin(self, environment: Mapping[str, str]) -> Admin:
        """Who owns what is there already: from the environment, else as at the first start. Writes nothing."""
        email, password = environment.get(EMAIL_VARIABLE), environment.get(PASSWORD_VARIABLE)
        return Admin(email, password) if email and password else self._read_admin()

    def _knows_admin(self) -> bool:
        with contextlib.suppress(OSError, StackError):
            return bool(self._read_admin().email)
        return False

    def _read_admin(self) -> Admin:
        try:
            kept = json.loads(self.admin_file.read_text())
            return Admin(kept["email"], kept["password"])
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise StackError(
                f"{self.admin_file} cannot be read: {problem!r}",
                f"Set {EMAIL_VARIABLE} and {PASSWORD_VARIABLE} to the owner's; the file is written anew.",
            ) from problem

    def read_ports(self) -> dict[str, int]:
        """Ports that earlier starts used, by service; empty when there are none to read."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            kept = dict(json.loads(self.ports_file.read_text()))
            return {str(name): int(port) for name, port in kept.items() if 0 < int(port) <= LAST_PORT}
        return {}

    def write_ports(self, ports: Mapping[str, int]) -> None:
        """Remember `ports` for the next start."""
        _write_secret(self.ports_file, json.dumps(dict(ports)).encode())

    @contextmanager
    def lock(self) -> Iterator[int]:
        """Hold the folder; only one stack may use it.

        Yields the lock's file descriptor: a child that inherits it keeps the folder held until it is gone too.
        """
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._wait_for_lock(handle)
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield handle
        finally:
            os.close(handle)

    def is_in_use(self) -> bool:
        """Whether a stack holds the folder. Nobody else's number is taken for its: the lock itself is asked."""
        try:
            handle = os.open(self.root / "lock", os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as problem:
            raise StackError(
                f"{self.root} cannot be read: {problem.strerror}", "Ask as the user who started the stack."
            ) from problem
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def _wait_for_lock(self, handle: int) -> None:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip()
                if _is_alive(holder) or time.monotonic() > deadline:
                    raise StackError(
                        f"Another stack (pid {holder or 'unknown'}) is using {self.root}",
                        "`stagedoor link` makes a link to it. Or stop it, or start this one with another --data.",
                    ) from None
                time.sleep(0.1)
            else:
                return


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ValueError, ProcessLookupError):
        return False
    return True


def _check_owner(email: str, password: str) -> None:
    """Before anything is made for them."""
    try:
        TypeAdapter(Email).validate_python(email)
    except ValidationError as problem:
        raise StackError(f"{EMAIL_VARIABLE} is no address: {email!r}", "One looks like name@example.org.") from problem
    try:
        TypeAdapter(Password).validate_python(password)
    except ValidationError as problem:
        raise StackError(f"{PASSWORD_VARIABLE} is too short or too long", "Take 10 to 200 characters.") from problem


def _write_secret(path: Path, content: bytes) -> None:
    """In one step, so that a start that is killed meanwhile leaves the old file or the new one."""
    unfinished = path.with_name(f".{path.name}.new")
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(content)
    unfinished.replace(path)
