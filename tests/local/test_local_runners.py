"""What runners need of the local cloud: Run Command runs scripts, and state machines call HTTPS APIs with a secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_toys import BUS_ARN, Toys, eventually

from local import github
from local.cloud import LocalCloud

SHA = "9fceb02d0ae598e95dc970b74767f19372d61af8"


class Fleet:
    """The machines of an environment, and scripts that run on them."""

    def __init__(self, cloud: LocalCloud, toys: Toys, instances: int = 1) -> None:
        self.cloud, self.toys = cloud, toys
        self.ssm = cloud.workload_client("ssm")
        self.stack, self.environment = toys.stack(instances=instances)
        toys.stack_becomes(self.stack, "CREATE_COMPLETE")

    def send(self, *lines: str, seconds: int = 3600) -> str:
        return str(
            self.ssm.send_command(
                Targets=[{"Key": "tag:mayfly:environment", "Values": [self.environment]}],
                DocumentName="AWS-RunShellScript",
                Parameters={"commands": list(lines), "executionTimeout": [str(seconds)]},
            )["Command"]["CommandId"]
        )

    def command(self, command: str) -> dict[str, Any]:
        return dict(self.ssm.list_commands(CommandId=command)["Commands"][0])

    def ended(self, command: str) -> dict[str, Any]:
        eventually(lambda: self.command(command)["Status"] != "InProgress")
        return self.command(command)

    def invocations(self, command: str) -> list[tuple[str, str, int, str]]:
        listed = self.ssm.list_command_invocations(CommandId=command, Details=True)["CommandInvocations"]
        return [
            (one["Status"], one["StatusDetails"], plugin["ResponseCode"], plugin["Output"])
            for one in listed
            for plugin in one["CommandPlugins"]
        ]


def test_a_script_really_runs_and_its_exit_code_is_the_command_s(cloud: LocalCloud, toys: Toys) -> None:
    fleet = Fleet(cloud, toys)
    good, bad = fleet.send("name=world", 'echo "hello $name"'), fleet.send("echo no >&2", "exit 3")
    assert fleet.ended(good)["Status"] == "Success"
    assert fleet.invocations(good) == [("Success", "Success", 0, "hello world\n")]
    assert fleet.ended(bad)["Status"] == "Failed"
    assert fleet.invocations(bad) == [("Failed", "Failed", 3, "no\n")]


def test_a_command_runs_on_every_machine_that_a_tag_names(cloud: LocalCloud, toys: Toys) -> None:
    fleet = Fleet(cloud, toys, instances=3)
    command = fleet.ended(fleet.send("true"))
    assert (command["TargetCount"], command["CompletedCount"], command["ErrorCount"]) == (3, 3, 0)


def test_a_script_that_takes_too_long_is_ended(cloud: LocalCloud, toys: Toys, tmp_path: Path) -> None:
    fleet, begun = Fleet(cloud, toys), tmp_path / "begun"
    command = fleet.send("echo begun", f"touch {begun}", "sleep 600", seconds=120)
    eventually(begun.exists)
    cloud.advance(60)
    assert fleet.command(command)["Status"] == "InProgress"
    cloud.advance(61)
    assert fleet.ended(command)["Status"] == "TimedOut"
    assert fleet.invocations(command) == [("TimedOut", "ExecutionTimedOut", -1, "begun\n")]


def test_an_agent_that_is_not_there_cannot_be_reached(cloud: LocalCloud, toys: Toys) -> None:
    fleet = Fleet(cloud, toys)
    cloud.fault("workload", command="*", environment=fleet.environment, effect="undeliverable")
    command = fleet.send("true")
    assert fleet.ended(command)["StatusDetails"] == "Undeliverable"


def test_a_command_says_how_it_stands_as_a_whole(cloud: LocalCloud, toys: Toys) -> None:
    queue, arn = toys.queue()
    events, forward = cloud.client("events"), cloud.workload_client("events")
    if "mayfly" not in [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]:
        events.create_event_bus(Name="mayfly")
    whole = {"source": ["aws.ssm"], "detail-type": ["EC2 Command Status-change Notification"]}
    listen = toys.name("listen")
    events.put_rule(Name=listen, EventBusName="mayfly", EventPattern=json.dumps(whole))
    events.put_targets(Rule=listen, EventBusName="mayfly", Targets=[{"Id": "queue", "Arn": arn}])
    forward.put_rule(Name=listen, EventPattern=json.dumps(whole))
    forward.put_targets(Rule=listen, Targets=[{"Id": "bus", "Arn": BUS_ARN}])
    fleet = Fleet(cloud, toys, instances=2)
    command = fleet.send("true")
    heard: list[dict[str, Any]] = []

    def statuses() -> list[str]:
        heard.extend(event["detail"] for event in toys.messages(queue))
        return [one["status"] for one in heard if one["command-id"] == command]

    eventually(lambda: statuses() == ["InProgress", "Success"])
    assert heard[-1]["parameters"]["commands"] == ["true"]
    assert "instance-id" not in heard[-1]
    forward.remove_targets(Rule=listen, Ids=["bus"])
    forward.delete_rule(Name=listen)


# ---- HTTP tasks --------------------------------------------------------------------------------------------


@pytest.fixture
def hub(cloud: LocalCloud) -> Iterator[github.GitHub]:
    with github.serve(github.GitHub("acme/shop", "secret", commits={SHA}, pulls={7})) as running:
        cloud.stand_in(github.HOST, running.url)
        yield running


def connection(cloud: LocalCloud, toys: Toys, secret: str = "secret") -> str:
    made = cloud.client("events").create_connection(
        Name=toys.name("mayfly-hub"),
        AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "Authorization", "ApiKeyValue": f"Bearer {secret}"}},
    )
    return str(made["ConnectionArn"])


def call(arn: str, path: str, body: object, **more: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::http:invoke",
        "Arguments": {
            "ApiEndpoint": f"https://{more.pop('host', github.HOST)}{path}",
            "Method": "POST",
            "Authentication": {"ConnectionArn": arn},
            "RequestBody": body,
        },
        "End": True,
    }


def failure(toys: Toys, state: dict[str, Any]) -> str:
    ended = toys.ended(toys.start({"Call": state}))
    assert ended["status"] == "FAILED"
    return str(ended["error"])


def test_a_machine_calls_an_api_with_the_secret_of_a_connection(cloud: LocalCloud, toys: Toys, hub: Any) -> None:
    arn = connection(cloud, toys)
    assert arn.count("/") == 2, "as on AWS, an id follows the name"
    state = call(arn, f"/repos/acme/shop/statuses/{SHA}", {"state": "pending", "context": "mayfly"})
    answer = toys.run({"Call": state})
    assert (answer["StatusCode"], answer["ResponseBody"]["state"]) == (201, "pending")
    assert [one["context"] for one in hub.statuses[SHA]] == ["mayfly"]


def test_what_an_api_refuses_is_an_error_of_its_status(cloud: LocalCloud, toys: Toys, hub: Any) -> None:
    mine, other = connection(cloud, toys), connection(cloud, toys, "wrong")
    path = "/repos/acme/shop/dispatches"
    assert failure(toys, call(other, path, {"event_type": "x"})) == "States.Http.StatusCode.401"
    assert failure(toys, call(mine, "/repos/acme/none/dispatches", {"event_type": "x"})) == "States.Http.StatusCode.404"
    assert failure(toys, call(mine, path, {})) == "States.Http.StatusCode.422"
    many = {"event_type": "x", "client_payload": {str(number): number for number in range(11)}}
    assert failure(toys, call(mine, path, many)) == "States.Http.StatusCode.422"
    assert failure(toys, call(mine, path, {}, host="nowhere.example.com")) == "States.Http.Socket"


def test_a_connection_that_is_not_there_is_an_error(cloud: LocalCloud, toys: Toys, hub: Any) -> None:
    missing = "arn:aws:events:us-east-1:111111111111:connection/mayfly-none/11111111-1111-1111-1111-111111111111"
    assert failure(toys, call(missing, "/", {})) == "Events.ConnectionResource.NotFound"


def test_a_dispatch_starts_the_workflow(cloud: LocalCloud, toys: Toys, hub: Any) -> None:
    begun: list[dict[str, Any]] = []
    hub.workflow = begun.append
    body = {"event_type": "tests", "client_payload": {"environment": "shop-1"}}
    assert toys.run({"Call": call(connection(cloud, toys), "/repos/acme/shop/dispatches", body)})["StatusCode"] == 204
    eventually(lambda: begun == [{"environment": "shop-1"}])
