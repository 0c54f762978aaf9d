"""`mayfly app` over an installation: a document is written, checked, put in place, shown, taken back and removed."""

import json
from pathlib import Path

import pytest
from click.testing import Result

from tests.integration.test_command_line import Run, run
from tests.integration.world import ENVIRONMENT, World

__all__ = ["run"]
PARAMETER = "/mayfly/applications/shop"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.chdir(tmp_path)
    kind = "{Type: String, AllowedPattern: '[^,]+(,[^,]+){0,3}'}"
    world.upload(f"Parameters: {{InstanceType: {kind}, ImageId: {{Type: String}}}}\nResources: {{}}", "fleet.yaml")


def kept(world: World) -> str | None:
    try:
        return str(world.own("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"])
    except world.own("ssm").exceptions.ParameterNotFound:
        return None


def applied(run: Run, *words: str) -> Result:
    done = run("app", "apply", "shop.yaml", "--yes", *words)
    assert done.exit_code == 0, done.output
    return done


def change(before: str, after: str) -> None:
    text = Path("shop.yaml").read_text()
    assert before in text
    Path("shop.yaml").write_text(text.replace(before, after))


def test_an_application_is_written_and_put_in_place_without_json(world: World, run: Run) -> None:
    assert run("app", "init", "shop").exit_code == 0
    assert run("app", "check", "shop.yaml").exit_code == 0
    applied(run)
    document = json.loads(kept(world) or "")
    assert document["suites"][0]["runner"]["type"] == "command"
    assert json.loads(Path("app.schema.json").read_text())["title"] == "Application"


def test_a_document_that_is_there_is_not_overwritten(run: Run) -> None:
    run("app", "init", "shop")
    assert run("app", "init", "shop").exit_code == 1


def test_what_is_wrong_is_said_with_its_line_and_nothing_is_put_in_place(world: World, run: Run) -> None:
    run("app", "init", "shop")
    change("lifetime_minutes: 240 ", "lifetime_minutes: 0 ")
    done = run("app", "apply", "shop.yaml", "--yes")
    assert done.exit_code == 1
    assert "shop.yaml:15: lifetime_minutes: Input should be greater than or equal to 1" in done.stderr
    assert kept(world) is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("fleet.yaml ", "other.yaml ", "shop.yaml:8: blueprint: there is no blueprint other.yaml"),
        ("channel: stable", "channel: other", "shop.yaml:12: image: there is no parameter"),
        ('account: "', 'account: "9', "shop.yaml:13: account: String should match pattern"),
        (
            "InstanceType: ",
            "Size: ",
            "shop.yaml:8: blueprint: parameters: expected those that the blueprint fleet.yaml",
        ),
        (
            "InstanceType: t3.small",
            "InstanceType: 'm7i.large,m6i.large,m5.large,c7i.large,c6i.large'",
            "blueprint: parameters: expected what the blueprint fleet.yaml takes, but InstanceType is 'm7i.large,",
        ),
        ("image: {", "# image: {", "shop.yaml:8: blueprint: image: expected a family and a channel"),
        ("region: us-east-1", "region: eu-west-9", "shop.yaml:13: account: account, region: expected one of"),
    ],
)
def test_what_a_document_names_has_to_be_there(run: Run, before: str, after: str, said: str) -> None:
    run("app", "init", "shop")
    change(before, after)
    done = run("app", "check", "shop.yaml")
    assert done.exit_code == 1
    assert said in done.stderr


def test_what_changes_is_shown_before_it_is_asked_for(world: World, run: Run) -> None:
    run("app", "init", "shop")
    applied(run)
    change("instance_count: 2 ", "instance_count: 3 ")
    done = run("app", "apply", "shop.yaml")  # nobody answers
    assert done.exit_code == 1
    assert "-instance_count: 2" in done.stderr
    assert "+instance_count: 3" in done.stderr
    assert json.loads(kept(world) or "")["instance_count"] == 2
    assert "is so already" not in applied(run).output
    assert "is so already" in applied(run).output


def test_one_step_back_and_forth_again(world: World, run: Run) -> None:
    run("app", "init", "shop")
    applied(run)
    change("instance_count: 2 ", "instance_count: 3 ")
    applied(run)
    assert run("app", "back", "shop", "--yes").exit_code == 0
    assert json.loads(kept(world) or "")["instance_count"] == 2
    assert "instance_count: 2" in run("app", "show", "shop").stdout
    versions = json.loads(run("app", "show", "shop", "--versions", "--json").stdout)["versions"]
    assert [each["version"] for each in versions] == [3, 2, 1]
    assert all(each["by"] for each in versions), "and who wrote each"


def test_an_application_is_removed(world: World, run: Run) -> None:
    run("app", "init", "shop")
    applied(run)
    assert run("app", "remove", "shop").exit_code == 1
    assert kept(world)
    assert run("app", "remove", "shop", "--yes").exit_code == 0
    assert kept(world) is None
    assert run("app", "show", "shop").exit_code == 3


def test_a_family_is_configured_alike(world: World, run: Run) -> None:
    assert run("family", "init", "web").exit_code == 0
    done = run("family", "apply", "web.yaml", "--yes")
    assert done.exit_code == 0, done.output
    assert json.loads(world.own("ssm").get_parameter(Name="/mayfly/families/web")["Parameter"]["Value"])["keep_newest"]


def test_a_name_that_is_none_is_refused(run: Run) -> None:
    assert run("app", "init", "Shop!").exit_code == 2


def test_a_session_is_opened_on_an_instance_that_runs(world: World, run: Run) -> None:
    world.ready()
    [instance] = world.states()
    done = run("open", ENVIRONMENT, "--port", "8080:80", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["instances"] == [instance]
    assert said["command"][:5] == ["aws", "ssm", "start-session", "--target", instance]
    assert "localPortNumber=8080,portNumber=80" in said["command"]
    assert run("open", ENVIRONMENT, "--instance", "i-0123456789abcdef0").exit_code == 3
    assert run("open", ENVIRONMENT, "--port", "http").exit_code == 2


def test_the_console_of_an_instance_is_printed(world: World, run: Run) -> None:
    world.ready()
    [instance] = world.states()
    done = run("logs", ENVIRONMENT, "--instance", instance)
    assert (done.exit_code, bool(done.stdout)) == (0, True), done.output
    assert run("logs", ENVIRONMENT, "--instance", "i-0123456789abcdef0").exit_code == 3


def test_the_log_of_tests_is_printed(world: World, run: Run) -> None:
    world.ready()
    assert run("logs", ENVIRONMENT).exit_code == 3
    key = f"tests/{ENVIRONMENT}/log.txt"
    ending = {"by": "tests", "outcome": "passed", "reason": "-", "log": f"s3://{world.reports}/{key}"}
    world.change(ending=ending)
    assert run("logs", ENVIRONMENT).exit_code == 3
    world.own("s3").put_object(Bucket=world.reports, Key=key, Body=b"hello\n")
    assert run("logs", ENVIRONMENT).stdout == "hello\n"
