"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from scripts import check_templates, settings_docs

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {".git", ".venv", ".bench-venv", "node_modules", "vendor", "instance", "__pycache__", ".ruff_cache"}
NOT_OURS |= {".mypy_cache", ".pytest_cache", ".hypothesis", "test-results", "user_strategies"}
CLOCK = ROOT / "runtime" / "clock.py"
# Where printing is the purpose, and where the machine's own time may be asked.
TOOLS = {"tests", "benchmarks", "scripts"}


def our_files() -> Iterator[Path]:
    pending = [ROOT]
    while pending:
        for path in pending.pop().iterdir():
            if path.name in NOT_OURS or path.is_symlink():
                continue
            if path.is_dir():
                pending.append(path)
            elif path.name != ".env":
                yield path


def our_modules() -> list[Path]:
    return [path for path in our_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] not in TOOLS]


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a chain of names; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


WALL_CLOCK = re.compile(
    r"(^|\.)(datetime|date|Timestamp)\.(now|utcnow|today)$|(^|\.)time\.(time|time_ns|localtime|gmtime|ctime)$"
)
FROM_TIME = {"time", "time_ns", "localtime", "gmtime", "ctime"}


def wall_clock_reads(source: str) -> list[int]:
    """Lines that ask the machine for the time of day. Durations (monotonic, perf_counter) are free."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and WALL_CLOCK.search(dotted(node)):
            lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            lines += [node.lineno for alias in node.names if alias.name in FROM_TIME]
    return lines


def prints(source: str) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "pprint"}
    ]


def places(check: object, paths: list[Path]) -> list[str]:
    assert callable(check)
    return [f"{path.relative_to(ROOT)}:{line}" for path in paths for line in check(path.read_text(encoding="utf-8"))]


def test_only_the_clock_reads_the_wall_clock() -> None:
    found = places(wall_clock_reads, [path for path in our_modules() if path != CLOCK])
    assert not found, f"ask the clock instead: {found}"


def test_nothing_prints() -> None:
    found = places(prints, our_modules())
    assert not found, f"log it, or click.echo in a command: {found}"


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import time\nx = time.time()", 1),
        ("from time import time_ns", 1),
        ("import datetime as dt\nx = dt.datetime.now(dt.UTC)", 1),
        ("x = pd.Timestamp.now()", 1),
        ("f(default=datetime.utcnow)", 1),
        ("x = clock.now()\ny = time.perf_counter()\nz = time.monotonic()", 0),
    ],
)
def test_the_wall_clock_is_seen(source: str, count: int) -> None:
    assert len(wall_clock_reads(source)) == count


def test_nothing_names_a_registry_host() -> None:
    """Requirements and lock files must install from any mirror."""
    hosts = ["pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "yarn" + "pkg.com"]
    pattern = re.compile("|".join(re.escape(host) for host in hosts).encode())
    named = [str(path.relative_to(ROOT)) for path in our_files() if pattern.search(path.read_bytes())]
    assert not named


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_by_hash(lock: Path) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8").strip())
    assert entries
    loose = [entry.split()[0] for entry in entries if "==" not in entry.split()[0] or "--hash=sha256:" not in entry]
    assert not loose


def test_npm_lock_is_pinned_and_names_no_address() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages
    assert [name for name, entry in packages.items() if "resolved" in entry] == []
    assert [name for name, entry in packages.items() if "integrity" not in entry] == []


def test_settings_are_written_down() -> None:
    assert settings_docs.stale() == [], "run `make settings`"


def test_env_example_names_every_setting_with_its_default() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    given = dict(line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line))
    assert set(given) == {name.upper() for name in Settings.model_fields}
    read = Settings(**{name.lower(): value for name, value in given.items()})
    assert read == Settings()


def test_templates_hold_nothing_inline() -> None:
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in sorted((ROOT / "templates").rglob("*.html"))
        if (wrong := check_templates.complaints(path.read_text(encoding="utf-8")))
    }
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "<script>let a = 1</script>",
        "<button onclick='go()'>",
        '<p class="{{ "a" if x > 1 }}" style="color: red">',
        "<style>p {}</style>",
        "<a href='javascript:go()'>",
        "<script src='https://cdn.example/x.js'></script>",
        "<link rel=stylesheet href='//cdn.example/x.css'>",
        "{{ name | safe }}",
    ],
)
def test_inline_code_is_seen(text: str) -> None:
    assert check_templates.complaints(text)


def test_clean_templates_pass() -> None:
    text = """<!-- <script>old</script> --><script type="application/json" id="d">{{ data | tojson }}</script>
    <script type="module" src="{{ url_for('static', filename='js/app.js') }}"></script>
    <a href="https://www.tradingview.com/" class="once">on {{ 'x' if a > b else 'y' }}</a>"""
    assert check_templates.complaints(text) == []


def test_third_parties_are_credited() -> None:
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8").lower()
    python = [
        re.split(r"[<>=\[; ]", line)[0]
        for line in (ROOT / "requirements" / "run.in").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith(("#", "-"))
    ]
    pages = list(json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["dependencies"])
    missing = [name for name in [*python, *pages] if name.lower() not in notices]
    assert not missing


HEAVY = ("numba", "pandas", "talib", "pyarrow", "binance", "okx", "hyperliquid", "openai", "pydantic_ai", "redis")


def test_the_app_starts_without_the_heavy_libraries() -> None:
    """A start and every flask command pay for what `import app` loads: half a second for each of these."""
    program = f"import sys, app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
