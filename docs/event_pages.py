"""Writes every event of Mayfly's bus into docs/events.md, and a JSON Schema of them into docs/events.schema.json.

What an event means and its fields stand with its class; who sends and hears it, in the machines, the functions and the
template; an example of each in docs/events-examples.json.
"""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.json import schema_components
from msgspec.structs import fields

from mayfly.contract import announcements, requests
from mayfly.contract.fields import END, Announcement, Part
from mayfly.contract.messages import Message, Request
from mayfly.contract.vocabulary import Event, Source
from mayfly_cli.documents import meanings

ROOT = Path(__file__).resolve().parents[1]
PAGE, SCHEMA = ROOT / "docs" / "events.md", ROOT / "docs" / "events.schema.json"
MARK = "<!-- events -->\n"
SHARED = {
    "account": "Of AWS, 12 digits.",
    "action": "What is done with it: keep, end, wake, adopt or refuse.",
    "application": "The application's name, as it is configured.",
    "approved_by": "Who, for the history.",
    "asked_by": "Who, or `schedule`.",
    "at": "When, UTC.",
    "bake": "The bake's name.",
    "base": "What it is baked from.",
    "by": "What ended it.",
    "cause": "What made it due.",
    "channel": "The channel's name.",
    "closed_by": "Who, for the history.",
    "commit": "Of the version's source, for people.",
    "deadline": "When the environment is terminated, UTC.",
    "environment": "The environment's name.",
    "family": "The image family's name, as it is configured.",
    "finished_by": "Who, for the history.",
    "gone_at": "When nothing ran on it any more, UTC.",
    "failures": "How many of its instances failed, by cause.",
    "image": "Id of the image (AMI).",
    "instances_failed": "How many of its instances never signalled, or were lost while it was tested.",
    "instances_built": "How many instances it had.",
    "outcome": "What came of it.",
    "owner": "Of the application, as it is configured.",
    "passed": "Whether every suite passed.",
    "pull_request": "The number of the pull request; of GitLab, the merge request.",
    "pushed_by": "Who, for the history.",
    "reason": "For people.",
    "region": "Of AWS.",
    "release": "The release's name.",
    "report": "Where the tests left their report.",
    "requested_by": "Who, for the history.",
    "rollout": "The rollout's name.",
    "service": "The permanent environment's name.",
    "set_by": "Who, for the history.",
    "sha256": "Checksum of the artifact, 64 hexadecimal digits.",
    "suite": "The suite's name in the test plan.",
    "suites": "Each suite's part in the verdict.",
    "ending": "Why it ended.",
    "dry_run": "Whether it only reports.",
    "on": "Whether it is on from now.",
    "after": "What it runs from now.",
    "to": "`latest`: what is wanted of it by now. `previous`: one step back.",
    "artifact": "Where it is fetched from.",
    "version": "The code version.",
    "why": "For the history.",
}
"""What fields of these names mean, where their class says nothing else."""
EXAMPLES: dict[str, dict[str, Any]] = json.loads((ROOT / "docs" / "events-examples.json").read_text())


type Detail = type[Announcement | Request]


def _declared(base: type[Any]) -> Iterator[type[Any]]:
    for model in base.__subclasses__():
        if "event" in vars(model):
            yield model
        yield from _declared(model)


CATALOGUE: dict[str, Detail] = {model.event: model for base in (Request, Announcement) for model in _declared(base)}


def schema_of(model: Detail) -> dict[str, Any]:
    """The JSON Schema of an event's detail, with the meaning of each field."""
    schema = _of_struct(model) if issubclass(model, Part) else model.model_json_schema()
    for each in (model, *_parts()):
        part = schema if each is model else schema.get("$defs", {}).get(each.__name__, {})
        said = meanings(each)
        for name, written in _fields(each):
            shown = part.get("properties", {}).get(written)
            if shown is not None:
                shown.pop("title", None)
                shown |= {"description": said.get(name) or SHARED[name]}
    return schema


def _of_struct(model: type[Part]) -> dict[str, Any]:
    _, parts = schema_components([model], ref_template="#/$defs/{name}")
    found: dict[str, Any] = json.loads(json.dumps(parts).replace(json.dumps(END)[1:-1], ""))
    return found.pop(model.__name__) | ({"$defs": found} if found else {})


def _fields(each: type[Any]) -> list[tuple[str, str]]:
    """The names of a class's fields, in Python and in JSON."""
    if issubclass(each, Part):
        return [(field.name, field.encode_name) for field in fields(each)]
    return [(name, name) for name in each.model_fields]


def _parts() -> list[type[Any]]:
    every = [each for module in (announcements, requests) for each in vars(module).values()]
    return [each for each in every if isinstance(each, type) and issubclass(each, Part | Message)]


