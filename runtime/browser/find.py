"""Finding a Chromium: the setting, then Playwright's own, then the system's; else the one command that installs it.

Distributions put a launcher script before theirs, which reads the machine's configuration: Debian's `/usr/bin/chromium`
takes flags and extensions from /etc/chromium.d. In a jail there is no such folder, and outside of one the flags of a
person's browser, `--no-sandbox` among them for some, are none for strangers' pages. So what is behind it is started.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from contracts.execution import FailureCode
from runtime.browser.failure import BrowserFailure

INSTALL = "uv run playwright install --with-deps --only-shell chromium"
_SYSTEM = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
_SCRIPT = b"#!"
_SHELL_NAMES = ("headless_shell", "chrome-headless-shell")


def find_chromium(
    setting: Path | None, bundled: Path | None, which: Callable[[str], str | None] = shutil.which
) -> Path:
    """The executable to start. `bundled` is where Playwright would have put its Chromium.

    Raises BrowserFailure (browser_missing) when a setting points nowhere or nothing is found.
    """
    if setting is not None:
        if not _is_executable(setting):
            raise BrowserFailure(
                FailureCode.BROWSER_MISSING,
                f"STAGEDOOR_RUNTIME_BROWSER_PATH names {setting}, where no program is.",
                "Point it at a Chromium, or unset it and let Stagedoor look for one.",
            )
        return look_behind(setting)
    for candidate in [*_list_bundled(bundled), *(Path(found) for name in _SYSTEM if (found := which(name)))]:
        if _is_executable(candidate):
            return look_behind(candidate)
    raise BrowserFailure(FailureCode.BROWSER_MISSING, "There is no Chromium on this machine.", f"Run: {INSTALL}")


def look_behind(found: Path) -> Path:
    """The browser itself, where `found` is the launcher script that a distribution puts before it; else `found`."""
    script = found.resolve()
    if not _is_script(script):
        return found
    return next((one for one in _list_behind(script) if _is_executable(one) and not _is_script(one)), found)


def _list_behind(script: Path) -> Iterator[Path]:
    yield script.with_name("chrome")  # Google's, beside /opt/google/chrome/google-chrome
    yield script.with_suffix("")  # Fedora's, beside /usr/lib64/chromium-browser/chromium-browser.sh
    for folder in ("lib", "lib64"):  # Debian's and Arch's, and Debian's headless shell with it
        yield script.parent.parent / folder / "chromium" / script.name


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SCRIPT)) == _SCRIPT


def _list_bundled(bundled: Path | None) -> Iterator[Path]:
    """Playwright's headless shell of the same revision, which starts faster, then its whole Chromium."""
    if bundled is None:
        return
    home = next((folder for folder in bundled.parents if folder.name.startswith("chromium-")), None)
    if home is not None:
        shells = home.parent / home.name.replace("chromium-", "chromium_headless_shell-")
        for name in _SHELL_NAMES:
            yield from sorted(shells.glob(f"*/{name}"))
    yield bundled


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
