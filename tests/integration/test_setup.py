"""`scripts/setup` names what is missing, with the command that installs it, and rests when nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("sh", "dirname", "cat", "cmp", "rm", "cp", "flock", "env")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What set-up reads of the repository, without an environment."""
    folder = tmp_path / "checkout"
    for name in ("scripts", "requirements"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with the machine's basic tools and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in NEEDED:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def set_up(checkout: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts" / "setup", "run"],
        env={"PATH": str(path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def pretend_python(path: Path, script: str) -> None:
    program = path / "python3"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def test_no_python(checkout: Path, bare_path: Path) -> None:
    done = set_up(checkout, bare_path)
    assert done.returncode == 1
    assert "python3 is missing" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr


def test_old_python(checkout: Path, bare_path: Path) -> None:
    pretend_python(bare_path, 'case "$1" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac')
    done = set_up(checkout, bare_path)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and Python 3.9.2 is here" in done.stderr
    assert "apt-get install" in done.stderr


def test_no_venv(checkout: Path, bare_path: Path) -> None:
    pretend_python(bare_path, 'case "$2" in *ensurepip*) exit 1 ;; *) exit 0 ;; esac')
    done = set_up(checkout, bare_path)
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert not (checkout / ".venv").exists()


def test_equal_lock_files_leave_everything_as_it_is(checkout: Path, bare_path: Path) -> None:
    """No Python on PATH: whatever set-up began to do would fail."""
    environment, packages = checkout / ".venv", checkout / "node_modules"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to("/bin/true")
    packages.mkdir()
    (checkout / "static" / "vendor").mkdir(parents=True)

    def joined(*names: str) -> str:
        return f"{checkout.resolve()}\n" + "".join((checkout / name).read_text(encoding="utf-8") for name in names)

    locks = joined("requirements/setup.txt", "requirements/run.txt")
    (environment / ".curlew-run").write_text(locks, encoding="utf-8")
    (packages / ".curlew-run").write_text(joined("package-lock.json", ".npmrc", "scripts/vendor"), encoding="utf-8")
    done = set_up(checkout, bare_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    with (checkout / "requirements" / "run.txt").open("a", encoding="utf-8") as lock:
        lock.write("# renewed\n")
    assert set_up(checkout, bare_path).returncode == 1, "a changed lock file must be noticed"


def test_the_scripts_are_executable() -> None:
    for name in ("scripts/setup", "scripts/lint", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
