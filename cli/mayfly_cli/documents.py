"""Configuration documents as people write them: YAML with comments, checked with line numbers, compared as text."""

import ast
import difflib
import inspect
import itertools
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mayfly.contract import configuration, forges, runners
from mayfly.contract.configuration import Application, Family
from mayfly.contract.fields import short

type Json = dict[str, Any]
type KeyPath = tuple[int | str, ...]

_MODULES = (configuration, runners, forges)
_TYPED = "body"
"""Below this key values keep their types: it is sent as it stands. All others get theirs from the model."""


@dataclass(frozen=True)
class Kind:
    """A kind of document: its word on the command line, where Parameter Store keeps it, and what it has to be."""

    word: str
    folder: str
    model: type[BaseModel]

    @property
    def example(self) -> str:
        """A commented document that works, with NAME, ACCOUNT and REGION to be replaced."""
        return (Path(__file__).parent / "examples" / f"{self.word}.yaml").read_text()

    @property
    def schema(self) -> str:
        """The JSON Schema that editors complete by, and the console's form is made of, with what each field means."""
        made = self.model.model_json_schema()
        known = {each.__name__: each for module in _MODULES for each in vars(module).values() if isinstance(each, type)}
        for name, part in {self.model.__name__: made, **made.get("$defs", {})}.items():
            for field, said in meanings(known[name]).items() if name in known else ():
                part["properties"].get(field, {}).setdefault("description", said)
        return json.dumps(made, indent=1) + "\n"


@cache
def meanings(model: type) -> dict[str, str]:
    """Reads what each field of a message or configuration class means: the text below the field in the source, in the
    class and its base classes."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not each.__module__.startswith("mayfly.contract"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0].body  # type: ignore[attr-defined]
        for field, below in itertools.pairwise(body):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                found[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return found


APPLICATION = Kind("app", "applications", Application)
FAMILY = Kind("family", "families", Family)


class Wrong(Exception):
    """A document that is wrong: each line says where and why."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Document:
    """A document that was read: what it says, and on which line each part of it stands."""

    file: str
    content: Any
    lines: dict[KeyPath, int]

    def line(self, at: KeyPath) -> int:
        """Returns the line of a part, or of the nearest part around it that there is."""
        known: KeyPath = ()
        for part in at:
            known = (*known, part) if (*known, part) in self.lines else known
        return self.lines[known]


def read(file: str, text: str) -> Document:
    """Reads YAML, or JSON, which is YAML.

    Raises:
        Wrong: it is neither, or says a thing twice.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Wrong([f"{file}:{mark.line + 1 if mark else 1}: {error.problem}"]) from None
    if root is None:
        raise Wrong([f"{file}:1: expected a document, but it is empty"])
    lines: dict[KeyPath, int] = {}
    faults: list[str] = []
    content = _value(root, (), lines, faults)
    if faults:
        raise Wrong([f"{file}:{fault}" for fault in faults])
    return Document(file, content, lines)


def _value(node: Any, at: KeyPath, lines: dict[KeyPath, int], faults: list[str]) -> Any:
    """Returns what a node says. Texts stay texts, so that an account of digits or a version 1.10 is what is written."""
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        content: Json = {}
        for key, value in node.value:
            inner = (*at, str(key.value))
            if inner in lines:
                faults.append(f"{key.start_mark.line + 1}: {key.value}: it is there already, on line {lines[inner]}")
                continue
            lines[inner] = key.start_mark.line + 1
            content[str(key.value)] = _value(value, inner, lines, faults)
        return content
    if isinstance(node, yaml.SequenceNode):
        return [_value(inner, (*at, number), lines, faults) for number, inner in enumerate(node.value)]
    plain = not node.style
    if plain and (_TYPED in at or node.tag == "tag:yaml.org,2002:null"):
        return yaml.SafeLoader("").construct_object(node)
    return node.value


def check(kind: Kind, document: Document) -> BaseModel:
    """Returns what a document means.

    Raises:
        Wrong: it is not what it should be: each fault with its line, field, value and what was expected.
    """
    try:
        return kind.model.model_validate(document.content)
    except ValidationError as error:
        said = []
        for fault in error.errors():
            at = tuple(fault["loc"])
            where = ".".join(str(part) for part in at) or "document"
            value = "" if fault["type"] == "missing" else f", but it is {short(repr(fault['input']))}"
            said.append((document.line(at), f"{where}: {fault['msg']}{value}"))
        raise Wrong([f"{document.file}:{line}: {what}" for line, what in sorted(said)]) from None


def shown(value: str) -> str:
    """Returns a document of Parameter Store for people."""
    return str(yaml.safe_dump(json.loads(value), sort_keys=False, allow_unicode=True, width=100))


def changes(before: str | None, after: str) -> Iterator[str]:
    """Returns what differs between two documents, line by line."""
    old, new = shown(before).splitlines() if before else [], shown(after).splitlines()
    lines = difflib.unified_diff(old, new, "what is there" if before else "nothing", "what is to be", lineterm="")
    yield from lines
