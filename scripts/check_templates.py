"""Templates hold no inline script, style or handler (the CSP refuses them) and load nothing from elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TAG = re.compile(r"<([a-zA-Z][\w-]*)((?:\"[^\"]*\"|'[^']*'|\{\{.*?\}\}|\{%.*?%\}|[^>\"'])*)>", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->|\{#.*?#\}", re.DOTALL)
HANDLER = re.compile(r"\son[a-z]+\s*=", re.IGNORECASE)
STYLE = re.compile(r"\sstyle\s*=", re.IGNORECASE)
ELSEWHERE = re.compile(r"\s(?:src|srcset|action)\s*=\s*[\"']?(?:https?:)?//", re.IGNORECASE)
SCRIPT_URL = re.compile(r"=\s*[\"']?\s*javascript:", re.IGNORECASE)
# A block of data is not a script to the browser: no CSP applies to it.
DATA_BLOCK = re.compile(r"type\s*=\s*[\"']application/(?:json|ld\+json)[\"']", re.IGNORECASE)
SAFE_FILTER = re.compile(r"\|\s*safe\b|\{%-?\s*autoescape\s+false")


def complaints(text: str) -> list[tuple[int, str]]:
    """(line, what is wrong) of one template."""
    blanked = COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    found: list[tuple[int, str]] = []

    def add(position: int, what: str) -> None:
        found.append((blanked.count("\n", 0, position) + 1, what))

    for tag in TAG.finditer(blanked):
        name, attributes = tag.group(1).lower(), tag.group(2)
        if name == "script" and not re.search(r"\ssrc\s*=", attributes) and not DATA_BLOCK.search(attributes):
            add(tag.start(), "inline script")
        if name == "style":
            add(tag.start(), "inline style sheet")
        if name == "link" and re.search(r"href\s*=\s*[\"']?(?:https?:)?//", attributes):
            add(tag.start(), "loads from another host")
        for pattern, what in ((HANDLER, "inline handler"), (STYLE, "inline style"), (SCRIPT_URL, "javascript: address"),
                              (ELSEWHERE, "loads from or sends to another host")):  # fmt: skip
            if pattern.search(attributes):
                add(tag.start(), what)
    for unsafe in SAFE_FILTER.finditer(blanked):
        add(unsafe.start(), "switches escaping off")
    return found


def main() -> int:
    count = 0
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for line, what in complaints(path.read_text(encoding="utf-8")):
            print(f"{path.relative_to(ROOT)}:{line}: {what}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
