"""Writes what `mayfly COMMAND --help` prints into docs/cli.md, and the schemas of what people configure."""

from collections.abc import Iterator
from pathlib import Path

import click

from mayfly_cli.documents import APPLICATION, FAMILY, Kind
from mayfly_cli.main import EXIT_CODES, main

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cli.md"
SCHEMAS: dict[Path, Kind] = {
    ROOT / "docs" / "app.schema.json": APPLICATION,
    ROOT / "docs" / "family.schema.json": FAMILY,
    # What its form is made of.
    ROOT / "functions" / "serve_api" / "console" / "application.schema.json": APPLICATION,
}
MARK = "<!-- commands -->\n"
WIDTH = 100


def manual() -> str:
    """A section for each command; the exit codes, which are the same for all, are left to the page."""
    return "\n".join(sections(main, click.Context(main, info_name="mayfly", **main.context_settings)))


def sections(group: click.Group, parent: click.Context, before: str = "") -> Iterator[str]:
    """A section for each command of a group."""
    for name, command in sorted(group.commands.items()):
        context = click.Context(command, parent, name, max_content_width=WIDTH, terminal_width=WIDTH)
        shown = command.get_help(context).replace(EXIT_CODES, "").rstrip()
        yield f"## {before}{name}\n\n```text\n{shown}\n```\n"
        if isinstance(command, click.Group):
            yield from sections(command, context, f"{name} ")


def page() -> str:
    """The page as it is to be."""
    return f"{PAGE.read_text().partition(MARK)[0]}{MARK}\n{manual()}"


if __name__ == "__main__":
    PAGE.write_text(page())
    for file, kind in SCHEMAS.items():
        file.write_text(kind.schema)
