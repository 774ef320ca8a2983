"""Writes `.env.example` and `docs/settings.md` from config.Settings, or checks them with `--check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from config import Settings  # noqa: E402 - the script runs from anywhere

ENV_EXAMPLE = ROOT / ".env.example"
SETTINGS_DOC = ROOT / "docs" / "settings.md"


def default_text(field: FieldInfo) -> str:
    """The default as one writes it in `.env`; empty for none."""
    value = field.get_default()
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def choices(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(field.annotation))
    return ""


def render_env_example() -> str:
    lines = [
        "# Every setting with its default. Copy this file to .env and uncomment what you change;",
        "# environment variables of the same names win over it. Written by `make settings`.",
        "# Those of exchanges and language models are read, but nothing uses them in this version.",
    ]
    for name, field in Settings.model_fields.items():
        allowed = choices(field)
        lines += ["", f"# {field.description}" + (f" ({allowed})" if allowed else "")]
        lines.append(f"#{name.upper()}={default_text(field)}")
    return "\n".join(lines) + "\n"


def render_table() -> str:
    lines = [
        "# Settings",
        "",
        "Environment variables, or lines of a file `.env` beside `app.py` (`.env.example` is a copy to start from).",
        "Strongest first: environment, `.env`, the default. Written by `make settings` from `config.py`.",
        "",
        "| setting | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default, allowed = default_text(field), choices(field)
        meaning = (field.description or "") + (f" ({allowed})" if allowed else "")
        lines.append(
            f"| `{name.upper()}` | {f'`{default}`' if default else 'none'} | {meaning.replace('|', chr(92) + '|')} |"
        )
    lines += [
        "",
        "`REDIS_URL`, `ARCHIVE_URL`, `HOT_WINDOW_DAYS`, `DATA_SOURCE_PRIORITY` and everything of exchanges (limits,",
        "keys, addresses) and language models are read, but nothing uses them in this version.",
        "",
        "With a PostgreSQL in `DATABASE_URL`, candles and keys stay files in `DATA_DIR`, and backups of the database",
        "are yours to make: nothing is copied aside before a migration. An `@` in the password is written `%40`.",
    ]
    return "\n".join(lines) + "\n"


def stale() -> list[str]:
    """The files that do not say what config.py says."""
    wanted = {ENV_EXAMPLE: render_env_example(), SETTINGS_DOC: render_table()}
    return [
        str(path.relative_to(ROOT))
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    if "--check" in sys.argv[1:]:
        old = stale()
        for path in old:
            print(f"{path} does not say what config.py says: run `make settings`")
        return 1 if old else 0
    ENV_EXAMPLE.write_text(render_env_example(), encoding="utf-8")
    SETTINGS_DOC.write_text(render_table(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
