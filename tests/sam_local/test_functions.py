"""Every function in a container: the real SAM CLI, its runtime emulator and AWS's runtime client.

The functions are called in the order of an environment's life, each with its sample event, as its own role, on a
local cloud where Mayfly is installed. State machines and events take no part. With a stand-in runtime image (see
runtime_image.py; the summary says which one was used) this shows that the functions load and work in a container
with what `sam build` made; it says nothing about Amazon Linux.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.cloud import LocalCloud
from local.install import installed
from tests.e2e.driver import dead_letters

from .sam import SamLocal

ROOT = Path(__file__).resolve().parents[2]
EVENTS = ROOT / "events"

# Release and environment of the sample events.
RELEASE = "webshop-0-0-1-5e57c22e"
ENVIRONMENT = f"{RELEASE}-smoke"
INSTANCES = 2

PLACE = {"account": "222222222222", "region": "us-east-1", "image": "ami-12c6146b"}
PLANNED = {"environment": ENVIRONMENT, "deadline": "2026-11-24T07:47:34.120Z", "begin": "creation", "place": PLACE}
EXTENDED = "2026-11-24T09:47:34.120Z"
ENDED = {"recorded": True, "resumed": False}

type Answer = dict[str, Any]

LIFE: dict[str, Callable[[Answer], object]] = {
    "accept_code_version": lambda said: said == {"accepted": True, "release": RELEASE, "started": True},
    "plan_release": lambda said: ENVIRONMENT in [order["environment"] for order in said["orders"]],
    # Its application has a ceiling, so room is asked for by the next one.
    "plan_environment": lambda said: said == PLANNED | {"admitted": False, "token": said["token"]},
    # Its release is built together, and no other environment of it has asked.
    "admit_environment": lambda said: not said["admitted"] and "the other 1 of its release" in said["lacks"],
    "create_environment": lambda said: f":stack/mayfly-{ENVIRONMENT}/" in said["stack"],
    # The sample event names a stack that is not the one just created.
    "resume_environment": lambda said: not said["resumed"] and "older stack" in said["reason"],
    "judge_instance": lambda said: not said["judged"],
    "confirm_ready": lambda said: said["instances"] == INSTANCES,
    # No execution waits: the functions are called without their state machine. A sweep leaves it a while.
    "sweep_environments": lambda said: said["counts"]["keep"] == 1 and said["unseen"] == {},
    # Its suite is run by a program: only what people test sleeps.
    "keep_office_hours": lambda said: not said["accepted"] and "automated" in said["reason"],
    "accept_extension": lambda said: said["accepted"] and said["deadline"] == EXTENDED,
    "accept_test_result": lambda said: said == {"accepted": True, "environment": ENVIRONMENT, **ENDED},
    "set_kill_switch": lambda said: said["accepted"] and not said["on"],
    "delete_environment": lambda said: f":stack/mayfly-{ENVIRONMENT}/" in said["stack"],
    # The tests ended it first.
    "accept_termination": lambda said: said["accepted"] and not said["recorded"],
    # It has found nothing left, and ends its execution last: behind the sample's token there is none.
    "confirm_gone": lambda said: said["errorType"] == "ClientError" and "SendTask" in said["errorMessage"],
    "serve_api": lambda said: said["statusCode"] == 200 and "client_id" in json.loads(said["body"]),
    "notify_people": lambda said: said["subject"] == "webshop 0.0.1 FAILED",
    "keep_dead_letters": lambda said: said == {"batchItemFailures": []},
    "work_dead_letters": lambda said: said["accepted"] and said["done"] >= 1,
    # Of the release's suites only this environment's was run.
    "judge_release": lambda said: not said["passed"] and "smoke" in [suite["suite"] for suite in said["suites"]],
}
"""What each function has to answer to its sample event, in the order of an environment's life."""

BAKE = "base-3f2a9c1e"

IMAGES: dict[str, Callable[[Answer], object]] = {
    "accept_bake": lambda said: [(bake["family"], bake["started"]) for bake in said["bakes"]] == [("base", True)],
    "plan_bake": lambda said: (said["bake"], said["builder"]["root_device"]) == (BAKE, "/dev/xvda"),
    "launch_builder": lambda said: said["builder"].startswith("i-"),
    "create_image": lambda said: said["image"].startswith("ami-"),
    # The sample event names a builder that is not the one just launched.
    "resume_image": lambda said: not said["resumed"] and said["reason"] == "nobody waits for this",
    "remove_builder": lambda said: len(said["removed"]) == 1 and said["removed"][0].startswith("i-"),
    # Nothing has proved the image: no environment of it was built. So it is refused from here on, each time rightly.
    "check_image": lambda said: said["errorType"] == "NoInstance",
    "judge_checks": lambda said: not said["judged"] and said["reason"] == "it checks no image",
    "judge_bake": lambda said: not said["proven"] and "left no ending" in said["reason"],
    "accept_promotion": lambda said: said["accepted"] and said["started"],
    "plan_promotion": lambda said: said["errorType"] == "Refused" and "expected a proven one" in said["errorMessage"],
    "copy_image": lambda said: said["errorType"] == "SourceLost",
    "share_image": lambda said: said["errorType"] == "NotShared",
    "move_channel": lambda said: said["errorType"] == "Overtaken",
    "count_release": lambda said: not said["accepted"] and "expected one that passed by its record" in said["reason"],
    "measure_reach": lambda said: said["channels"] == [],
    "retire_images": lambda said: said["dry_run"] and said["failed"] == [] and said["steps"] == [],
}
"""The same in the order of a bake, a promotion and a retirement."""

