"""The direction of imports: domain knows nobody, aws knows domain, functions know all, nobody knows functions."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "mayfly" / "mayfly"
HEAVY = {"boto3", "botocore"}


def imports(file, toplevel_only=False):
    tree = ast.parse(file.read_text())
    nodes = tree.body if toplevel_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("file", sorted((LAYER / "domain").glob("*.py")), ids=lambda file: file.name)
def test_the_domain_imports_the_standard_library_and_itself_only(file):
    foreign = {
        name
        for name in imports(file)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("mayfly.domain")
    }
    assert not foreign


@pytest.mark.parametrize("name", ["messages.py", "settings.py", "observability.py"])
def test_the_doors_know_neither_aws_nor_functions(name):
    assert not [module for module in imports(LAYER / name) if module.startswith(("mayfly.aws", "boto"))]


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
        known = {"mayfly", "aws_lambda_powertools"} | {beside.stem for beside in file.parent.glob("*.py")}
        assert {module.split(".")[0] for module in imports(file)} <= known | sys.stdlib_module_names


def test_time_is_an_input_everywhere_in_the_layer():
    for file in LAYER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = node.func.attr
                assert called not in {"now", "utcnow", "time", "sleep", "today"}, f"{file.name}:{node.lineno}"
