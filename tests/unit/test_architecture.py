"""The direction of imports: vocabulary <- domain <- contract, aws <- workflows <- functions. Nothing imports against an
arrow."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "mayfly" / "mayfly"
HEAVY = {"boto3", "botocore"}
CLASSES = {"msgspec"}
VOCABULARY = "mayfly.contract.vocabulary"


def imports(file, toplevel_only=False):
    tree = ast.parse(file.read_text())
    nodes = tree.body if toplevel_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_vocabulary_imports_the_standard_library_only():
    assert {name.split(".")[0] for name in imports(LAYER / "contract" / "vocabulary.py")} <= sys.stdlib_module_names


@pytest.mark.parametrize("file", sorted((LAYER / "domain").glob("*.py")), ids=lambda file: file.name)
def test_the_domain_imports_what_classes_are_made_of_the_vocabulary_and_itself_only(file):
    known = sys.stdlib_module_names | CLASSES
    foreign = {
        name
        for name in imports(file)
        if name.split(".")[0] not in known and not name.startswith(("mayfly.domain", VOCABULARY))
    }
    assert not foreign


@pytest.mark.parametrize(
    "file",
    [*sorted((LAYER / "contract").glob("*.py")), LAYER / "settings.py", LAYER / "observability.py"],
    ids=lambda file: file.name,
)
def test_the_contract_imports_neither_aws_nor_a_workflow(file):
    assert not [module for module in imports(file) if module.startswith(("mayfly.aws", "mayfly.workflows", "boto"))]


@pytest.mark.parametrize("file", sorted((LAYER / "aws").glob("*.py")), ids=lambda file: file.name)
def test_aws_imports_no_workflow(file):
    assert not [module for module in imports(file) if module.startswith("mayfly.workflows")]


@pytest.mark.parametrize("file", sorted((LAYER / "aws").glob("*.py")), ids=lambda file: file.name)
def test_a_module_of_aws_calls_one_service(file):
    called = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "workload":
            called.add(node.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "controller":
            called.add(node.args[0].value)
    assert len(called - {"region"}) <= 1, called


@pytest.mark.parametrize(("call", "home"), [("describe_instances", "instances.py"), ("get_resources", "tagging.py")])
def test_instances_and_tagged_resources_are_listed_in_one_place_each(call, home):
    files = [*LAYER.rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    assert {file.name for file in files if call in file.read_text()} == {home}


def test_the_domain_reads_no_file():
    for file in (LAYER / "domain").glob("*.py"):
        assert not set(imports(file)) & {"pathlib", "os", "io"}, file.name


@pytest.mark.parametrize("file", sorted(LAYER.rglob("*.py")), ids=lambda file: str(file.relative_to(LAYER)))
def test_nothing_in_the_layer_imports_a_function(file):
    names = {folder.name for folder in (ROOT / "functions").iterdir()}
    assert not {module.split(".")[0] for module in imports(file)} & (names | {"app", "functions", "local"})


@pytest.mark.parametrize("file", sorted((ROOT / "functions").glob("*/app.py")), ids=lambda file: file.parent.name)
class TestFunctions:
    def test_a_handler_is_short(self, file):
        handler = next(
            node
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name == "handler"
        )
        body = handler.body[1:]  # without the docstring
        assert body[-1].end_lineno - body[0].lineno < 40

    def test_it_makes_no_client_and_reads_no_clock(self, file):
        text = file.read_text()
        assert not set(imports(file)) & HEAVY
        assert ".now(" not in text
        assert "time.time" not in text

    def test_no_function_imports_another(self, file):
        known = {"mayfly", "aws_lambda_powertools"} | CLASSES | {beside.stem for beside in file.parent.glob("*.py")}
        assert {module.split(".")[0] for module in imports(file)} <= known | sys.stdlib_module_names


def test_time_is_an_input_everywhere_in_the_layer():
    for file in LAYER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = node.func.attr
                assert called not in {"now", "utcnow", "time", "sleep", "today"}, f"{file.name}:{node.lineno}"


PEOPLE = {f"mayfly.contract.{name}" for name in ("configuration", "forges", "messages", "requests", "runners")}
"""The modules that read what people write, by pydantic."""


def reached(files):
    """Every module that these files import as soon as they are imported, and those import in turn."""
    found, left = set(), [*files]
    while left:
        for node in ast.parse(left.pop().read_text()).body:
            if isinstance(node, ast.Import):
                named = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            else:
                continue
            for module in named - found:
                found.add(module)
                path = LAYER.parent / f"{module.replace('.', '/')}.py"
                left += [path] if path.exists() else []
    return found


@pytest.mark.parametrize("function", sorted((ROOT / "functions").iterdir()), ids=lambda function: function.name)
def test_a_function_that_reads_nothing_that_people_write_does_not_wait_for_pydantic(function):
    """It takes as long to import as all else that a function needs."""
    files = list(function.glob("*.py"))
    if not {name for file in files for name in imports(file)} & PEOPLE:
        assert not reached(files) & {"pydantic", *PEOPLE}


def test_no_message_is_built_when_the_contract_is_imported():
    """Each costs milliseconds of every cold start; a function reads one or two."""
    ask = """
import importlib, pkgutil, mayfly.contract as contract
from mayfly.contract.messages import Message
for module in pkgutil.iter_modules(contract.__path__, "mayfly.contract."):
    importlib.import_module(module.name)
def below(model):
    return {model}.union(*map(below, model.__subclasses__()))
print(*sorted(each.__name__ for each in below(Message) if each.__pydantic_complete__))
"""
    built = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=os.environ)
    assert built.stdout.split() == []


def test_only_tests_read_items_as_they_are():
    """Whoever reads a raw item writes its keys as literals. The table's own module and the one that local and bench
    share make records of them."""
    files = [*(ROOT / "layers").rglob("*.py"), *(ROOT / "functions").rglob("*.py")]
    files += [file for folder in ("local", "bench", "accept", "cli") for file in (ROOT / folder).rglob("*.py")]
    asking = {
        str(file.relative_to(ROOT)) for file in files if re.search(r"TypeDeserializer|of_item\(", file.read_text())
    }
    # The simulated table of the bench of pages is read as DynamoDB's client would read it.
    assert asking == {"layers/mayfly/mayfly/aws/records.py", "local/records.py", "bench/pages.py"}
