"""`mayfly blueprint` over an installation: a template is begun, checked, applied, shown, taken back and removed."""

import json
from pathlib import Path

import pytest

from tests.integration.test_command_line import WHO, Run, run
from tests.integration.world import World

__all__ = ["run"]
TEMPLATE = "Parameters: {InstanceType: {Type: String}}\nResources: {Jobs: {Type: 'AWS::SQS::Queue'}}\n"
KEY = "jobs.yaml"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.chdir(tmp_path)
    world.upload(TEMPLATE, "fleet.yaml")


def kept(run: Run) -> str:
    return run("blueprint", "show", KEY).stdout


def apply(run: Run, text: str = TEMPLATE, *words: str) -> None:
    Path(KEY).write_text(text)
    done = run("blueprint", "apply", KEY, "--yes", *words)
    assert done.exit_code == 0, done.output


def test_one_is_begun_as_another_and_put_in_place(run: Run) -> None:
    assert run("blueprint", "init", KEY).exit_code == 0
    assert Path(KEY).read_text() == TEMPLATE
    assert run("blueprint", "init", KEY).exit_code == 1, "what is there is not overwritten"
    assert run("blueprint", "init", "other.yaml", "--like", "none.yaml").exit_code == 3
    assert run("blueprint", "check", KEY).exit_code == 0
    apply(run)
    assert kept(run) == TEMPLATE


def test_what_changes_is_shown_before_it_is_asked_for(run: Run) -> None:
    apply(run)
    Path(KEY).write_text(TEMPLATE.replace("Jobs", "Tasks"))
    done = run("blueprint", "apply", KEY)
    assert done.exit_code == 1
    assert "-Resources: {Jobs: " in done.stderr
    assert "+Resources: {Tasks: " in done.stderr
    assert kept(run) == TEMPLATE


def test_what_could_not_be_built_is_not_put_in_place(run: Run) -> None:
    apply(run)
    wrong = TEMPLATE.replace("'AWS::SQS::Queue'", "'AWS::SQS::Queue', Properties: {QueueName: jobs}")
    Path(KEY).write_text(wrong)
    done = run("blueprint", "apply", KEY, "--yes")
    assert (done.exit_code, "was not uploaded" in done.stderr) == (1, True)
    assert kept(run) == TEMPLATE
    apply(run, wrong, "--anyway")
    assert kept(run) == wrong


def test_versions_say_who_wrote_them_and_one_step_back_is_the_one_before(run: Run) -> None:
    second = TEMPLATE.replace("Jobs", "Tasks")
    apply(run)
    apply(run, second)
    apply(run, second)  # it is so already
    versions = json.loads(run("blueprint", "show", KEY, "--versions", "--json").stdout)["versions"]
    assert [each["by"] for each in versions] == [WHO, WHO]
    for expected in (TEMPLATE, second):
        assert run("blueprint", "back", KEY, "--yes").exit_code == 0
        assert kept(run) == expected


def test_one_that_an_application_names_is_not_removed_and_any_other_comes_back(world: World, run: Run) -> None:
    apply(run)
    world.configure(blueprint=KEY)
    done = run("blueprint", "remove", KEY, "--yes")
    assert (done.exit_code, "webshop would not be built any more" in done.stderr) == (1, True)
    world.configure()
    assert run("blueprint", "remove", KEY).exit_code == 1
    assert run("blueprint", "remove", KEY, "--yes").exit_code == 0
    gone = run("blueprint", "show", KEY)
    assert (gone.exit_code, f"mayfly blueprint back {KEY}" in gone.stderr) == (3, True)
    assert run("blueprint", "back", KEY, "--yes").exit_code == 0
    assert kept(run) == TEMPLATE


def test_one_that_there_never_was_is_not_found(run: Run) -> None:
    for word in ("show", "back", "remove"):
        assert run("blueprint", word, "never.yaml").exit_code == 3
    apply(run)
    assert run("blueprint", "back", KEY).exit_code == 1
