"""Which operations of AWS each function can call, found by following names through the code from its handler."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import botocore.session
from botocore import xform_name

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "mayfly"

# The clients of a workload account by the name of the attribute that they are reached by; the others are the
# controller's own.
WORKLOAD = {
    "autoscaling": "autoscaling",
    "cloudformation": "cloudformation",
    "cloudwatch": "cloudwatch",
    "ec2": "ec2",
    "elbv2": "elbv2",
    "iam": "iam",
    "imagebuilder": "imagebuilder",
    "kms": "kms",
    "logs": "logs",
    "rds": "rds",
    "s3": "s3",
    "servicequotas": "service-quotas",
    "ssm": "ssm",
    "tagging": "resourcegroupstaggingapi",
}
CONTROLLER = ("dynamodb", "events", "lambda", "route53", "s3", "sns", "sqs", "ssm", "stepfunctions", "sts")
OF_DICTIONARIES = {"get", "items", "keys", "pop", "update", "values", "copy", "count", "index"}

type Node = tuple[str, str]
"""A module and one of its names; a method is ``Class.method``."""
type Operation = tuple[str, str]
"""A service and an operation, as AWS writes it."""


@cache
def operations() -> dict[str, dict[str, str]]:
    """Of each service, its operations by the names of a client's methods."""
    session = botocore.session.get_session()
    services = {*WORKLOAD.values(), *CONTROLLER}
    return {
        service: {xform_name(name): name for name in session.get_service_model(service).operation_names}
        for service in services
    }


class Module:
    """A module's names, each with the code behind it."""

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.imported: dict[str, Node] = {}
        self.code: dict[str, ast.AST] = {}
        self.classes: set[str] = set()
        for statement in ast.parse(file.read_text()).body:
            self._read(statement)

    def _read(self, statement: ast.stmt) -> None:
        match statement:
            case ast.ImportFrom(module=str(module), names=names):
                self.imported |= {each.asname or each.name: (module, each.name) for each in names}
            case ast.FunctionDef():
                self.code[statement.name] = statement
            case ast.ClassDef():
                self.classes.add(statement.name)
                self.code[statement.name] = ast.Module([], [])
                methods = [inner for inner in statement.body if isinstance(inner, ast.FunctionDef)]
                self.code |= {f"{statement.name}.{each.name}": each for each in methods}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self.code[name] = statement


@cache
def _layer() -> dict[str, Module]:
    found = {}
    for file in sorted((LAYER / "mayfly").rglob("*.py")):
        parts = file.relative_to(LAYER).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, file)
    return found


@cache
def modules(function: str) -> dict[str, Module]:
    """Reads the modules of a Lambda function: those of its layer, and its own."""
    found = {**_layer()}
    for file in sorted((ROOT / "functions" / function).glob("*.py")):
        found[file.stem] = Module(file.stem, file)
    return found


@cache
def called_by(function: str) -> tuple[set[Operation], set[Operation]]:
    """What a function may call: in the controller account, and in workload accounts."""
    parts = modules(function)
    own, there = set[Operation](), set[Operation]()
    for module, name in reached(function):
        for service, operation, workload in _operations(parts[module].code[name]):
            (there if workload else own).add((service, operation))
    return own, there


@cache
def reached(function: str) -> set[Node]:
    """The code that a function may come to, from its handler."""
    parts = modules(function)
    waiting: list[Node] = [("app", "handler")]
    seen = set(waiting)
    if function == "serve_api":  # its routes are found by decorators
        waiting += [(name, each) for name in ("app", "reads", "changes") for each in parts[name].code]
    while waiting:
        module, name = waiting.pop()
        part = parts.get(module)
        if part is None or name not in part.code:
            continue
        for node in _references(parts, part, name):
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return {(module, name) for module, name in seen if module in parts and name in parts[module].code}


def _references(parts: dict[str, Module], part: Module, name: str) -> Iterator[Node]:
    """The names of the package that some code refers to."""
    whole = ast.unparse(part.code[name])
    called = {id(node.func) for node in ast.walk(part.code[name]) if isinstance(node, ast.Call)}
    for node in ast.walk(part.code[name]):
        if isinstance(node, ast.Name):
            yield from _resolved(parts, part, node.id)
        elif isinstance(node, ast.Attribute):
            own = f"{name.partition('.')[0]}.{node.attr}"
            if ast.unparse(node.value) == "self" and own in part.code:
                yield part.name, own
            else:
                yield from _of_attribute(parts, part, node, whole, id(node) in called)


def _resolved(parts: dict[str, Module], part: Module, name: str) -> Iterator[Node]:
    module, found = part.imported.get(name, (part.name, name))
    if module in parts and found in parts[module].code:
        yield module, found
        if found in parts[module].classes:
            yield module, f"{found}.__init__"
            yield module, f"{found}.__post_init__"


def _of_attribute(
    parts: dict[str, Module], part: Module, node: ast.Attribute, whole: str, called: bool
) -> Iterator[Node]:
    if isinstance(node.value, ast.Name) and node.value.id in part.imported:
        module, found = part.imported[node.value.id]
        inside = f"{module}.{found}"
        if inside in parts:
            yield inside, node.attr
            return
    base = ast.unparse(node.value)
    for module, other in parts.items():
        for cls in other.classes:
            method = f"{cls}.{node.attr}"
            if method not in other.code or not (called or base == "self" or _is_property(other.code[method])):
                continue
            if node.attr not in OF_DICTIONARIES or _is_of(base, cls, whole):
                yield module, method


def _is_property(code: ast.AST) -> bool:
    """Whether a method is asked for without being called: what else has its name and is not called is a field."""
    return "property" in {ast.unparse(each).rpartition("_")[2] for each in getattr(code, "decorator_list", [])}


def _is_of(base: str, cls: str, whole: str) -> bool:
    """Whether an expression is one of this class: made right there, called like it, or made earlier."""
    made = rf"\b{re.escape(base)} = {cls}\((?:[^()\n]|\([^()\n]*\))*\)$"
    return bool(re.match(rf"(self\._?)?{cls}\b", base, re.IGNORECASE) or re.search(made, whole, re.MULTILINE))


def _operations(code: ast.AST) -> Iterator[tuple[str, str, bool]]:
    """The operations of clients that some code names, as methods or as texts (to a paginator); and whether they are a
    workload account's."""
    whole = ast.unparse(code)
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute):
            yield from _named(node.attr, ast.unparse(node.value), whole)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _named(node.value, whole, whole)


def _named(method: str, base: str, whole: str) -> Iterator[tuple[str, str, bool]]:
    services = [service for service, names in operations().items() if method in names]
    by_attribute = [service for name, service in WORKLOAD.items() if f".{name}" in base and service in services]
    own = [service for service in services if service in CONTROLLER and f"controller('{service}')" in whole]
    # A client that was handed over.
    passed = [each for each in services if base == each or re.search(rf"(?<!\.)\b{each}\.get_paginator", base)]
    for service in by_attribute:
        yield service, operations()[service][method], True
    for service in [] if by_attribute else own:
        yield service, operations()[service][method], False
    for service in [] if by_attribute or own else passed:
        if service in CONTROLLER and f".{service}" not in whole:
            yield service, operations()[service][method], False
        if service in WORKLOAD:
            yield service, operations()[service][method], True
    certain = "_" in method or f"get_paginator({method!r})" in whole  # "publish" may be anybody's
    if certain and not (by_attribute or own or passed) and len(services) == 1:
        (service,) = services
        yield service, operations()[service][method], service not in CONTROLLER
