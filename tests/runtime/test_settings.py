"""Settings are read once, and say what is wrong with them."""

from pathlib import Path

import pytest

from runtime.settings import PREFIX, SettingsError, load_settings
from runtime.store.admission import DEFAULT_CONCURRENCY


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(__import__("os").environ):
        if name.startswith("STAGEDOOR_"):
            monkeypatch.delenv(name)


def test_defaults_are_those_of_one_machine() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.concurrency) == ("127.0.0.1", 8002, 8)
    assert (settings.heartbeat_s, settings.drain_s, settings.allowed_hosts) == (15, 5, ())


def test_values_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}ALLOWED_HOSTS", " Shop.test:8080 ,, example.org ")
    monkeypatch.setenv(f"{PREFIX}ARTIFACT_DIR", "/tmp/a")
    monkeypatch.setenv("STAGEDOOR_LOG_FORMAT", "console")
    settings = load_settings()
    assert settings.allowed_hosts == ("shop.test:8080", "example.org")
    assert settings.artifact_dir == Path("/tmp/a")
    assert settings.log_format == "console"


def test_a_misspelt_key_is_refused_with_the_right_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}HEARTBEAT", "3")
    with pytest.raises(SettingsError, match=r"unknown: STAGEDOOR_RUNTIME_HEARTBEAT; known: .*HEARTBEAT_S"):
        load_settings()


def test_all_wrong_values_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}PORT", "0")
    monkeypatch.setenv(f"{PREFIX}CONCURRENCY", "x")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert f"{PREFIX}PORT" in str(refused.value)
    assert f"{PREFIX}CONCURRENCY" in str(refused.value)


def test_what_a_command_needs_is_asked_for() -> None:
    with pytest.raises(SettingsError, match="missing: STAGEDOOR_RUNTIME_DATABASE_URL"):
        load_settings("database_url")


def test_one_tenant_can_not_take_every_place_of_a_worker() -> None:
    assert load_settings().concurrency > DEFAULT_CONCURRENCY
