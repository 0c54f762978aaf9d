"""The words of the contract: written once, with their tones; what was renamed is still read."""

import ast
import re
from pathlib import Path

import pytest

from mayfly.contract.vocabulary import (
    APPLICATION_SOURCE,
    AwsEvent,
    BakeStage,
    EnvironmentStage,
    Event,
    ImageStage,
    Outcome,
    ReleaseStage,
    RolloutStage,
    ServiceStage,
    Source,
    SuiteKind,
    Tone,
    label_of,
    tone_of,
)

STAGES = (ReleaseStage, EnvironmentStage, BakeStage, ImageStage, ServiceStage, RolloutStage)
OVER = {"terminated", "superseded", "retired", "removed", "cancelled"}


def test_a_record_of_an_earlier_version_says_taken_up_and_is_read_as_adopted():
    assert EnvironmentStage("taken up") is EnvironmentStage.ADOPTED
    assert (label_of("taken up"), tone_of("taken up")) == ("adopted", tone_of("adopted"))


def test_a_word_that_was_never_a_stage_is_none():
    with pytest.raises(ValueError, match="proving"):
        EnvironmentStage("proving")


@pytest.mark.parametrize("word", sorted({str(word) for stage in STAGES for word in stage}))
def test_a_stage_is_neutral_only_where_it_is_over_and_neither_good_nor_bad(word):
    assert (tone_of(word) is Tone.NEUTRAL) == (word in OVER)


@pytest.mark.parametrize(
    ("outcome", "tone"),
    [
        (Outcome.PASSED, Tone.GOOD),
        (Outcome.FAILED, Tone.BAD),
        (Outcome.EXPIRED, Tone.BAD),
        (Outcome.BROKEN, Tone.BAD),
        (Outcome.CANCELLED, Tone.NEUTRAL),
    ],
)
def test_an_environment_that_had_no_fair_chance_is_as_bad_as_one_that_failed(outcome, tone):
    assert tone_of(outcome) is tone


ROOT = Path(__file__).resolve().parents[2]
CONSOLE = sorted((ROOT / "functions/serve_api/console").glob("*.js"))
EVENTS = {*map(str, (*Event, *AwsEvent, *Source)), APPLICATION_SOURCE} - {str(Source.MAYFLY)}
WORDS = EVENTS | {str(word) for enum in (SuiteKind, Outcome, *STAGES) for word in enum}
NO_STAGE = {
    ("functions/check_image/app.py", "running"): "EC2's, of an instance",
    ("functions/confirm_ready/app.py", "running"): "EC2's, of an instance",
    ("functions/create_image/app.py", "terminated"): "EC2's, of an instance",
    ("functions/judge_bake/app.py", "proven"): "the key of a verdict, which the machine reads",
    ("functions/remove_builder/app.py", "removed"): "the key of an answer: what was removed",
    ("functions/retire_images/app.py", "failed"): "the key of a report: the steps that failed",
    ("layers/mayfly/mayfly/aws/instances.py", "running"): "EC2's, of an instance",
    ("layers/mayfly/mayfly/aws/networks.py", "failed"): "EC2's, of a NAT gateway",
    ("layers/mayfly/mayfly/aws/stacks.py", "cancelled"): "a word in CloudFormation's reasons",
    ("layers/mayfly/mayfly/domain/bake.py", "terminated"): "EC2's, of an instance",
    ("layers/mayfly/mayfly/domain/boot.py", "failed"): "an instance's own, in its tag",
    ("layers/mayfly/mayfly/domain/notification.py", "passed"): "a word of a sentence",
    ("layers/mayfly/mayfly/domain/stack.py", "creating"): "of a stack",
    ("layers/mayfly/mayfly/views.py", "passed"): "the key of a verdict",
    ("layers/mayfly/mayfly/views.py", "manual"): "the key of an answer: whether a person reports",
    ("layers/mayfly/mayfly/workflows/bakes.py", "removed"): "the key of an answer: what was removed",
    ("functions/start_command/app.py", "running"): "EC2's, of an instance",
    ("layers/mayfly/mayfly/domain/forge.py", "running"): "GitLab's, of a commit",
    ("layers/mayfly/mayfly/domain/forge.py", "failed"): "GitLab's, of a commit",
    ("layers/mayfly/mayfly/domain/notification.py", "failed"): "the key of a report: the tests that failed",
    ("layers/mayfly/mayfly/domain/testing.py", "FAILED"): "Step Functions' and CodeBuild's",
    ("layers/mayfly/mayfly/workflows/forging.py", "passed"): "a word of a sentence",
    ("cli/mayfly_cli/looking.py", "running"): "EC2's, of an instance",
    ("layers/mayfly/mayfly/aws/databases.py", "manual"): "RDS's, of a snapshot",
    ("layers/mayfly/mayfly/domain/boot.py", "running"): "EC2's, of an instance",
    ("layers/mayfly/mayfly/views.py", "failed"): "the key of an answer: how many instances failed",
    ("layers/mayfly/mayfly/workflows/image_usage.py", "cancelled"): "EC2's, of a fleet",
    ("layers/mayfly/mayfly/workflows/image_usage.py", "failed"): "EC2's, of a fleet",
    ("layers/mayfly/mayfly/workflows/instance_failures.py", "running"): "EC2's, of an instance",
    ("cli/mayfly_cli/show.py", "failed"): "the key of an answer: how many instances failed",
    ("cli/mayfly_cli/configuring.py", "removed"): "the key of an answer: what was removed",
    ("cli/mayfly_cli/blueprinting.py", "removed"): "what became of a version, and the key of an answer",
    ("cli/mayfly_cli/main.py", "passed"): "the key of an answer",
    ("local/records.py", "passed"): "what a story calls its beginning, in a history",
    ("local/demo/__main__.py", "passed"): "the key of a verdict",
    ("local/demo/__main__.py", "building"): "a word for the screen: of a stack",
    ("local/demo/__main__.py", "running"): "EC2's, of an instance",
    ("local/demo/images.py", "running"): "EC2's, of an instance",
    ("accept/report.py", "passed"): "what came of a scenario",
    ("accept/running.py", "passed"): "what came of a scenario",
    ("accept/running.py", "failed"): "what came of a scenario",
    ("accept/scenarios.py", "failed"): "the key of a report: the steps that failed",
    ("bench/bursts.py", "failed"): "the key of a result",
    ("bench/costs.py", "terminated"): "EC2's, of an instance",
    ("bench/rollouts.py", "passed"): "the key of a verdict",
    ("bench/sweep.py", "running"): "EC2's, of an instance",
    ("docs/event_pages.py", "passed"): "the key of a verdict",
}
"""What is the same word and means something else."""


