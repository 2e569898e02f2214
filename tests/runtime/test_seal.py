"""What is sealed opens with the same keys, in the same place, and nowhere else."""

from pathlib import Path

import pytest

from runtime.seal import Seal, SealBroken, read_keys

OLD, NEW = b"o" * 32, b"n" * 32


def test_it_opens_where_it_was_sealed_for_and_nowhere_else() -> None:
    seal = Seal([NEW])
    sealed = seal.close(b"cookies", "here")
    assert b"cookies" not in sealed
    assert seal.open(sealed, "here") == b"cookies"
    with pytest.raises(SealBroken, match="another place"):
        seal.open(sealed, "there")


def test_a_changed_text_does_not_open() -> None:
    seal = Seal([NEW])
    sealed = bytearray(seal.close(b"cookies", "here"))
    sealed[-1] ^= 1
    with pytest.raises(SealBroken):
        seal.open(bytes(sealed), "here")
    with pytest.raises(SealBroken):
        seal.open(bytes(sealed[:12]), "here")


def test_keys_are_changed_by_putting_a_new_one_first() -> None:
    sealed = Seal([OLD]).close(b"cookies", "here")
    rotated = Seal([NEW, OLD])
    assert rotated.open(sealed, "here") == b"cookies"
    with pytest.raises(SealBroken, match="not here"):
        Seal([OLD]).open(rotated.close(b"cookies", "here"), "here")


def test_a_file_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "seal.keys"
    path.write_text("bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4=\n")
    assert read_keys(path).open(Seal([NEW]).close(b"x", "here"), "here") == b"x"
    for wrong in ("", "short", "bm5u\n"):
        path.write_text(wrong)
        with pytest.raises(ValueError, match="openssl rand"):
            read_keys(path)
