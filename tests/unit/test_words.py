"""Every word that people read can be translated: templates, Python and scripts alike."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*", re.DOTALL)
CALL = re.compile(r"\b(?:t|ngettext)\(\s*\"((?:[^\"\\]|\\.)*)\"")


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What `make messages` collects."""
    from babel.messages.pofile import read_po

    target = tmp_path_factory.mktemp("words") / "messages.pot"
    command = [sys.executable, "-m", "babel.messages.frontend", "-q", "extract", "-F", "babel.cfg", "-k", "_l",
               "-k", "lazy_gettext", "-k", "t", "--no-location", "-o", str(target), "."]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    found: set[str] = set()
    with target.open("rb") as source:
        for message in read_po(source):
            found.update(message.id if isinstance(message.id, tuple) else (message.id,))
    return found


def test_every_word_of_the_scripts_is_collected(catalogue: set[str]) -> None:
    """The collector does not look into `${...}`: what it misses would stay English for ever."""
    missed = [
        f"{path.relative_to(ROOT)}: {found[1]}"
        for path in sorted((ROOT / "static" / "js").rglob("*.js"))
        for found in CALL.finditer(COMMENT.sub("", path.read_text(encoding="utf-8")))
        if found[1] not in catalogue
    ]
    assert missed == []


def test_words_of_templates_are_collected(catalogue: set[str]) -> None:
    assert {"Dashboard", "Skip to the content", "Risk limits"} <= catalogue


def test_every_limit_has_a_name_for_people() -> None:
    """A verdict is stored under the limit's key; the page shows the name that people know it by."""
    from risk.build import build_rules

    script = (ROOT / "static" / "js" / "components" / "columns.js").read_text()
    names = re.search(r"const RULE = \(\) => \(\{(.*?)\}\);", script, re.DOTALL)
    assert names is not None
    named = set(re.findall(r"(\w+): t\(", names.group(1)))
    assert {rule.name for rule in build_rules({}, "llm")} <= named
