"""Reads CloudFormation templates: JSON, or YAML with the short forms of its functions."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import yaml


class _Reader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, with CloudFormation's functions, and with dates as the texts that they are there."""


_Reader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
    for first, known in _Reader.yaml_implicit_resolvers.items()
}


def _function(reader: Any, name: str, node: Any) -> Any:
    """Returns a function in its long form: ``!GetAtt a.b`` is ``{"Fn::GetAtt": ["a", "b"]}``."""
    if isinstance(node, yaml.ScalarNode):
        given: Any = reader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        given = reader.construct_sequence(node, deep=True)
    else:
        given = reader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(given, str):
        given = given.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": given}


_Reader.add_multi_constructor("!", _function)


def read(text: str) -> dict[str, Any]:
    """Reads a template as CloudFormation understands it, each function in its long form.

    Raises:
        ValueError: it is no JSON, no YAML, or no template; the message says where.
    """
    try:
        _refuse(text)
        found = yaml.load(text, Loader=_Reader)  # a safe loader, with functions
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if not isinstance(found, dict) or not isinstance(found.get("Resources"), dict):
        raise ValueError("expected a CloudFormation template with Resources")
    if not isinstance(found.get("Parameters") or {}, dict):
        raise ValueError("Parameters: expected a name and a definition for each")
    return found


def _refuse(text: str) -> None:
    """Refuses aliases, which CloudFormation does not take either: a few that name one another become more than fits
    into any memory. It also refuses what is nested so deeply that the library breaks on it, and numbers that take the
    library minutes."""
    depth = 0
    for event in yaml.parse(text, Loader=_Reader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        said = f"*{event.anchor} is a YAML alias" if isinstance(event, yaml.AliasEvent) else ""
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _LONG_NUMBER.fullmatch(event.value):
            said = f"a number of {len(event.value)} characters"
        if said := said or (f"it is nested more than {_DEEPEST} deep" if depth > _DEEPEST else ""):
            where = f"line {event.start_mark.line + 1}: " if event.start_mark else ""
            raise ValueError(f"{where}{said}, which CloudFormation does not take")


_DEEPEST = 100
_LONG_NUMBER = re.compile(r"[-+.:\d_]{1000,}")


def lines(text: str) -> Callable[[Iterable[str]], int]:
    """Looks up the line on which something of a template stands, or else the nearest part of its path that is there."""
    root: Any = yaml.compose(text, Loader=_Reader)

    def line_of(path: Iterable[str]) -> int:
        node, line = root, 1
        for step in path:
            known = node.value if isinstance(node, yaml.MappingNode) else []
            found = next(((key, value) for key, value in known if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return line

    return line_of
