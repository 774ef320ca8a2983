"""Imports run one way: down the list of the design, never up, never between neighbours of a line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Top to bottom; the parts of one line do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("app",),
    ("web", "cli"),
    ("runtime",),
    ("research",),
    ("backtesting",),
    ("trading_engine",),
    ("risk", "traders"),
    ("simulation",),
    ("brokers",),
    ("strategies",),
    ("data_aggregator",),
    ("venues", "llm"),
    ("store",),
    ("database",),
    ("config",),
    ("domain",),
)
LEVEL = {part: level for level, line in enumerate(LAYERS) for part in line}


def imported(source: str) -> list[tuple[int, str]]:
    """(line, dotted module) of every import, late ones and those for types included."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.append((node.lineno, node.module))
    return found


def violations(part: str, source: str) -> list[str]:
    """What `source`, a module of `part`, imports against the order."""
    wrong = []
    for line, module in imported(source):
        target = module.split(".")[0]
        if target not in LEVEL or target == part:
            continue
        if LEVEL[target] < LEVEL[part]:
            wrong.append(f"line {line}: {part} imports {module}, which lies above it")
        elif LEVEL[target] == LEVEL[part]:
            wrong.append(f"line {line}: {part} imports {module}, its neighbour")
    return wrong


def modules_of(part: str) -> list[Path]:
    module = ROOT / f"{part}.py"
    return [module] if module.is_file() else sorted((ROOT / part).rglob("*.py"))


# Layers that the design has a place for and that have no module so far.
NOT_YET = {"research"}


@pytest.mark.parametrize("part", LEVEL)
def test_imports_run_downwards(part: str) -> None:
    paths = modules_of(part)
    assert paths or part in NOT_YET, f"neither {part}.py nor {part}/ exists"
    wrong = [
        f"{path.relative_to(ROOT)}, {what}"
        for path in paths
        for what in violations(part, path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_every_package_has_its_place() -> None:
    """A new folder or root module of ours must be put on a line before anything may import it."""
    others = {"tests", "scripts", "benchmarks", "migrations", "gunicorn.conf"}
    here = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert here - others <= set(LEVEL)


@pytest.mark.parametrize(
    ("part", "source", "count"),
    [
        ("risk", "from traders.rules import RulesTrader", 1),
        ("store", "def f():\n    import web.api", 1),
        ("domain", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from config import Settings", 1),
        ("web", "import cli", 1),
        ("brokers", "from domain.trading import Fill\nfrom brokers.accounting import fee", 0),
        ("backtesting", "import simulation.kernel, trading_engine", 0),
    ],
)
def test_the_walk_sees(part: str, source: str, count: int) -> None:
    assert len(violations(part, source)) == count