ROLLOUTS: dict[str, Callable[[Answer], object]] = {
    "plan_rollouts": lambda said: said["services"] == [],
    # No application has a permanent environment here: those that look for one find, rightly, nothing of it.
    "update_service": lambda said: said["step"] == "prepare" and said["reason"],
    "replace_instances": lambda said: said["errorType"] == "NothingToReplace",
    "resume_rollout": lambda said: said["reason"] == "nobody waits for this",
    "verify_service": lambda said: said["errorType"] == "NotSettled",
    "judge_rollout": lambda said: said["outcome"] == "completed",
}
"""The same in the order of a rollout."""

RUNNERS: dict[str, Callable[[Answer], object]] = {
    # The environment of the sample events has ended by then.
    "start_command": lambda said: said["errorType"] == "NoInstance",
    "judge_command": lambda said: not said["judged"] and said["reason"] == "it tests no environment",
    "plan_tests": lambda said: said["request"]["body"]["client_payload"]["environment"] == ENVIRONMENT,
    "tell_forge": lambda said: not said["shown"] and "no forge" in said["reason"],
    # No pull request of this number was pushed.
    "keep_previews": lambda said: said["accepted"] and said["ended"] == [],
    # Whoever wants this names a blueprint that is not there.
    "configure_application": lambda said: not said["accepted"] and "nowhere.yaml" in said["reason"],
    "judge_tests": lambda said: said["outcome"] == "passed" and not said["recorded"],
}
"""The same of tests that Mayfly starts."""


def test_every_function_is_called() -> None:
    assert {*LIFE, *IMAGES, *ROLLOUTS, *RUNNERS} == {folder.parent.name for folder in ROOT.glob("functions/*/app.py")}


@pytest.mark.parametrize("function", LIFE)
def test_the_function_answers_its_sample_event(function: str, sam: SamLocal, cloud: LocalCloud) -> None:
    wait_for_the_stack(cloud)
    answer = sam.call(logical_id(function), json.loads((EVENTS / f"{function}.json").read_text()))
    assert LIFE[function](answer), f"{answer}\n{sam.log_end()}"


@pytest.mark.parametrize("function", IMAGES)
def test_the_function_answers_its_sample_event_about_images(function: str, sam: SamLocal, cloud: LocalCloud) -> None:
    event = (EVENTS / f"{function}.json").read_text()
    family = json.loads((ROOT / "families" / "base.json").read_text())
    there = json.loads(cloud.client("ssm").get_parameter(Name="/mayfly/families/base")["Parameter"]["Value"])
    # A builder's network has to be one that there is.
    event = event.replace(family["subnet"], there["subnet"])
    event = event.replace(family["security_groups"][0], there["security_groups"][0])
    answer = sam.call(logical_id(function), json.loads(event))
    assert IMAGES[function](answer), f"{answer}\n{sam.log_end()}"


@pytest.mark.parametrize("function", [*ROLLOUTS, *RUNNERS])
def test_the_function_answers_its_sample_event_about_rollouts_and_runners(function: str, sam: SamLocal) -> None:
    answer = sam.call(logical_id(function), json.loads((EVENTS / f"{function}.json").read_text()))
    assert (ROLLOUTS | RUNNERS)[function](answer), f"{answer}\n{sam.log_end()}"


def test_sam_local_invoke_gives_the_same_answer(sam: SamLocal) -> None:
    answer = sam.call_once("PlanEnvironment", EVENTS / "plan_environment.json")
    kept = PLANNED | {"deadline": EXTENDED}  # what it was extended to meanwhile
    assert answer == kept | {"admitted": False, "token": answer["token"]}, answer


def test_a_message_that_does_not_parse_reaches_the_dead_letters(sam: SamLocal, cloud: LocalCloud) -> None:
    nonsense = {"detail": "nonsense"}
    answer = sam.call("AcceptCodeVersion", nonsense)
    assert answer.get("accepted") is False, f"{answer}\n{sam.log_end()}"
    outputs, deadline = installed(cloud).outputs, time.monotonic() + 600
    while not (letters := [*dead_letters(cloud, outputs)]) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert nonsense in [letter["message"] for letter in letters]


def logical_id(function: str) -> str:
    return "".join(word.capitalize() for word in function.split("_"))


def wait_for_the_stack(cloud: LocalCloud, seconds: float = 600.0) -> None:
    """Instead of the state machine: until nothing is in progress with the environment's stack, or there is none."""
    cloudformation = cloud.workload_client("cloudformation")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stacks = cloudformation.describe_stacks()["Stacks"]
        if not any(ENVIRONMENT in stack["StackName"] and "IN_PROGRESS" in stack["StackStatus"] for stack in stacks):
            return
        time.sleep(0.2)
    pytest.fail(f"the stack of {ENVIRONMENT} is still in progress after {seconds} s")
