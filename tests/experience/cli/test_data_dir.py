"""What is kept between starts."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from experience.cli.data_dir import EMAIL_VARIABLE, PASSWORD_VARIABLE, DataDir
from experience.cli.failure import StackError

OWNER = {"STAGEDOOR_ADMIN_EMAIL": "me@example.com", "STAGEDOOR_ADMIN_PASSWORD": "open sesame"}


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    folder = DataDir(tmp_path / "data")
    folder.make()
    return folder


def test_nothing_of_it_gets_into_a_checkout_that_it_lies_in(data: DataDir) -> None:
    assert (data.root / ".gitignore").read_text() == "*\n"


def test_public_key_belongs_to_the_private_one(data: DataDir) -> None:
    keys = data.ensure_keys()
    private = load_pem_private_key(keys.internal.read_bytes(), None)
    assert load_pem_public_key(keys.internal_public.read_bytes()) == private.public_key()
    assert keys.token.read_bytes() != keys.internal.read_bytes()
    before = keys.internal.read_bytes()
    assert data.ensure_keys().internal.read_bytes() == before


def test_made_up_owner_is_kept(data: DataDir) -> None:
    first, second = data.ensure_admin({}), data.ensure_admin({})
    assert first.generated
    assert not second.generated
    assert (second.email, second.password) == (first.email, first.password)
    assert len(first.password) >= 10


def test_owner_of_the_environment_is_kept_for_starts_without_it(data: DataDir) -> None:
    data.ensure_admin({})
    assert data.ensure_admin(OWNER).email == "me@example.com"
    kept = data.ensure_admin({})
    assert (kept.email, kept.password, kept.generated) == ("me@example.com", "open sesame", False)


def test_the_first_owner_stays_known_when_another_is_named_later(data: DataDir) -> None:
    first = data.ensure_admin({})
    data.postgres.mkdir()
    assert data.ensure_admin(OWNER).email == "me@example.com"
    assert data.ensure_admin({}).email == first.email
    data.admin_file.write_text("nonsense")  # what can't be read is written anew
    data.ensure_admin(OWNER)
    assert data.ensure_admin({}).email == "me@example.com"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({EMAIL_VARIABLE: "me"}, "One looks like"), ({PASSWORD_VARIABLE: "short"}, "10 to 200 characters")],
)
def test_an_owner_who_can_not_be_is_refused_before_anything_is_made(
    data: DataDir, wrong: dict[str, str], said: str
) -> None:
    with pytest.raises(StackError) as caught:
        data.ensure_admin(OWNER | wrong)
    assert said in caught.value.way_out
    assert not data.admin_file.exists()


@pytest.mark.parametrize("half", OWNER)
def test_half_an_owner_is_refused(data: DataDir, half: str) -> None:
    with pytest.raises(StackError) as refused:
        data.ensure_admin({half: OWNER[half]})
    assert "is not set" in refused.value.problem


@pytest.mark.parametrize("content", ["", "[]", '{"email": "x"}', "nonsense"])
def test_unreadable_owner_is_said(data: DataDir, content: str) -> None:
    data.admin_file.write_text(content)
    with pytest.raises(StackError) as refused:
        data.ensure_admin({})
    assert str(data.admin_file) in refused.value.problem
    assert "STAGEDOOR_ADMIN_EMAIL" in refused.value.way_out


@pytest.mark.parametrize("content", [None, "", "{", "[1]", '{"shop": 70000}', '{"shop": "x"}'])
def test_unreadable_ports_are_chosen_anew(data: DataDir, content: str | None) -> None:
    if content is not None:
        data.ports_file.write_text(content)
    assert data.read_ports() == {}
    data.write_ports({"shop": 4})
    assert data.read_ports() == {"shop": 4}


def test_lock_of_a_process_that_died_is_taken_over(data: DataDir) -> None:
    (data.root / "lock").write_text("999999999")
    with data.lock():
        assert json.loads((data.root / "lock").read_text()) > 0


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError) as refused:
        DataDir(tmp_path / "file" / "data").make()
    assert "--data" in refused.value.way_out
