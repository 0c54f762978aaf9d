"""A permanent environment of one test's own, rolled out by Mayfly on the local cloud: what its owner sees and does."""

import json
from functools import cached_property
from typing import Any

from local.client import Client
from local.cloud import WORKLOAD_ACCOUNT
from local.install import network
from local.records import remember_release
from tests.e2e.driver import Driver
from tests.e2e.gallery import Gallery

type Json = dict[str, Any]

FASTER = 60
"""How many times as fast time runs while a rollout is watched: its soaks and health checks are minutes."""


class Service:
    """An application with one permanent environment, on images of a family of its own."""

    def __init__(self, mayfly: Driver, instances: int = 3, **rollout: Any) -> None:
        self.mayfly, self.cloud = mayfly, mayfly.cloud
        self.application = next(mayfly._names)
        self.gallery = Gallery(mayfly, f"family-of-{self.application}")
        self.id = f"{self.application}-production"
        self.instances = instances
        self.parameters: dict[str, str] = {}
        """What its blueprint is told besides."""
        self.own: Json = {}
        """What its configuration has besides."""
        self.configure(**rollout)

    def configure(self, **rollout: Any) -> None:
        """Puts the application's configuration where Mayfly reads it."""
        own = {
            "name": "production",
            "instance_count": self.instances,
            "parameters": network(self.cloud)
            | {
                "UnhealthyMinutes": "3",
                "GraceSeconds": "60",
                "WarmupSeconds": "90",
                "DrainSeconds": "10",
            }
            | self.parameters,
            "rollout": {"soak_minutes": 1} | rollout,
            **self.own,
        }
        configuration = {
            "owner": "team@example.com",
            "blueprint": "single.yaml",
            "instance_count": 1,
            "image": {"family": self.gallery.family},
            "account": WORKLOAD_ACCOUNT,
            "suites": [{"name": "smoke"}],
            "permanent": [own],
        }
        name = f"/mayfly/applications/{self.application}"
        value = json.dumps(configuration)
        self.cloud.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

    def again(self, mayfly: Driver) -> "Service":
        """The same service in another test."""
        self.mayfly = self.gallery.mayfly = mayfly
        return self

    # ---- what happens to it -----------------------------------------------------------------------------

    def passes(self, version: str, times: int = 1) -> None:
        """A release of this version has passed, as its execution announces it."""
        detail = {"release": f"{self.application}-{version.replace('.', '-')}-0a1b2c3d"}
        detail |= {"passed": True, "reason": "every suite passed", "suites": []}
        detail |= {"application": self.application, "version": version, "artifact": f"s3://artifacts/{version}"}
        remember_release(self.mayfly.cloud, self.mayfly.outputs["TableName"], detail)
        for _ in range(times):
            self.mayfly.cloud.announce(self.mayfly.facts_bus, "Release Passed", detail)

    def made(self, version: str = "1.0.0") -> Json:
        """Has it made, on a first image and version; returns the announcement. By then its alarms look at no minute any
        more in which it grew."""
        self.gallery.promoted(self.gallery.image(), "stable")
        self.passes(version)
        made = self.ended("Rollout Completed")
        self.cloud.advance(5 * 60)
        self.quiet()
        return made

    def approve(self, number: int, why: str) -> None:
        """A person lets one of its rollouts through."""
        detail = {"rollout": f"{self.id}-{number}", "why": why, "approved_by": "ann@example.com"}
        self.mayfly.say("Rollout Approved", [detail])

    def odd_instance(self) -> str:
        """Somebody makes a version of the launch template by hand, and has an instance launched from it; its id."""
        autoscaling, group = self.cloud.workload_client("autoscaling"), self.group
        template, was = group["LaunchTemplate"]["LaunchTemplateId"], group["LaunchTemplate"]["Version"]
        made = self.cloud.workload_client("ec2").create_launch_template_version(
            LaunchTemplateId=template, SourceVersion=was, LaunchTemplateData={"InstanceType": "t3.large"}
        )
        version = str(made["LaunchTemplateVersion"]["VersionNumber"])

        def launch(version: str) -> None:
            autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=group["AutoScalingGroupName"],
                LaunchTemplate={"LaunchTemplateId": template, "Version": version},
            )

        def look() -> str | None:
            members = self.group["Instances"]
            return next((one["InstanceId"] for one in members if one["LaunchTemplate"]["Version"] == version), None)

        launch(version)
        autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=group["Instances"][0]["InstanceId"], ShouldDecrementDesiredCapacity=False
        )
        with self.cloud.hurry(FASTER):
            found = self.mayfly.until(look, "it is launched")
        launch(was)
        return found

    def gets_image(self) -> str:
        """Moves the channel to a new image; returns that."""
        image = self.gallery.image()
        self.gallery.promoted(image, "stable")
        return image

    def look(self) -> Json:
        """Has Mayfly look at it now, as the schedule does; what was decided about it. What AWS refuses a look, the next
        one is told."""

        def decided() -> Json | None:
            reply = self.cloud.client("lambda").invoke(
                FunctionName="mayfly-plan-rollouts", Payload=json.dumps({"now": self.now})
            )
            said = json.loads(reply["Payload"].read())
            return next((dict(one) for one in said["services"] if one["service"] == self.id), None)

        return self.mayfly.until(decided, f"{self.id} is looked at")

    # ---- what is seen of it -----------------------------------------------------------------------------

    @property
    def now(self) -> str:
        """The time as Mayfly has it."""
        return self.cloud.now().isoformat().replace("+00:00", "Z")

    @property
    def record(self) -> Json:
        """Its record."""
        return self.read("service", self.id)

    @property
    def next(self) -> int:
        """The number of its next rollout."""
        return int(self.record["serial"]) + 1

    def rollout(self, number: int) -> Json:
        """The record of one of its rollouts."""
        return self.read("rollout", f"{self.id}-{number}")

    def read(self, kind: str, identity: str) -> Json:
        """A record, {} where there is none."""
        return self.mayfly.record(identity, kind)

    def announced(self) -> list[Json]:
        """All that was announced of its rollouts, in order."""
        return [one for one in self.mayfly.announcements() if one["detail"].get("service") == self.id]

    def ended(self, detail_type: str, number: int = 1) -> Json:
        """Waits until a rollout has ended; its announcement, which must be of this type."""
        said = self.over(number)
        assert said["detail-type"] == detail_type, said
        return dict(said["detail"])

    def over(self, number: int) -> Json:
        """Waits until a rollout has ended; the whole event that says how."""
        rollout = f"{self.id}-{number}"

        def look() -> Json | None:
            ends = ("Rollout Completed", "Rollout Rolled Back", "Rollout Failed")
            mine = (one for one in self.announced() if one["detail"].get("rollout") == rollout)
            return next((one for one in mine if one["detail-type"] in ends), None)

        with self.cloud.hurry(FASTER):
            return self.mayfly.until(look, f"{rollout} has ended", lambda: self.stands(number))

    def used(self, rate: float) -> Client:
        """Its users, while this is entered: so many requests in a real second."""
        return Client(self.balancer["url"], connections=4, rate=rate)

    def quiet(self) -> None:
        """Waits until none of its alarms fires any more: nothing begins by itself before."""
        with self.cloud.hurry(FASTER):
            self.mayfly.until(lambda: self.cloud.is_calm(self.stack), f"the alarms of {self.id} are quiet")

    def said(self, detail_type: str) -> Json | None:
        """The detail of what was announced of this type, if it was."""
        return next((one["detail"] for one in self.announced() if one["detail-type"] == detail_type), None)

    def stands(self, number: int) -> Json:
        """How things stand, for people."""
        return {
            "history": self.mayfly.history(self.record),
            "rollout": self.mayfly.history(self.rollout(number) or {"history": []}),
            "events": [(one["type"], one.get("details")) for one in self.events(number)][-12:],
            "members": [(one["LifecycleState"], one["HealthStatus"]) for one in self.group.get("Instances", [])],
        }

    @cached_property
    def stack(self) -> str:
        """Its stack's name."""
        return f"mayfly-{self.id}"

    def stack_is(self, status: str) -> bool:
        """Whether its stack has this status."""
        return bool(self._described["StackStatus"] == status)

    @property
    def outputs(self) -> dict[str, str]:
        """Its stack's outputs."""
        return {out["OutputKey"]: out["OutputValue"] for out in self._described.get("Outputs", [])}

    @property
    def _described(self) -> Json:
        (found,) = self.cloud.workload_client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        return dict(found)

    @property
    def group(self) -> Json:
        """Its Auto Scaling group."""
        autoscaling, name = self.cloud.workload_client("autoscaling"), self.outputs.get("AutoScalingGroupName")
        found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
        return dict(found[0]) if found else {}

    @property
    def balancer(self) -> Json:
        """Its load balancer, as the local cloud knows it."""
        cloudformation = self.cloud.workload_client("cloudformation")
        found = cloudformation.describe_stack_resource(StackName=self.stack, LogicalResourceId="TargetGroup")
        arn = found["StackResourceDetail"]["PhysicalResourceId"]
        return dict(self.cloud.balancers()[arn.split("/")[1]])

    def runs(self) -> set[tuple[str, str]]:
        """The image and the version of the launch template of all of its instances."""
        members = {one["InstanceId"]: one["LaunchTemplate"]["Version"] for one in self.group["Instances"]}
        reservations = self.cloud.workload_client("ec2").describe_instances(InstanceIds=list(members))["Reservations"]
        instances = [one for reservation in reservations for one in reservation["Instances"]]
        return {(one["ImageId"], members[one["InstanceId"]]) for one in instances}

    def members(self) -> set[str]:
        """The ids of its instances."""
        return {one["InstanceId"] for one in self.group["Instances"]}

    def launched(self, image: str) -> int:
        """How many instances were ever launched from an image, those that are gone among them."""
        pages = (
            self.cloud.workload_client("ec2")
            .get_paginator("describe_instances")
            .paginate(
                Filters=[{"Name": "image-id", "Values": [image]}, {"Name": "tag:mayfly:service", "Values": [self.id]}]
            )
        )
        return sum(len(reservation["Instances"]) for page in pages for reservation in page["Reservations"])

    def drift(self) -> str:
        """Whether its stack is as its template says, by CloudFormation."""
        cloudformation = self.cloud.workload_client("cloudformation")
        asked = cloudformation.detect_stack_drift(StackName=self.stack)["StackDriftDetectionId"]

        def look() -> str | None:
            said = cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=asked)
            return said.get("StackDriftStatus")

        return self.mayfly.until(look, f"drift of {self.id}")

    def refreshes(self) -> list[Json]:
        """Its instance refreshes, the latest first."""
        name = self.outputs["AutoScalingGroupName"]
        found = self.cloud.workload_client("autoscaling").describe_instance_refreshes(AutoScalingGroupName=name)
        return list(found["InstanceRefreshes"])

    def refreshed(self, status: str) -> bool:
        """Whether its latest instance refresh has this status."""
        return any(one["Status"] == status for one in self.refreshes()[:1])

    def activities(self) -> list[str]:
        """What its group did, or could not do, the latest first."""
        name = self.outputs["AutoScalingGroupName"]
        found = self.cloud.workload_client("autoscaling").describe_scaling_activities(AutoScalingGroupName=name)
        return [f"{one['Description']} {one.get('StatusMessage', '')}" for one in found["Activities"]]

    def transitions(self, number: int) -> int:
        """What a rollout has cost, in state transitions."""
        return sum(event["type"].endswith("StateEntered") for event in self.events(number)) + 1

    def events(self, number: int) -> list[Json]:
        """What happened in a rollout's execution: each event with what is said of it."""
        arn = f"{self.mayfly.outputs['RolloutMachine'].replace(':stateMachine:', ':execution:')}:{self.id}-{number}"
        pages = self.cloud.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [
            {"type": event["type"], "details": next((event[key] for key in event if key.endswith("Details")), None)}
            for page in pages
            for event in page["events"]
        ]
