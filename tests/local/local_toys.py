"""Small functions, state machines and stacks to try the local cloud with."""

from __future__ import annotations

import io
import itertools
import json
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local.cloud import CONTROLLER_ACCOUNT, SECRET, LocalCloud

TEMPLATE = (Path(__file__).parent / "fleet.json").read_text()
SERVICE = (Path(__file__).parent / "service.json").read_text()
BUS_ARN = f"arn:aws:events:us-east-1:{CONTROLLER_ACCOUNT}:event-bus/mayfly"
SOMEBODY = {"aws_access_key_id": "somebody", "aws_secret_access_key": SECRET}
"""Who is not the administrator, whom no fault strikes."""
_numbers = itertools.count(1)


def eventually[T](look: Callable[[], T], seconds: float = 300) -> T:
    """What `look` returns as soon as it is truthy; fails the test when it never is."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds; last seen: {seen!r}"
        time.sleep(0.05)
    return seen


class Toys:
    """Small functions, state machines and stacks with names that no other test uses."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.states = cloud.client("stepfunctions")

    def name(self, kind: str) -> str:
        return f"{kind}-{next(_numbers)}"

    def role(self, service: str = "lambda", **allow: str) -> str:
        """A role; `allow` maps an action (`sqs_SendMessage`) to a resource."""
        iam, name = self.cloud.client("iam"), self.name("role")
        trust = {"Effect": "Allow", "Principal": {"Service": f"{service}.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]
        for action, resource in allow.items():
            statement = {"Effect": "Allow", "Action": action.replace("_", ":"), "Resource": resource}
            iam.put_role_policy(RoleName=name, PolicyName=action, PolicyDocument=_policy(statement))
        return str(role["Arn"])

    def function(self, body: str, timeout: int = 10, **allow: str) -> str:
        """A function whose handler has this body, with `event` and `context`; returns its name."""
        handler = textwrap.indent(textwrap.dedent(body), "    ")
        source = f"import json, os, time\n\n\ndef handler(event, context):\n{handler}\n"
        archive, name = io.BytesIO(), self.name("function")
        with zipfile.ZipFile(archive, "w") as package:
            package.writestr(zipfile.ZipInfo("app.py"), source)  # without the time: the same source is the same content
        self.cloud.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="app.handler",
            Role=self.role(**allow),
            Code={"ZipFile": archive.getvalue()},
            Timeout=timeout,
        )
        return name

    def queue(self) -> tuple[str, str]:
        """Url and ARN of a queue."""
        sqs = self.cloud.client("sqs")
        url = sqs.create_queue(QueueName=self.name("queue"))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return str(url), str(arn)

    def messages(self, url: str) -> list[dict[str, Any]]:
        """The bodies of what is in a queue, which is empty afterwards."""
        sqs, bodies = self.cloud.client("sqs"), []
        while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [json.loads(message["Body"]) for message in got]
            for message in got:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def invocations(self, function: str) -> list[dict[str, Any]]:
        """How its invocations went. One of an earlier test's functions may be over only now."""
        return [one for one in self.cloud.ledger()["invocations"] if one["function"] == function]

    def machine(self, states: dict[str, Any], start: str | None = None) -> str:
        """A state machine in JSONata; returns its ARN."""
        definition = {"QueryLanguage": "JSONata", "StartAt": start or next(iter(states)), "States": states}
        made = self.states.create_state_machine(
            name=self.name("machine"), definition=json.dumps(definition), roleArn=self.role("states")
        )
        return str(made["stateMachineArn"])

    def start(self, states: dict[str, Any], given: object = None) -> str:
        """Start an execution of a new machine; returns its ARN."""
        machine = self.machine(states)
        return str(self.states.start_execution(stateMachineArn=machine, input=json.dumps(given or {}))["executionArn"])

    def ended(self, execution: str) -> dict[str, Any]:
        """The execution's description once it has ended."""

        def look() -> dict[str, Any] | None:
            seen: dict[str, Any] = self.states.describe_execution(executionArn=execution)
            return seen if seen["status"] != "RUNNING" else None

        return eventually(look) or {}

    def run(self, states: dict[str, Any], given: object = None) -> Any:
        """The output of an execution that must succeed."""
        ended = self.ended(self.start(states, given))
        assert ended["status"] == "SUCCEEDED", (ended.get("error"), ended.get("cause"))
        return json.loads(ended["output"])

    def history(self, execution: str) -> list[dict[str, Any]]:
        return list(self.states.get_execution_history(executionArn=execution, maxResults=1000)["events"])

    def stack(self, environment: str | None = None, instances: int = 2, **options: Any) -> tuple[str, str]:
        """Create a stack as Mayfly does; returns its id and its environment's."""
        environment = environment or self.name("shop")
        parameters = {"EnvironmentId": environment, "InstanceCount": str(instances)}
        tags = {"mayfly:environment": environment, "mayfly:application": "shop"}
        request = {
            "StackName": f"mayfly-{environment}",
            "TemplateBody": TEMPLATE,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
            "OnFailure": "DO_NOTHING",
            "ClientRequestToken": environment,
        }
        stack = self.cloud.workload_client("cloudformation", **SOMEBODY).create_stack(**request | options)
        return str(stack["StackId"]), environment

    def broken_stack(self, size: int = 2, options: dict[str, Any] | None = None, **fault: Any) -> tuple[str, str]:
        """Create a stack to which this fault happens; returns its id and its environment's."""
        environment = self.name("shop")
        self.cloud.fault("workload", stack="create", environment=environment, **fault)
        return self.stack(environment, size, **options or {})

    def service(self, instances: int = 3, **parameters: object) -> ToyService:
        """A service that is complete, and whose targets are healthy."""
        environment = self.name("shop")
        given = {"EnvironmentId": environment, "InstanceCount": instances, **parameters}
        stack = self.cloud.workload_client("cloudformation").create_stack(
            StackName=f"mayfly-{environment}",
            TemplateBody=SERVICE,
            Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in given.items()],
            Tags=[{"Key": "mayfly:environment", "Value": environment}],
            OnFailure="DO_NOTHING",
        )["StackId"]
        self.stack_becomes(stack, "CREATE_COMPLETE")
        service = ToyService(self, stack, environment)
        eventually(lambda: service.targets() == {"healthy": instances})
        return service

    def described(self, stack: str) -> dict[str, Any]:
        stacks = self.cloud.workload_client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return dict(stacks[0])

    def stack_becomes(self, stack: str, status: str) -> dict[str, Any]:
        """The stack's description once it has this status."""

        def look() -> dict[str, Any] | None:
            seen = self.described(stack)
            return seen if seen["StackStatus"] == status else None

        return eventually(look) or {}

    def instances(self, environment: str) -> list[dict[str, Any]]:
        ec2 = self.cloud.workload_client("ec2")
        wanted = [{"Name": "tag:mayfly:environment", "Values": [environment]}]
        reservations = ec2.describe_instances(Filters=wanted)["Reservations"]
        return [instance for reservation in reservations for instance in reservation["Instances"]]

    def states_of(self, environment: str) -> list[str]:
        return [instance["State"]["Name"] for instance in self.instances(environment)]


