"""Makes the secrets of the containers, and only those that are missing: the service `secrets` of docker-compose.yml.

Below the folder given are the volumes, one per reader, so that each container sees what it needs and nothing else:

    experience/   internal.pem (signs calls to Runtime), token.pem (signs users' tokens), pgpass
    runtime/      internal.pub.pem, seal.keys (seal credentials and checkpoints: the first line does, every line
                  opens), pgpass, nats-token
    owner/        pgpass of the roles that migrate
    postgres/     superuser, and passwords.sql for the roles
    nats/         nats.conf with the token

Files that are there are kept: put your own key in before the first start and it stays. To change the roles' passwords
remove the pgpass files and start again; the superuser's is the server's from its first start on.
"""

# ruff: noqa: INP001  # a script that is copied into an image

import argparse
import base64
import secrets
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PASSWORD_BYTES = 32
SEAL_BYTES = 32
MINE = 0o400
"""libpq and asyncpg refuse a password file that others may read."""
EVERYONES = 0o444
"""Who reads it runs under another number, and its volume is nobody else's."""
ROLES = {
    "experience": ("experience_app", "experience_system"),
    "runtime": ("runtime_app", "runtime_system"),
    "owner": ("experience_owner", "runtime_owner"),
}
"""Who signs in to PostgreSQL, by the volume that says so."""


def main() -> None:
    """Make what is missing below the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Make the secrets of the containers, and only those that are missing.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    made = [*ensure_keys(folder / "experience", folder / "runtime"), *ensure_passwords(folder), *ensure_token(folder)]
    sys.stdout.write(f"made {', '.join(made)}\n" if made else "all secrets are there\n")


def ensure_keys(experience: Path, runtime: Path) -> list[str]:
    """Experience's two Ed25519 keys, for Runtime the public half of one and a key that seals; returns what was made."""
    made = []
    for name in ("internal.pem", "token.pem"):
        if not (experience / name).exists():
            pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_whole(experience / name, pem, MINE)
            made.append(name)
    if not (runtime / "seal.keys").exists():
        write_whole(runtime / "seal.keys", base64.b64encode(secrets.token_bytes(SEAL_BYTES)) + b"\n", MINE)
        made.append("seal.keys")
    internal = load_pem_private_key((experience / "internal.pem").read_bytes(), None)
    public = internal.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_whole(runtime / "internal.pub.pem", public, MINE)
    return made


def ensure_passwords(folder: Path) -> list[str]:
    """Passwords of the database's superuser and roles; returns what was made."""
    made = []
    superuser = folder / "postgres" / "superuser"
    if not superuser.exists():
        write_whole(superuser, secrets.token_hex(PASSWORD_BYTES).encode(), EVERYONES)
        made.append("superuser")
    passwords: dict[str, str] = {}
    for volume, roles in ROLES.items():
        pgpass = folder / volume / "pgpass"
        if not pgpass.exists():
            lines = [f"*:*:*:{role}:{secrets.token_hex(PASSWORD_BYTES)}\n" for role in roles]
            write_whole(pgpass, "".join(lines).encode(), MINE)
            made.append(f"{volume}/pgpass")
        passwords |= dict(line.split(":")[3:5] for line in pgpass.read_text().splitlines())
    statements = [f"ALTER ROLE {role} PASSWORD '{password}';\n" for role, password in passwords.items()]
    write_whole(folder / "postgres" / "passwords.sql", "".join(statements).encode(), EVERYONES)
    return made


def ensure_token(folder: Path) -> list[str]:
    """What Runtime shows to NATS, and the configuration of a server that asks for it; returns what was made."""
    made = []
    token = folder / "runtime" / "nats-token"
    if not token.exists():
        write_whole(token, secrets.token_hex(PASSWORD_BYTES).encode(), MINE)
        made.append("nats-token")
    lines = (
        "port: 4222",
        'http: "127.0.0.1:8222"  # how it is, for its health check',
        f'authorization: {{token: "{token.read_text().strip()}"}}',
        "max_payload: 1KB  # wake-ups are empty",
    )
    write_whole(folder / "nats" / "nats.conf", "\n".join(lines).encode() + b"\n", MINE)
    return made


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """In one step: who is interrupted leaves the file as it was."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_bytes(content)
    unfinished.chmod(mode)
    unfinished.replace(path)


if __name__ == "__main__":
    main()
