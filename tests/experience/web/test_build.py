"""The page as it is built: its lock file and the build hook. Its own tests run beside these, by `make test`."""

import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

import hatch_build
from hatch_build import PageBuildHook, PageError


class Screen:
    """What hatch would show."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, text: str) -> None:
        self.warnings.append(text)


def hook() -> tuple[PageBuildHook, Screen]:
    made = PageBuildHook.__new__(PageBuildHook)
    screen = Screen()
    made.__dict__["app"] = screen
    return made, screen


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page's folder with a lock file of one package, one tool and one part for another platform."""
    monkeypatch.setattr(hatch_build, "WEB", tmp_path)
    monkeypatch.setattr(hatch_build, "DIST", tmp_path / "dist")
    monkeypatch.setattr(hatch_build, "FAILURE", tmp_path / "dist" / "failure.txt")
    packages: dict[str, Any] = {
        "": {"name": "page"},
        "node_modules/react": {"version": "19.3.1"},
        "node_modules/vitest": {"version": "5.1.1", "dev": True},
        "node_modules/@rolldown/binding-elsewhere": {"version": "1.0.0", "optional": True},
    }
    (tmp_path / "package-lock.json").write_text(json.dumps({"packages": packages}))
    return tmp_path


def install(web: Path, **versions: str) -> None:
    (web / "node_modules").mkdir(exist_ok=True)
    packages = {f"node_modules/{name}": {"version": version} for name, version in versions.items()}
    (web / "node_modules" / ".package-lock.json").write_text(json.dumps({"packages": packages}))


def test_every_package_is_pinned_by_hash_and_by_no_address() -> None:
    lock = json.loads((hatch_build.WEB / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert len(packages) > 100
    for name, entry in packages.items():
        assert entry["version"], name
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name


def test_direct_packages_are_pinned_exactly() -> None:
    package = json.loads((hatch_build.WEB / "package.json").read_text())
    for version in (package["dependencies"] | package["devDependencies"]).values():
        assert version[0].isdigit()


def test_packages_are_installed_only_when_the_lock_asks_for_it(web: Path) -> None:
    assert not hatch_build._is_installed(with_tools=False)
    install(web, react="19.3.1")
    assert hatch_build._is_installed(with_tools=False)
    assert not hatch_build._is_installed(with_tools=True)
    install(web, react="19.3.1", vitest="5.1.1")
    assert hatch_build._is_installed(with_tools=True)
    install(web, react="19.3.0", vitest="5.1.1")
    assert not hatch_build._is_installed(with_tools=False)


def test_a_page_that_is_not_wanted_costs_nothing(web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIP_WEB", "1")
    made, screen = hook()
    assert made.dependencies() == []
    made.initialize("editable", {})
    assert not screen.warnings
    assert not (web / "dist").exists()


def test_node_comes_with_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKIP_WEB", raising=False)
    assert hook()[0].dependencies() == [hatch_build.NODE]


def test_a_build_that_fails_warns_and_leaves_its_reason(web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKIP_WEB", raising=False)
    install(web, react="19.3.1")
    made, screen = hook()
    made.initialize("editable", {})  # there is no Vite in this folder
    assert len(screen.warnings) == 1
    reason = (web / "dist" / "failure.txt").read_text()
    assert "vite" in reason
    assert "uv sync --reinstall-package stagedoor" in reason


def test_a_failing_program_tells_what_it_said(web: Path) -> None:
    with pytest.raises(PageError, match=r"`node -e .*` ended with status 3:\nbad news"):
        hatch_build._run_node("node", ["-e", "console.error('bad news'); process.exit(3)"], 20)
    with pytest.raises(PageError, match="took longer than"):
        hatch_build._run_node("node", ["-e", "setTimeout(() => {}, 60000)"], 0.5)
    assert web.exists()


def test_neither_build_nor_check_has_uv_build_the_page_once_more() -> None:
    """uv looks at these whenever it is called: what a build or a check writes would cost the next call a build."""
    root = hatch_build.WEB.parents[1]
    keys = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["uv"]["cache-keys"]
    assert all(key.keys() <= {"file", "env"} for key in keys)
    ignored = [line.rstrip("/") for line in (hatch_build.WEB / ".gitignore").read_text().splitlines()]
    written = [f"experience/web/{name}/x" for name in ignored]
    assert written
    assert [(one, key) for one in written for key in keys if fnmatch(one, key.get("file", ""))] == []
