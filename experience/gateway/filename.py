"""The file name that an answer proposes, in `Content-Disposition`."""

from urllib.parse import quote


def name_file(name: str) -> str:
    """The parameters that carry a name (RFC 6266 and 8187): a plain one for old clients, the real one for all else."""
    return f"filename=\"{_plain(name)}\"; filename*=UTF-8''{quote(name, safe='')}"


def _plain(name: str) -> str:
    return "".join(char if char.isascii() and char.isprintable() and char not in '"\\/;%' else "_" for char in name)
