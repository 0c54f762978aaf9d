"""An image family of one test's own, with images that look as if they were baked and proven: what a platform engineer
sees and does with them. The bakes themselves have tests of their own."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cache, cached_property
from itertools import count
from typing import Any

from local.cloud import CONTROLLER_ACCOUNT, REGION, WORKLOAD_ACCOUNT, LocalCloud
from local.install import ROOT, let_in
from mayfly.domain.timestamp import utc_text
from tests.e2e.driver import Driver

type Json = dict[str, Any]

REGIONS = (REGION, "eu-west-1", "eu-central-1", "us-west-2")
CONTROLLER = f"{CONTROLLER_ACCOUNT}/{REGION}/mayfly"
ANOTHER_ACCOUNT = "333333333333"
_numbers: Iterator[int] = count(1)


class Gallery:
    """One family's images and channels."""

    def __init__(self, mayfly: Driver, family: str, **configuration: Any) -> None:
        self.mayfly, self.cloud, self.family = mayfly, mayfly.cloud, family
        self.configure(**configuration)
        let_in(self.cloud, CONTROLLER, REGIONS)

    # ---- what a platform engineer does --------------------------------------------------------------------

    def configure(self, **more: Any) -> None:
        """Puts the family's configuration where Mayfly reads it."""
        value = json.dumps(family_document("plain") | more)
        name = f"/mayfly/families/{self.family}"
        self.cloud.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def image(self, stage: str = "proven") -> str:
        """An image as a bake leaves it: with its tags and its record."""
        ec2, bake = self.ec2(), f"{self.family}-{next(_numbers):08x}"
        labels = {
            "mayfly:image-family": self.family,
            "mayfly:controller": CONTROLLER,
            "mayfly:bake": bake,
            "mayfly:image-state": stage,
        }
        listed = [{"Key": key, "Value": value} for key, value in labels.items()]
        self.cloud.advance(1)  # EC2 dates images to the second, and the newest is to be known
        made: str = ec2.create_image(
            InstanceId=self._builder,
            Name=f"mayfly-{bake}",
            TagSpecifications=[{"ResourceType": kind, "Tags": listed} for kind in ("image", "snapshot")],
        )["ImageId"]
        self.mayfly.until(lambda: self.shown(made)["State"] == "available", f"{made} is available")
        item = {"id": made, "family": self.family, "bake": bake, "stage": stage, "live": "image"}
        item |= {"account": WORKLOAD_ACCOUNT, "region": REGION}
        line = {"at": utc_text(self.cloud.now()), "who": "mayfly-judge-bake", "what": stage, "why": "a test"}
        record: Json = {"pk": {"S": f"image#{made}"}} | {key: {"S": value} for key, value in item.items()}
        record["history"] = {"L": [{"M": {key: {"S": value} for key, value in line.items()}}]}
        self.cloud.client("dynamodb").put_item(TableName=self.mayfly.outputs["TableName"], Item=record)
        return made

    def promote(self, image: str, channel: str = "candidate", times: int = 1) -> None:
        """Asks for a promotion, and does not wait for it."""
        asked = {"family": self.family, "channel": channel, "image": image, "why": "a test", "requested_by": "tester"}
        self.mayfly.say("Image Promotion Requested", [asked] * times)

    def promoted(self, image: str, channel: str = "candidate") -> Json:
        """Promotes, and waits until the channel has moved and everything that follows from it is done."""
        self.promote(image, channel)
        self.heard("Image Promoted", image=image, channel=channel)
        return self.channel(channel)

    def roll_back(self, channel: str = "candidate", times: int = 1, **more: Any) -> None:
        """Asks for a rollback, and does not wait for it."""
        asked = {"family": self.family, "channel": channel, "why": "a test", "requested_by": "tester"} | more
        self.mayfly.say("Image Rollback Requested", [asked] * times)

    def retire(self, dry_run: bool = False) -> Json:
        """Has images retired now; what the report says of this family's."""
        report = self._invoke("retire-images", dry_run=dry_run)
        mine = {
            part: [one for one in report[part] if one["family"] == self.family]
            for part in ("steps", "restored", "later", "failed")
        }
        return report | mine

    def retire_with_reports(self, dry_run: bool = False) -> Json:
        """The same, once EC2 has reported what other accounts use."""
        self.retire()
        self.settle_reports()
        return self.retire(dry_run)

    def reach(self) -> dict[str, Json]:
        """Has the reach measured now; this family's channels by name."""
        said = self._invoke("measure-reach")["channels"]
        return {one["channel"]: one for one in said if one["family"] == self.family}

    def days_pass(self, days: float) -> None:
        """Moves time, in which nothing happens by a schedule."""
        self.cloud.advance(timedelta(days=days).total_seconds())

    def settle_reports(self) -> None:
        """Waits until no usage report is pending any more."""

        def none_pending() -> bool:
            pages = [self.ec2(region).describe_image_usage_reports() for region in REGIONS]
            return not any(one["State"] == "pending" for page in pages for one in page["ImageUsageReports"])

        self.mayfly.until(none_pending, "usage reports are there")

    # ---- what they see --------------------------------------------------------------------------------------

    def channel(self, name: str = "candidate") -> Json:
        """A channel's record, {} where there is none."""
        return self.mayfly.record(f"{self.family}/{name}", "channel")

    def ec2(self, region: str = REGION) -> Any:
        """EC2 of the family's account."""
        return _ec2(self.cloud, region)

    def parameter(self, name: str = "candidate", region: str = REGION) -> str | None:
        """What Parameter Store of the family's account says that a channel points to."""
        ssm = self.cloud.workload_client("ssm", region_name=region)
        with suppress(ssm.exceptions.ParameterNotFound):
            value: str = ssm.get_parameter(Name=f"/mayfly/images/{self.family}/{name}")["Parameter"]["Value"]
            return value
        return None

    def shown(self, image: str, region: str = REGION) -> Json:
        """An image as EC2 shows it to its owner, {} where it is gone."""
        ec2 = self.ec2(region)
        filters = [{"Name": "image-id", "Values": [image]}]
        listed = ec2.describe_images(Filters=filters, IncludeDisabled=True, IncludeDeprecated=True)["Images"]
        return dict(listed[0]) if listed else {}

    def shared_with(self, image: str, region: str = REGION) -> set[str]:
        """The accounts that may launch an image."""
        ec2 = self.ec2(region)
        reply = ec2.describe_image_attribute(ImageId=image, Attribute="launchPermission")
        return {permission["UserId"] for permission in reply["LaunchPermissions"]}

    def record(self, image: str) -> Json:
        """An image's record."""
        return self.mayfly.record(image, "image")

    def heard(self, detail_type: str, **facts: Any) -> list[Json]:
        """The details of this family's announcements of a type with these facts; waits for the first."""

        def look() -> list[Json]:
            mine = (one for one in self.mayfly.announcements() if one["detail"].get("family") == self.family)
            return [
                one["detail"]
                for one in mine
                if one["detail-type"] == detail_type and facts.items() <= one["detail"].items()
            ]

        return self.mayfly.until(look, f"{detail_type} {facts}", self.said)

    def said(self) -> list[str]:
        """All that was announced of this family, in order."""
        mine = (one for one in self.mayfly.announcements() if one["detail"].get("family") == self.family)
        return [one["detail-type"] for one in mine]

    def moves(self) -> list[Json]:
        """The executions that move this family's channels."""
        states = self.cloud.client("stepfunctions")
        pages = states.get_paginator("list_executions").paginate(
            stateMachineArn=self.mayfly.outputs["PromotionMachine"]
        )
        mine = (one for page in pages for one in page["executions"] if one["name"].startswith(f"{self.family}-"))
        return list(mine)

    def all_over(self, moves: int) -> list[Json]:
        """Waits until so many moves are there and over."""

        def look() -> list[Json] | None:
            found = self.moves()
            over = len(found) >= moves and all(one["status"] != "RUNNING" for one in found)
            return found if over else None

        return self.mayfly.until(look, f"{moves} moves are over", self.moves)

    def _invoke(self, function: str, **more: Any) -> Json:
        event = {"now": utc_text(self.cloud.now())} | more
        reply = self.cloud.client("lambda").invoke(
            FunctionName=f"mayfly-{function}", Payload=json.dumps(event).encode()
        )
        answer: Json = json.loads(reply["Payload"].read())
        assert "FunctionError" not in reply, answer
        return answer

    @cached_property
    def _builder(self) -> str:
        """A machine that images can be made of, which is nobody's. One for all tests."""
        ec2 = self.ec2()
        mine = [{"Name": "tag:Name", "Values": ["gallery"]}, {"Name": "instance-state-name", "Values": ["running"]}]
        for reservation in ec2.describe_instances(Filters=mine)["Reservations"]:
            return str(reservation["Instances"][0]["InstanceId"])
        image = ec2.describe_images(Owners=["amazon"], MaxResults=5)["Images"][0]["ImageId"]
        named = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "gallery"}]}]
        started = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=named)
        return str(started["Instances"][0]["InstanceId"])


def family_document(name: str) -> Json:
    """A family's configuration, as `tests/families` has it."""
    return dict(json.loads((ROOT / "tests" / "families" / f"{name}.json").read_text()))


@cache  # a new client reads EC2's model, the largest there is, and many look ten times a second
def _ec2(cloud: LocalCloud, region: str) -> Any:
    return cloud.workload_client("ec2", region_name=region)


def stop_schedules(cloud: LocalCloud, *others: str) -> None:
    """From now on nothing is baked, measured or retired because time passes: tests move it by months. Nor do other
    functions by their schedules."""
    scheduler = cloud.client("scheduler")
    for function in ("accept-bake", "measure-reach", "retire-images", *others):
        found = scheduler.get_schedule(Name=f"mayfly-{function}")
        kept = ("Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "Target", "FlexibleTimeWindow")
        scheduler.update_schedule(**{key: found[key] for key in kept if key in found}, State="DISABLED")