def schema() -> dict[str, Any]:
    """One schema for all events as EventBridge delivers them: `detail-type` says which detail it has to be."""
    details, shared = {}, {}
    for model in CATALOGUE.values():
        detail = schema_of(model)
        shared |= detail.pop("$defs", {})
        details[model.__name__] = detail
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Events of Mayfly's bus, as EventBridge delivers them",
        "type": "object",
        "required": ["detail-type", "detail"],
        "properties": {"detail-type": {"enum": sorted(CATALOGUE)}},
        "allOf": [
            {
                "if": {"properties": {"detail-type": {"const": event}}},
                "then": {"properties": {"detail": {"$ref": f"#/$defs/{model.__name__}"}}},
            }
            for event, model in sorted(CATALOGUE.items())
        ],
        "$defs": shared | details,
    }


def senders(event: str) -> list[str]:
    """The state machines and the modules that put an event on the bus."""
    machines = [
        f"state machine `{path.name.partition('.')[0]}`"
        for path in sorted(ROOT.glob("statemachines/*.json"))
        if re.search(rf"""(?<!"Comment": )["']{event}["']""", path.read_text())
    ]
    name = CATALOGUE[event].__name__
    modules = [*ROOT.glob("functions/*/*.py"), *ROOT.glob("layers/mayfly/mayfly/workflows/*.py")]
    said = [
        f"`{path.relative_to(ROOT).as_posix().removeprefix('layers/mayfly/mayfly/')}`"
        for path in sorted(modules)
        if name in _made_in(path)
    ]
    return machines + said


@cache
def _made_in(module: Path) -> set[str]:
    return set(_made(ast.parse(module.read_text())))


def _made(tree: ast.AST) -> Iterator[str]:
    """The names of the classes that a module makes objects of, chooses between, or looks up."""
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        chosen = (node.body, node.orelse) if isinstance(node, ast.IfExp) else ()
        looked_up = node.values if isinstance(node, ast.Dict) else ()
        for each in (called, getattr(called, "value", None), *chosen, *looked_up):
            if isinstance(each, ast.Name):
                yield each.id


def hearers(event: str) -> list[str]:
    """The functions whose rules in the template match an event."""
    found = []
    for name, resource in _resources().items():
        for rule in (resource.get("Properties", {}).get("Events") or {}).values():
            pattern = (rule.get("Properties") or {}).get("Pattern") or {}
            for wanted in pattern.get("detail-type", []):
                if wanted == event or (isinstance(wanted, dict) and event.startswith(wanted["prefix"])):
                    found.append(f"`{_snake(name)}`")
    return found


@cache
def _resources() -> dict[str, Any]:
    from samtranslator.yaml_helper import yaml_parse

    return dict(yaml_parse((ROOT / "template.yaml").read_text())["Resources"])


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def _kind(part: dict[str, Any], defs: dict[str, Any]) -> str:
    """A field's type for people."""
    if "$ref" in part:
        return _kind(defs[part["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(_kind(each, defs) for each in part["anyOf"]))
    if "enum" in part:
        return ", ".join(f"`{word}`" for word in part["enum"])
    if part.get("type") == "array":
        return f"list of {_kind(part.get('items', {}), defs)}"
    if part.get("type") == "object" and "properties" in part:
        return "{" + ", ".join(f"`{name}`" for name in part["properties"]) + "}"
    if part.get("additionalProperties") is True:
        return "object"
    if part.get("type") == "object":
        return f"texts to {_kind(part.get('additionalProperties', {}), defs)}"
    return {"string": "text", "integer": "number", "boolean": "true or false"}.get(
        part.get("type", ""), part.get("type", "")
    )


def section(event: str) -> str:
    """An event on the page."""
    model = CATALOGUE[event]
    found = schema_of(model)
    defs, required = found.get("$defs", {}), found.get("required", [])
    rows = [
        f"| `{name}` | {_kind(part, defs)} | {'' if name in required else 'optional'} | {part.get('description', '')} |"
        for name, part in found["properties"].items()
    ]
    heard = ", ".join(hearers(event)) or "nobody of Mayfly's own"
    who = f"Sent by {', '.join(senders(event))}. " if issubclass(model, Announcement) else ""
    parts = [
        f"### {event}\n\n{' '.join((model.__doc__ or '').split())}\n\n{who}Heard by {heard}.\n",
        "| field | type | | meaning |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n",
        f"```json\n{json.dumps(EXAMPLES[event], indent=2)}\n```\n",
    ]
    return "\n".join(parts)


def page() -> str:
    """The page as it is to be."""
    heard = [str(event) for event in Event if not issubclass(CATALOGUE[event], Announcement)]
    said = [str(event) for event in Event if issubclass(CATALOGUE[event], Announcement)]
    parts = [
        PAGE.read_text().partition(MARK)[0] + MARK,
        "## What Mayfly hears\n",
        *(section(event) for event in heard),
        f"## What Mayfly says\n\nAll with the source `{Source.MAYFLY}`.\n",
        *(section(event) for event in said),
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(schema(), indent=1) + "\n")
    PAGE.write_text(page())
