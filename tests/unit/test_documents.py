"""Documents that people write: what is wrong is said with its line, and what is written means what it says."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from docs.manual import SCHEMAS
from mayfly.contract.configuration import Application
from mayfly.workflows.catalogue import as_kept
from mayfly_cli import documents
from mayfly_cli.documents import APPLICATION, FAMILY, Wrong

ROOT = Path(__file__).resolve().parents[2]
GOOD = """owner: team@example.com
blueprint: fleet.yaml
image: {family: base}
account: "222222222222"
suites:
  - name: smoke
"""


def faults(text, kind=APPLICATION):
    with pytest.raises(Wrong) as wrong:
        documents.check(kind, documents.read("shop.yaml", text))
    return wrong.value.faults


def example(kind):
    return kind.example.replace("NAME", "shop").replace("ACCOUNT", "222222222222").replace("REGION", "us-east-1")


class TestADocument:
    def test_is_yaml_or_json(self):
        written = documents.check(APPLICATION, documents.read("a.json", json.dumps(yaml.safe_load(GOOD))))
        assert written == documents.check(APPLICATION, documents.read("a.yaml", GOOD))

    def test_means_what_is_written(self):
        text = GOOD.replace('"222222222222"', "022222222222") + "parameters: {Version: 1.10, On: yes, Port: 0080}\n"
        model = documents.check(APPLICATION, documents.read("shop.yaml", text))
        assert isinstance(model, Application)
        assert model.account == "022222222222", "no octal number"
        assert model.parameters == {"Version": "1.10", "On": "yes", "Port": "0080"}

    def test_keeps_the_types_of_a_body(self):
        runner = """    runner:
      type: http
      url: https://ci.example.com/start
      connection: arn:aws:events:us-east-1:111111111111:connection/mayfly-ci/1b6c2f0e-7d5a-4f57-9f0c-0a4d2a6b9c11
      body: {draft: true, count: 3, name: "7"}
"""
        model = documents.check(APPLICATION, documents.read("shop.yaml", GOOD + runner))
        assert model.suites[0].runner.body == {"draft": True, "count": 3, "name": "7"}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "shop.yaml:1: expected a document"),
            ("owner: [", "shop.yaml:"),
            (GOOD + "owner: other\n", "shop.yaml:7: owner: it is there already, on line 1"),
            (GOOD.replace("fleet.yaml", "../x"), "shop.yaml:2: blueprint: String should match pattern"),
            (
                GOOD + "    kind: magic\n",
                "shop.yaml:7: suites.0.kind: Input should be 'automated', 'manual' or 'preview'",
            ),
            (GOOD + "colour: blue\n", "shop.yaml:7: colour: Extra inputs are not permitted, but it is 'blue'"),
            (GOOD.replace("owner: team@example.com\n", ""), "shop.yaml:1: owner: Field required"),
            (
                GOOD + "    runner:\n      type: command\n",
                "shop.yaml:7: suites.0.runner.command.script: Field required",
            ),
        ],
    )
    def test_that_is_wrong_says_where_and_what_was_expected(self, text, said):
        found = faults(text)
        assert any(fault.startswith(said) for fault in found), found

    def test_names_every_fault_at_once(self):
        assert len(faults(GOOD.replace("fleet.yaml", "../x") + "colour: blue\n")) == 2

    def test_is_kept_without_what_goes_without_saying(self):
        model = documents.check(APPLICATION, documents.read("shop.yaml", GOOD))
        assert "lifetime_minutes" not in as_kept(model)
        assert yaml.safe_load(documents.shown(as_kept(model))) == json.loads(as_kept(model))

    def test_is_compared_line_by_line(self):
        before = json.dumps({"owner": "a", "instance_count": 2})
        after = json.dumps({"owner": "a", "instance_count": 3})
        lines = list(documents.changes(before, after))
        assert "-instance_count: 2" in lines
        assert "+instance_count: 3" in lines
        assert list(documents.changes(after, after)) == []


class TestTheExamples:
    @pytest.mark.parametrize("kind", [APPLICATION, FAMILY], ids=["app", "family"])
    def test_are_right(self, kind):
        documents.check(kind, documents.read("shop.yaml", example(kind)))

    def test_are_right_where_what_is_commented_out_is_taken_in(self):
        """Each suite of the example, as somebody gets it who takes its comment signs away."""
        lines = [
            line.replace("  # ", "  ", 1) if line.startswith(("  # - name", "  #   ")) else line
            for line in example(APPLICATION).replace("OWNER/REPOSITORY", "acme/shop").splitlines()
        ]
        model = documents.check(APPLICATION, documents.read("shop.yaml", "\n".join(lines)))
        assert [suite.name for suite in model.suites] == ["smoke", "browser", "show", "explore"]
        assert [suite.kind for suite in model.suites] == ["automated", "automated", "preview", "manual"]

    @pytest.mark.parametrize("kind", [APPLICATION, FAMILY], ids=["app", "family"])
    def test_fit_the_schema_that_editors_complete_by(self, kind):
        schema = json.loads(kind.schema)
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        content = yaml.safe_load(example(kind))
        assert list(validator.iter_errors(content)) == []
        assert not validator.is_valid(content | {"colour": "blue"})

    def test_the_schema_knows_the_runners_that_are_a_word(self):
        validator = jsonschema.Draft202012Validator(json.loads(APPLICATION.schema))
        content = yaml.safe_load(example(APPLICATION))
        for runner, right in (("manual", True), ("external", True), ("magic", False)):
            assert validator.is_valid(content | {"suites": [{"name": "x", "runner": runner}]}) is right


@pytest.mark.parametrize(("file", "kind"), SCHEMAS.items(), ids=[file.name for file in SCHEMAS])
def test_the_published_schema_is_that_of_the_model(file, kind):
    assert file.read_text() == kind.schema, "python -m docs.manual writes it"
