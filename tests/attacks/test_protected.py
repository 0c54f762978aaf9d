"""One guard, asked by whatever destroys: every value of the tag that protects, by everybody that could destroy, and no
function that destroys without it."""

from itertools import product

import pytest

from mayfly.domain import tags
from mayfly.domain.guard import may_destroy
from tests.attacks.test_foreign import FUNCTIONS, PROTECTING
from tests.unit.calls import called_by, reached
from tests.unit.policies import ROOT

CONTROLLER = "111111111111/us-east-1/mayfly"
LABELS = (tags.ENVIRONMENT, tags.BAKE, tags.IMAGE_FAMILY)
DESTRUCTIVE = {
    ("autoscaling", "DeleteAutoScalingGroup"),
    ("autoscaling", "UpdateAutoScalingGroup"),
    ("cloudformation", "DeleteStack"),
    ("ec2", "DeleteKeyPair"),
    ("ec2", "DeleteLaunchTemplate"),
    ("ec2", "DeleteNetworkInterface"),
    ("ec2", "DeleteSecurityGroup"),
    ("ec2", "DeleteSnapshot"),
    ("ec2", "DeleteVolume"),
    ("ec2", "DeregisterImage"),
    ("ec2", "DetachNetworkInterface"),
    ("ec2", "DisableImage"),
    ("ec2", "RevokeSecurityGroupEgress"),
    ("ec2", "RevokeSecurityGroupIngress"),
    ("ec2", "TerminateInstances"),
    ("logs", "DeleteLogGroup"),
    ("s3", "DeleteObjects"),
    ("ssm", "DeleteParameter"),
}
HARMLESS = {
    ("autoscaling", "CancelInstanceRefresh"),  # ends a change, not a thing
    ("ec2", "DeleteTags"),  # of mayfly:disabled-at, when an image is restored
    ("ec2", "DisableImageDeprecation"),
    ("ec2", "DisableImageDeregistrationProtection"),  # of an image that no channel needs; retirement asks besides
    ("ec2", "ModifyImageAttribute"),
}
"""What sounds like destruction, and destroys nothing."""


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("value", PROTECTING)
def test_every_value_but_false_protects_whatever_it_is_on(value: str, label: str) -> None:
    own = {tags.CONTROLLER: CONTROLLER, label: "web-1"}
    refused = may_destroy("web-1", CONTROLLER, own | {tags.PROTECTED: value}, label)
    assert not refused.granted
    assert refused.reason == f"it is protected by its tag mayfly:protected={value}"
    assert may_destroy("web-1", CONTROLLER, own | {tags.PROTECTED: "false"}, label).granted


@pytest.mark.parametrize("label", LABELS)
def test_nothing_is_destroyed_that_is_permanent_locked_or_another_s(label: str) -> None:
    own = {tags.CONTROLLER: CONTROLLER, label: "web-1"}
    assert not may_destroy("web-1", CONTROLLER, own | {tags.SERVICE: "web-1"}, label).granted
    assert not may_destroy("web-1", CONTROLLER, own, label, locked="it is locked").granted
    for name, other in product(("web-1", "web-1-smoke", "web", "", "*"), repeat=2):
        found = {tags.CONTROLLER: CONTROLLER, label: other}
        assert may_destroy(name, CONTROLLER, found, label).granted == (name == other)
        assert not may_destroy(name, CONTROLLER, found | {tags.CONTROLLER: f"{CONTROLLER}-2"}, label).granted


@pytest.mark.parametrize("logical", FUNCTIONS)
def test_a_function_that_destroys_something_asks_the_guard(logical: str) -> None:
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in logical).lstrip("_")
    assert (ROOT / "functions" / name).is_dir()
    _, there = called_by(name)
    if there & DESTRUCTIVE:
        assert ("mayfly.domain.guard", "may_destroy") in reached(name), sorted(there & DESTRUCTIVE)


def test_every_call_that_could_destroy_is_known() -> None:
    words = (
        "UpdateAutoScalingGroup",
        "Delete",
        "Terminate",
        "Deregister",
        "Disable",
        "Detach",
        "Revoke",
        "Release",
        "Remove",
        "Cancel",
    )
    called = {
        (service, operation)
        for folder in (ROOT / "functions").iterdir()
        if (folder / "app.py").exists()
        for service, operation in called_by(folder.name)[1]
        if operation.startswith(words)
    }
    assert called - HARMLESS == DESTRUCTIVE
    assert called & HARMLESS == HARMLESS - {("ec2", "ModifyImageAttribute")}
