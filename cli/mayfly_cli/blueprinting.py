"""The commands that make templates blueprints: objects in the installation's bucket, which keeps their versions and who
wrote them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mayfly_cli.errors import Failed, NotFound

if TYPE_CHECKING:
    from mayfly.workflows.examination import Remark
    from mayfly_cli.installation import Installation

SHOWN = 20
"""Versions that are listed: who wrote each takes a call."""
_WHO = "written-by"
"""The object's own metadata that says who wrote it."""

key_argument = click.argument("key")
file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@dataclass(frozen=True)
class Version:
    """A version of a blueprint; one that was removed has no text any more."""

    id: str
    at: str
    newest: bool
    removed: bool


@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--like", default="fleet.yaml", show_default=True, help="The blueprint that it begins as.")
def init(installation: Installation, as_json: bool, file: Path, like: str) -> None:
    """Write FILE, a template that begins as one of the blueprints that are there."""
    from mayfly_cli import show as shown

    if file.exists():
        raise Failed(f"{file} is there already. Remove it, or go on with: mayfly blueprint check {file}")
    file.write_text(_text(installation, like, _there(installation, like)[0].id))
    shown.answer(as_json, {"file": str(file), "like": like})
    if not as_json:
        click.echo(f"{file} is written. Change it, and then: mayfly blueprint apply {file}")


@file_argument
@click.option("--key", help="What applications call it; the file's name where it is left out.")
@click.option("--anyway", is_flag=True, help="Also where the check finds an error.")
@yes_option
def apply(installation: Installation, as_json: bool, file: Path, key: str | None, anyway: bool, yes: bool) -> None:
    """Check a template as `blueprint check` does, and with what applications configure, and upload it.

    Shows what it changes before that. Releases that are planned from then on are built from it; what is planned already
    keeps the version that it has.
    """
    from mayfly.workflows.examination import examine

    text, name = file.read_text(), key or file.name
    remarks = examine(text)
    known = {one.said for one in remarks if one.level == "error"}
    for application, own in installation.users_of(name):
        remarks += [one.of(application) for one in examine(text, own) if one.level == "error" and one.said not in known]
    say_remarks(name, text, remarks, as_json)
    if any(one.level == "error" for one in remarks) and not anyway:
        raise Failed(f"{name} was not uploaded; --anyway does so all the same.")
    _put(installation, name, text, yes)


@key_argument
@click.option("--versions", is_flag=True, help="Who wrote which version, and when; the newest first.")
def show(installation: Installation, as_json: bool, key: str, versions: bool) -> None:
    """Show the template of a blueprint, or its versions with who wrote each."""
    from mayfly_cli import show as shown

    found = _there(installation, key)
    if not versions:
        text = _text(installation, key, found[0].id)
        shown.answer(as_json, {"key": key, "version": found[0].id, "template": text})
        if not as_json:
            click.echo(text, nl=not text.endswith("\n"))
        return
    rows = [(each.id, each.at, _writer(installation, key, each)) for each in found[:SHOWN]]
    listed = [{"version": version, "at": at, "by": by} for version, at, by in rows]
    table = shown.table(f"{key}, {len(found)} versions", ("version", "at", "who"), rows)
    shown.answer(as_json, {"key": key, "versions": listed}, table)


@key_argument
@yes_option
def back(installation: Installation, as_json: bool, key: str, yes: bool) -> None:
    """Put the version before the newest of a blueprint in place again, also of one that was removed."""
    from mayfly_cli import show as shown

    newest, *earlier = _versions(installation, key)
    now = "" if newest.removed else _text(installation, key, newest.id)
    texts = (_text(installation, key, each.id) for each in earlier if not each.removed)
    before = next((text for text in texts if text != now), None)
    if before is None:
        raise Failed(f"{key} has no earlier version to go back to.")
    _put(installation, key, before, yes)
    shown.answer(as_json, {"key": key, "changed": True})


