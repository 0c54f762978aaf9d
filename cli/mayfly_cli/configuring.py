"""The commands that configure applications and image families: documents in Parameter Store, which keeps their versions
and who wrote them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mayfly_cli.errors import Failed, NotFound

if TYPE_CHECKING:
    from mayfly.aws.parameters import Version
    from mayfly_cli.documents import Kind
    from mayfly_cli.installation import Installation

type Json = dict[str, Any]
type Make = Callable[[Callable[..., None], click.Group, str], click.Command]

_WORDS = {"app": "application", "family": "image family"}
_NAMES = {"app": r"[a-z][a-z0-9-]{0,18}[a-z0-9]", "family": r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?"}


def add(main: click.Group, command: Make) -> None:
    """Adds the groups `app` and `family` to the command line."""
    for word, what in _WORDS.items():
        group = click.Group(word, help=f"Configure an {what}: write, check, apply and remove its document.")
        main.add_command(group)
        for function in (init, check, apply, show, back, remove):
            text = (function.__doc__ or "").replace("an application", f"an {what}")
            own = wraps(function)(partial(function, word))
            vars(own)["__click_params__"] = [*vars(function)["__click_params__"]]  # not those of the other group
            command(own, group, text)


name_argument = click.argument("name")
file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@name_argument
def init(word: str, installation: Installation, as_json: bool, name: str) -> None:
    """Write a commented document of an application to NAME.yaml, and its JSON Schema for editors."""
    from mayfly_cli import show as shown

    _check_name(word, name)
    account, region = installation.settings.targets[0]
    file, schema = Path(f"{name}.yaml"), Path(f"{word}.schema.json")
    if file.exists():
        raise Failed(f"{file} is there already. Remove it, or go on with: mayfly {word} check {file}")
    kind = _kind(word)
    file.write_text(kind.example.replace("NAME", name).replace("ACCOUNT", account).replace("REGION", region))
    schema.write_text(kind.schema)
    shown.answer(as_json, {"file": str(file), "schema": str(schema)})
    if not as_json:
        click.echo(f"{file} is written. Change it, and then: mayfly {word} apply {file}")


@file_argument
def check(word: str, installation: Installation, as_json: bool, file: Path) -> None:
    """Check the document of an application against its model, and against what there is."""
    from mayfly_cli import show as shown

    _checked(_kind(word), file, installation)
    shown.answer(as_json, {"file": str(file), "valid": True})
    if not as_json:
        click.echo(f"{file} is right")


@file_argument
@click.option("--name", help="Of it; the file's where it is left out.")
@yes_option
def apply(word: str, installation: Installation, as_json: bool, file: Path, name: str | None, yes: bool) -> None:
    """Put the document of an application in place, after showing what it changes."""
    name = name or file.stem
    _check_name(word, name)
    _put(installation, as_json, _kind(word), (name, _checked(_kind(word), file, installation)), yes)


@name_argument
@click.option("--versions", is_flag=True, help="Who wrote which version, and when; the newest first.")
def show(word: str, installation: Installation, as_json: bool, name: str, versions: bool) -> None:
    """Show the document of an application, or its versions with who wrote each."""
    from mayfly_cli import documents
    from mayfly_cli import show as shown

    history = _history(installation, _kind(word), name)
    if not versions:
        shown.answer(as_json, json.loads(history[-1].value))
        if not as_json:
            click.echo(documents.shown(history[-1].value), nl=False)
        return
    rows = [(each.number, each.at, each.by, each.why) for each in reversed(history)]
    listed = [{"version": number, "at": at, "by": by, "why": why} for number, at, by, why in rows]
    table = shown.table(f"{name}, {len(rows)} versions", ("version", "at", "who", "why"), rows)
    shown.answer(as_json, {"name": name, "versions": listed}, table)


@name_argument
@yes_option
def back(word: str, installation: Installation, as_json: bool, name: str, yes: bool) -> None:
    """Put the version before the newest of an application in place again."""
    history = _history(installation, _kind(word), name)
    earlier = [each.value for each in history if each.value != history[-1].value]
    if not earlier:
        raise Failed(f"{name} has no earlier version to go back to.")
    _put(installation, as_json, _kind(word), (name, earlier[-1]), yes)


@name_argument
@yes_option
def remove(word: str, installation: Installation, as_json: bool, name: str, yes: bool) -> None:
    """Remove the document of an application. What runs already goes on."""
    from mayfly.aws.clients import controller
    from mayfly_cli import documents
    from mayfly_cli import show as shown

    value = _history(installation, _kind(word), name)[-1].value
    click.echo(documents.shown(value), err=True, nl=False)
    if not yes and not click.confirm(f"Remove {name}, with all its versions?", err=True):
        raise Failed("Nothing was removed.")
    controller("ssm").delete_parameter(Name=_parameter(installation, _kind(word), name))
    shown.answer(as_json, {"removed": name})
    if not as_json:
        click.echo(f"{name} is removed")


def _kind(word: str) -> Kind:
    from mayfly_cli import documents

    return documents.APPLICATION if word == "app" else documents.FAMILY


def _check_name(word: str, name: str) -> None:
    if not re.fullmatch(_NAMES[word], name):
        raise click.UsageError(f"name: expected lower-case letters, digits and hyphens, but it is {name!r}")


def _parameter(installation: Installation, kind: Kind, name: str) -> str:
    return f"{installation.settings.parameters}/{kind.folder}/{name}"


def _checked(kind: Kind, file: Path, installation: Installation) -> str:
    """Returns a document as it is kept, if it is right and all that it names is there."""
    from mayfly.aws import parameters
    from mayfly.workflows import catalogue
    from mayfly_cli import documents

    try:
        read = documents.read(str(file), file.read_text())
        model: Any = documents.check(kind, read)
    except documents.Wrong as wrong:
        raise Failed(str(wrong)) from None
    if faults := [
        f"{file}:{read.line(place)}: {why}" for place, why in catalogue.missing(installation.settings, model)
    ]:
        raise Failed("\n".join(faults))
    value = catalogue.as_kept(model)
    if len(value) > parameters.LONGEST:
        raise Failed(f"{file} has {len(value)} characters; Parameter Store takes {parameters.LONGEST}.")
    return value


def _history(installation: Installation, kind: Kind, name: str) -> list[Version]:
    """Returns all versions of a document, the oldest first."""
    from mayfly.aws import parameters

    parameter = _parameter(installation, kind, name)
    if found := parameters.versions(parameter):
        return found
    raise NotFound(f"There is no {_WORDS[kind.word]} {name!r} ({parameter}).")


def _put(installation: Installation, as_json: bool, kind: Kind, document: tuple[str, str], yes: bool) -> None:
    """Shows what a document changes, and puts it in place."""
    from mayfly.aws import parameters
    from mayfly_cli import documents, show

    name, value = document
    parameter = _parameter(installation, kind, name)
    before = next(reversed(parameters.versions(parameter)), None)
    lines = list(documents.changes(before.value if before else None, value))
    if not lines:
        show.answer(as_json, {"name": name, "changed": False})
        if not as_json:
            click.echo(f"{name} is so already")
        return
    click.echo("\n".join(lines), err=True)
    if not yes and not click.confirm(f"Apply this to {name}?", err=True):
        raise Failed("Nothing was changed.")
    version = (before.number if before else 0) + 1
    why = f"mayfly {kind.word}"
    parameters.put(parameter, parameters.Version(version, "", installation.who, why, value))
    show.answer(as_json, {"name": name, "changed": True, "version": version})
    if not as_json:
        click.echo(f"{name} is applied, version {version}. To take it back: mayfly {kind.word} back {name}")
