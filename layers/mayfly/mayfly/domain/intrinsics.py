"""CloudFormation's intrinsic functions, evaluated as far as a template and its parameters alone decide them.

A template here is a plain dict with every short form written out (`!Ref x` is `{"Ref": "x"}`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_ZONES: Final = tuple("abcdef")
"""Availability Zones that `Fn::GetAZs` gives: which one comes first is all that matters."""


class _Unknown:
    """A value that only AWS knows: an attribute, an export, a parameter of Systems Manager."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = _Unknown()
NO_VALUE: Final = object()
"""What `AWS::NoValue` gives: the property is as if it were not there."""


class Template:
    """A template with its parameters: gives values, and which resources there are.

    Args:
        body: the template. parameters: those that are given; the others have their defaults.
        region: what `AWS::Region` gives. account: what `AWS::AccountId` gives.
    """

    def __init__(
        self, body: Mapping[str, Any], parameters: Mapping[str, str], region: str = "", account: str = ""
    ) -> None:
        self._body = body
        declared: Mapping[str, Any] = body.get("Parameters") or {}
        self._values: dict[str, Any] = {
            name: _typed(str(spec.get("Type", "String")), parameters.get(name, spec.get("Default", UNKNOWN)))
            for name, spec in declared.items()
        }
        self._values |= {"AWS::Region": region or UNKNOWN, "AWS::AccountId": account or UNKNOWN}
        self._values |= {"AWS::NoValue": NO_VALUE, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com"}

    def resources(self) -> dict[str, Mapping[str, Any]]:
        """Returns the resources that a stack of it has, by logical id: those whose condition holds, or cannot be
        known."""
        every: Mapping[str, Any] = self._body.get("Resources") or {}
        return {name: each for name, each in every.items() if self.holds(each.get("Condition"))}

    def holds(self, condition: str | None) -> bool:
        """Tells whether a condition holds. One that cannot be known counts as if it did."""
        if condition is None:
            return True
        return self.value({"Condition": condition}) is not False

    def value(self, given: Any) -> Any:
        """Returns what a value is once its functions are evaluated; UNKNOWN, or UNKNOWN within it, where only AWS
        knows."""
        if isinstance(given, list):
            return [each for item in given if (each := self.value(item)) is not NO_VALUE]
        if not isinstance(given, Mapping):
            return given
        if len(given) == 1:
            [(name, argument)] = given.items()
            if function := _FUNCTIONS.get(name):
                return function(self, argument)
            if name.startswith("Fn::"):
                return UNKNOWN
        return {key: each for key, item in given.items() if (each := self.value(item)) is not NO_VALUE}

    def reference(self, name: str) -> Any:
        """Returns what `Ref` gives."""
        return self._values.get(name, UNKNOWN)

    def condition(self, name: str) -> Any:
        """Returns what a condition of this name gives."""
        return self.value((self._body.get("Conditions") or {}).get(name, UNKNOWN))

    def mapped(self, keys: list[Any]) -> Any:
        """Returns what `Fn::FindInMap` gives."""
        found: Any = self._body.get("Mappings") or {}
        for key in keys:
            found = found.get(str(key), UNKNOWN) if isinstance(found, Mapping) else UNKNOWN
        return found


def _typed(kind: str, given: Any) -> Any:
    if given is UNKNOWN or kind.startswith("AWS::SSM::"):
        return UNKNOWN
    text = str(given).lower() if isinstance(given, bool) else str(given)
    if kind == "CommaDelimitedList" or kind.startswith("List<"):
        return [part.strip() for part in text.split(",")] if text else []
    return text


def _if(template: Template, argument: Any) -> Any:
    condition, then, otherwise = argument
    chosen = template.condition(condition)
    return template.value(otherwise if chosen is False else then)  # where it is not known, what is asked for more often


def _equals(template: Template, argument: Any) -> Any:
    left, right = (template.value(each) for each in argument)
    return UNKNOWN if UNKNOWN in (left, right) else str(left) == str(right)


def _and(template: Template, argument: Any) -> Any:
    values = [template.value(each) for each in argument]
    return False if False in values else UNKNOWN if UNKNOWN in values else True


def _or(template: Template, argument: Any) -> Any:
    values = [template.value(each) for each in argument]
    return True if True in values else UNKNOWN if UNKNOWN in values else False


def _not(template: Template, argument: Any) -> Any:
    value = template.value(argument[0])
    return UNKNOWN if value is UNKNOWN else not value


def _select(template: Template, argument: Any) -> Any:
    index, values = (template.value(each) for each in argument)
    if not isinstance(values, list) or not str(index).isdecimal() or int(index) >= len(values):
        return UNKNOWN
    return values[int(index)]


def _split(template: Template, argument: Any) -> Any:
    delimiter, text = argument[0], template.value(argument[1])
    return text.split(delimiter) if isinstance(text, str) else UNKNOWN


def _join(template: Template, argument: Any) -> Any:
    values = template.value(argument[1])
    if not isinstance(values, list) or UNKNOWN in values:
        return UNKNOWN
    return str(argument[0]).join(map(str, values))


def _sub(template: Template, argument: Any) -> Any:
    text, own = (argument, {}) if isinstance(argument, str) else (argument[0], argument[1])
    named = {name: template.value(given) for name, given in own.items()}
    names = set(re.findall(r"\$\{([^!${}]+)\}", text))
    values = {name: named.get(name, template.reference(name)) for name in names}
    if any(not isinstance(value, str | int) for value in values.values()):
        return UNKNOWN
    return re.sub(r"\$\{([^!${}]+)\}", lambda found: str(values[found.group(1)]), text)


def _length(template: Template, argument: Any) -> Any:
    value = template.value(argument)
    return len(value) if isinstance(value, list) else UNKNOWN


_FUNCTIONS: dict[str, Callable[[Template, Any], Any]] = {
    "Ref": lambda template, name: template.reference(name),
    "Condition": lambda template, name: template.condition(name),
    "Fn::If": _if,
    "Fn::Equals": _equals,
    "Fn::And": _and,
    "Fn::Or": _or,
    "Fn::Not": _not,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::Join": _join,
    "Fn::Sub": _sub,
    "Fn::Length": _length,
    "Fn::FindInMap": lambda template, keys: template.mapped([template.value(key) for key in keys[:3]]),
    "Fn::GetAZs": lambda _, __: list(_ZONES),
}
