"""The reach of a channel, measured from instances and records, and the end of a replaced image."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.test_moving_channels import configure, image, move, plan
from tests.integration.world import CONTROLLER, ENVIRONMENT, World

type Json = dict[str, Any]

HOUR_LATER = "2026-11-24T07:47:34.120Z"


@pytest.fixture
def images(world: World) -> tuple[str, str]:
    """What the channel stable has left, and what it points to since an hour."""
    for operation in ("EnableImageDeregistrationProtection", "DisableImageDeregistrationProtection"):
        world.wire.answer(operation)
    configure(world)
    old, new = image(world), image(world)
    world.there("ec2").terminate_instances(InstanceIds=list(world.states()))
    move(world, plan(world, old, channel="stable"), by="1")
    move(world, plan(world, new, channel="stable"), by="2")
    return old, new


def runs(world: World, image: str) -> str:
    """An instance of the environment, of this image."""
    tags = [{"Key": "mayfly:environment", "Value": ENVIRONMENT}, {"Key": "mayfly:controller", "Value": CONTROLLER}]
    started = world.there("ec2").run_instances(
        ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    return str(started["Instances"][0]["InstanceId"])


def measured(world: World) -> Json:
    (channel,) = world.call("measure_reach", {"now": HOUR_LATER})["channels"]
    return dict(channel)


def replaced(world: World) -> list[str]:
    return [said["image"] for what, said in world.said if what == "Image Replaced"]


def test_says_how_many_run_on_what_and_since_when_that_is_replaced(world: World, images: tuple[str, str]) -> None:
    old, new = images
    world.planned(image=old, channel="base/stable")
    runs(world, old)
    runs(world, new)
    channel = measured(world)
    assert channel["instances"] == {old: 1, new: 1}
    assert (channel["on_old_images"], channel["hours"]) == (1, 1.0)
    assert replaced(world) == []


def test_announces_once_that_the_last_instance_is_gone(world: World, images: tuple[str, str]) -> None:
    old, _ = images
    world.planned(image=old, channel="base/stable")
    only = runs(world, old)
    measured(world)
    world.there("ec2").terminate_instances(InstanceIds=[only])
    world.records().change(ENVIRONMENT, {"stage": "terminated"}, drop=("live",))
    measured(world)
    measured(world)
    assert replaced(world) == [old]


def test_what_the_bus_does_not_take_is_announced_by_a_sweep(world: World, images: tuple[str, str]) -> None:
    """A sweep announces the image: its DynamoDB record has closed by then, and no measurement would announce it."""
    world.wire.answer("PutEvents", "InternalFailure", "down")
    measured(world)
    world.wire.recover("PutEvents")
    world.wire.forget()
    for _ in range(3):
        measured(world)
        world.call("sweep_environments", {"now": HOUR_LATER})
    assert replaced(world) == [images[0]]


def test_of_two_measurements_at_once_one_announces(world: World, images: tuple[str, str]) -> None:
    world.wire.before("UpdateItem", lambda: measured(world))
    measured(world)
    assert replaced(world) == [images[0]]


def test_an_instance_whose_record_is_lost_holds_the_announcement_back(world: World, images: tuple[str, str]) -> None:
    runs(world, images[0])
    assert measured(world)["on_old_images"] == 0
    assert replaced(world) == []


def test_an_environment_that_is_planned_holds_it_back_too(world: World, images: tuple[str, str]) -> None:
    world.planned(image=images[0], channel="base/stable")
    measured(world)
    assert replaced(world) == []


def test_publishes_which_instances_live_for_who_removes_certificates_of_the_others(
    world: World, images: tuple[str, str]
) -> None:
    lives, ends = (runs(world, images[1]) for _ in range(2))
    world.launch({"mayfly:controller": "333333333333/us-east-1/mayfly"})
    world.there("ec2").terminate_instances(InstanceIds=[ends])
    measured(world)
    found = world.own("s3").get_object(Bucket=world.reports, Key="living-instances.json")["Body"].read()
    assert json.loads(found) == {"controller": CONTROLLER, "at": HOUR_LATER, "instances": [lives]}


def test_publishes_no_list_where_a_place_could_not_be_looked_at(world: World, images: tuple[str, str]) -> None:
    world.wire.answer("DescribeInstances", "UnauthorizedOperation")
    with pytest.raises(ClientError):
        measured(world)
    assert "Contents" not in world.own("s3").list_objects_v2(Bucket=world.reports, Prefix="living")