class ToyService:
    """A stack of `service.json`: its group, its load balancer, its refreshes."""

    def __init__(self, toys: Toys, stack: str, environment: str) -> None:
        self.toys, self.stack, self.environment = toys, stack, environment
        self.cloud = toys.cloud
        self.autoscaling = self.cloud.workload_client("autoscaling")
        self.cloudformation = self.cloud.workload_client("cloudformation")

    def output(self, name: str) -> str:
        outputs = {one["OutputKey"]: one["OutputValue"] for one in self.toys.described(self.stack)["Outputs"]}
        return str(outputs[name])

    @property
    def name(self) -> str:
        return self.output("AutoScalingGroupName")

    def balancer(self) -> dict[str, Any]:
        name = self.output("TargetGroup").split("/")[1]
        return dict(self.cloud.balancers()[name])

    def targets(self) -> dict[str, int]:
        return dict(self.balancer()["targets"])

    def group(self) -> dict[str, Any]:
        described = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])
        return dict(described["AutoScalingGroups"][0])

    def staying(self) -> list[dict[str, Any]]:
        """Its instances without those that are on their way out."""
        return [one for one in self.group()["Instances"] if one["LifecycleState"] != "Terminating"]

    def versions(self) -> list[str]:
        """Of the launch template, from which its instances were launched."""
        return [one["LaunchTemplate"]["Version"] for one in self.staying()]

    def zones(self) -> list[str]:
        return [one["AvailabilityZone"] for one in self.staying()]

    def update(self, **parameters: object) -> None:
        """Update the stack's parameters, the others staying as they are, and wait until that is done."""
        self.begin_update(**parameters)
        self.toys.stack_becomes(self.stack, "UPDATE_COMPLETE")

    def begin_update(self, **parameters: object) -> None:
        names = [one["ParameterKey"] for one in self.toys.described(self.stack)["Parameters"]]
        self.cloudformation.update_stack(
            StackName=self.stack,
            UsePreviousTemplate=True,
            Parameters=[
                {"ParameterKey": name, "ParameterValue": str(parameters[name])}
                if name in parameters
                else {"ParameterKey": name, "UsePreviousValue": True}
                for name in names
            ],
            ClientRequestToken="update",
        )

    def refresh(self, version: int | None = 2, **preferences: Any) -> str:
        """Start an instance refresh to this version of the launch template (None: no desired configuration)."""
        template = {"LaunchTemplateId": self.output("LaunchTemplateId"), "Version": str(version)}
        desired = {"DesiredConfiguration": {"LaunchTemplate": template}} if version else {}
        return str(
            self.autoscaling.start_instance_refresh(
                AutoScalingGroupName=self.name,
                Preferences={"MinHealthyPercentage": 100, "MaxHealthyPercentage": 150, "InstanceWarmup": 10}
                | preferences,
                **desired,
            )["InstanceRefreshId"]
        )

    def refreshed(self) -> dict[str, Any]:
        """The newest refresh."""
        return dict(
            self.autoscaling.describe_instance_refreshes(AutoScalingGroupName=self.name)["InstanceRefreshes"][0]
        )

    def becomes(self, status: str) -> dict[str, Any]:
        """The newest refresh once it has this status."""

        def look() -> bool:
            seen = self.refreshed()["Status"]
            assert seen == status or seen in ("Pending", "InProgress", "Baking", "RollbackInProgress", "Cancelling"), (
                seen
            )
            return bool(seen == status)

        eventually(look)
        return self.refreshed()

    def gone(self) -> None:
        """Delete the stack."""
        self.cloudformation.delete_stack(StackName=self.stack)
        self.toys.stack_becomes(self.stack, "DELETE_COMPLETE")


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