@key_argument
@yes_option
def remove(installation: Installation, as_json: bool, key: str, yes: bool) -> None:
    """Remove a blueprint that no application names. The bucket keeps its versions: `blueprint back` takes it back."""
    from mayfly.aws.clients import controller
    from mayfly_cli import show as shown

    _there(installation, key)
    if users := [application for application, _ in installation.users_of(key)]:
        raise Failed(f"{key} was not removed: {', '.join(users)} would not be built any more.")
    if not yes and not click.confirm(f"Remove {key}?", err=True):
        raise Failed("Nothing was removed.")
    controller("s3").delete_object(Bucket=installation.settings.blueprints, Key=key)
    shown.answer(as_json, {"removed": key})
    if not as_json:
        click.echo(f"{key} is removed. To take that back: mayfly blueprint back {key}")


def say_remarks(name: str, text: str, remarks: list[Remark], as_json: bool) -> None:
    """Prints what there is to say about a template, and what one environment of it takes of each quota."""
    from mayfly.workflows import examination
    from mayfly_cli import show

    takes, unknown = examination.takes(text)
    rows = [(one.level, one.line, one.where, one.said) for one in remarks]
    listed = {"file": name, "remarks": [one.as_json() for one in remarks], "takes": takes, "not_reckoned": unknown}
    quotas = [(each["quota"], f"{each['takes']:g}", each["default"]) for each in takes]
    show.answer(
        as_json,
        listed,
        show.table(name, ("", "line", "what", "what was found"), rows),
        show.table("One environment takes, as its defaults say", ("quota", "takes", "of a new account's"), quotas),
        *([show.table("Not reckoned", ("why",), [(why,) for why in unknown])] if unknown else []),
    )


def _put(installation: Installation, key: str, text: str, yes: bool) -> None:
    """Shows what a template changes, and uploads it."""
    from mayfly.aws.clients import controller

    versions = _known(installation, key)
    before = _text(installation, key, versions[0].id) if versions and not versions[0].removed else ""
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), "what is there", "what is to be", lineterm="")
    if not (changes := "\n".join(lines)):
        click.echo(f"{key} is so already", err=True)
        return
    click.echo(changes if before else f"{key} is new", err=True)
    if not yes and not click.confirm(f"Apply this to {key}?", err=True):
        raise Failed("Nothing was changed.")
    bucket = installation.settings.blueprints
    # Metadata is ASCII: the names of people in an ARN need not be.
    who = installation.who.encode("ascii", "replace").decode()
    reply = controller("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), Metadata={_WHO: who})
    click.echo(f"{key} is uploaded to {bucket}, as version {reply.get('VersionId', 'none')}.", err=True)


def _there(installation: Installation, key: str) -> list[Version]:
    """Lists the S3 versions of a blueprint, the newest first; refuses one that was removed."""
    found = _versions(installation, key)
    if found[0].removed:
        raise NotFound(f"{key} was removed at {found[0].at}. To take that back: mayfly blueprint back {key}")
    return found


def _versions(installation: Installation, key: str) -> list[Version]:
    """Returns the versions of a blueprint that there is or was, the newest first."""
    if found := _known(installation, key):
        return found
    raise NotFound(f"There is no blueprint {key!r} in {installation.settings.blueprints}.")


def _known(installation: Installation, key: str) -> list[Version]:
    return sorted(_listed(installation, key), key=lambda each: (each.newest, each.at), reverse=True)


def _listed(installation: Installation, key: str) -> Iterator[Version]:
    from mayfly.aws.clients import controller
    from mayfly.domain.timestamp import utc_text

    pages = controller("s3").get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=installation.settings.blueprints, Prefix=key):
        for kind in ("Versions", "DeleteMarkers"):
            for each in page.get(kind, []):
                if each["Key"] == key:
                    at = utc_text(each["LastModified"])
                    yield Version(each["VersionId"], at, each["IsLatest"], kind == "DeleteMarkers")


def _text(installation: Installation, key: str, version: str) -> str:
    from mayfly.aws.clients import controller

    found = controller("s3").get_object(Bucket=installation.settings.blueprints, Key=key, VersionId=version)
    return str(found["Body"].read().decode())


def _writer(installation: Installation, key: str, version: Version) -> str:
    from mayfly.aws.clients import controller

    if version.removed:
        return "removed"
    which: Any = {"Bucket": installation.settings.blueprints, "Key": key, "VersionId": version.id}
    return str(controller("s3").head_object(**which)["Metadata"].get(_WHO, ""))