def literals(path):
    """Every text in a module but its docstrings, with its line."""
    tree = ast.parse(path.read_text())
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value, node.lineno


STAND_INS = ("local/workload/", "local/controller/")
"""They speak as EC2 and Step Functions do, whose states are called like some of our stages."""


@pytest.mark.parametrize("folder", ["layers/mayfly/mayfly", "functions", "cli", "local", "accept", "bench", "docs"])
def test_events_stages_and_outcomes_are_written_in_the_vocabulary_only(folder):
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        words = EVENTS if name.startswith(STAND_INS) else WORDS
        if path.name != "vocabulary.py":
            texts = [(text, line) for text, line in literals(path) if text in words and (name, text) not in NO_STAGE]
            found += [f"{name}:{line}: {text}" for text, line in texts]
    assert found == []


def test_what_means_something_else_still_stands_where_it_is_said_to_stand():
    assert [each for each in NO_STAGE if each[1] not in {text for text, _ in literals(ROOT / each[0])}] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "functions/serve_api/console").glob("*.js")), ids=lambda path: path.name
)
def test_the_console_names_no_event_and_no_stage(path):
    """Labels and tones come with the API's answers, and what a person may report of tests."""
    texts = set(re.findall(r"""["'`]([^"'`\n]+)["'`]""", path.read_text()))
    assert texts & WORDS == set()


SPOKEN = [
    *(
        path
        for folder in ("layers/mayfly/mayfly", "functions", "cli", "local", "accept", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ),
    *(path for folder in ("docs", "docs/tasks") for path in sorted((ROOT / folder).glob("*.md"))),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
]
FORMER = re.compile(
    r"\b(doors?|surveys?|ladders?|tellings?|taken up|takes up|settles the wait|repeated by nobody)\b", re.I
)
"""What was said before the field's words: message handler, discovery, teardown strategy, notification, adopted."""


@pytest.mark.parametrize("path", SPOKEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_field_s_words_are_used(path):
    kept = {'_RENAMED = {"taken up": EnvironmentStage.ADOPTED.value}'}  # what a record of an earlier version says
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert [line for line in lines if FORMER.search(line) and line not in kept] == []
