"""What the environment may say."""

from pathlib import Path

import pytest

from experience.settings import PREFIX, Settings, load_settings

NEEDED = {
    "STAGEDOOR_PUBLIC_URL": "https://stagedoor.test",
    f"{PREFIX}DATABASE_URL": "postgresql://a",
    f"{PREFIX}SYSTEM_DATABASE_URL": "postgresql://b",
    f"{PREFIX}INTERNAL_KEY_FILE": "/i.pem",
    f"{PREFIX}TOKEN_KEY_FILE": "/t.pem",
}


def load(monkeypatch: pytest.MonkeyPatch, **changes: str) -> Settings:
    for name, value in (NEEDED | changes).items():
        monkeypatch.setenv(name, value)
    return load_settings()


def test_what_is_not_said_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    assert (settings.host, settings.port, settings.registration, settings.guests) == ("127.0.0.1", 8001, "open", False)
    assert (settings.link_ttl_s, settings.drain_s, settings.log_format) == (600, 5, "json")
    assert settings.web_dir.parts[-3:] == ("experience", "web", "dist")


def test_what_is_said_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"PORT": "9", "GUESTS": "true", "WEB_DIR": "/w", "REGISTRATION": "invite"}
    settings = load(monkeypatch, STAGEDOOR_LOG_FORMAT="console", **{PREFIX + name: v for name, v in changes.items()})
    assert (settings.port, settings.guests, settings.web_dir, settings.log_format) == (9, True, Path("/w"), "console")


@pytest.mark.parametrize("name", [f"{PREFIX}PROT", f"{PREFIX}PUBLIC_URL", f"{PREFIX.lower()}prot"])
def test_a_typo_is_refused_with_what_there_is(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown settings {name}.*{PREFIX}PORT"):
        load(monkeypatch, **{name: "1"})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://stagedoor.test/", "https://stagedoor.test"),
        ("https://Stagedoor.Test:443", "https://stagedoor.test"),
        ("https://stagedoor.test:8443", "https://stagedoor.test:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_the_public_url_is_an_origin(monkeypatch: pytest.MonkeyPatch, given: str, kept: str) -> None:
    assert load(monkeypatch, STAGEDOOR_PUBLIC_URL=given).public_url == kept


@pytest.mark.parametrize(
    "url", ["stagedoor.test", "ftp://x", "https://", "https://x/app", "https://x?y", "https://u:p@x", "https://x:99999"]
)
def test_other_public_urls_are_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(ValueError, match="STAGEDOOR_PUBLIC_URL"):
        load(monkeypatch, STAGEDOOR_PUBLIC_URL=url)


def test_plain_http_elsewhere_wants_an_explicit_word(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=f"{PREFIX}INSECURE=true"):
        load(monkeypatch, STAGEDOOR_PUBLIC_URL="http://192.168.1.5")
    settings = load(monkeypatch, STAGEDOOR_PUBLIC_URL="http://192.168.1.5", **{f"{PREFIX}INSECURE": "true"})
    assert settings.is_exposed
    assert not load(monkeypatch, STAGEDOOR_PUBLIC_URL="http://localhost:8080").is_exposed


def test_the_first_operator_needs_both_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="go together"):
        load(monkeypatch, STAGEDOOR_ADMIN_EMAIL="a@b")


def test_the_first_operators_words_are_held_to_everybodys_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"STAGEDOOR_ADMIN_EMAIL": " Root@Example.COM ", "STAGEDOOR_ADMIN_PASSWORD": "long enough"}
    assert load(monkeypatch, **words).admin_email == "root@example.com"
    for wrong in ({"STAGEDOOR_ADMIN_EMAIL": "root"}, {"STAGEDOOR_ADMIN_PASSWORD": "short"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            load(monkeypatch, **words | wrong)


def test_proxies_are_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, **{f"{PREFIX}TRUSTED_PROXIES": "10.0.0.0/8, ::1"}).trusted_proxies == "10.0.0.0/8, ::1"
    with pytest.raises(ValueError, match="trusted_proxies"):
        load(monkeypatch, **{f"{PREFIX}TRUSTED_PROXIES": "traefik"})


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"STAGEDOOR_ADMIN_EMAIL": "a@b", "STAGEDOOR_ADMIN_PASSWORD": "hush-hush-hush"}
    settings = load(monkeypatch, **words, **{f"{PREFIX}DATABASE_URL": "postgresql://x:hush@y"})
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)
