"""What functions send is what the services take, by their own models: patterns, lengths, enumerations."""

from typing import Any

import botocore.session
import pytest

from tests.integration.world import ENVIRONMENT, NOW, World
from tests.models import violations


def test_what_a_life_sends_is_what_the_services_take(world: World) -> None:
    world.ready()
    world.run()
    world.call("measure_reach", {"now": NOW})
    assert world.wire.heard("CreateStack")
    assert world.wire.violations == []


@pytest.mark.parametrize(
    ("service", "operation", "sent", "said"),
    [
        ("cloudformation", "CreateStack", {"StackName": "x", "ClientRequestToken": "no blanks"}, "does not fit"),
        ("cloudformation", "CreateStack", {"StackName": "x", "OnFailure": "NOTHING"}, "is none of"),
        ("sqs", "SendMessage", {"QueueUrl": "https://q", "MessageBody": "x"}, ""),
        (
            "stepfunctions",
            "StartExecution",
            {"stateMachineArn": "arn", "name": "x" * 81},
            "81 characters are more than 80",
        ),
        ("ssm", "SendCommand", {"DocumentName": "Document", "TimeoutSeconds": 5}, "are fewer than 30"),
    ],
)
def test_what_a_service_would_refuse_is_said(service: str, operation: str, sent: dict[str, Any], said: str) -> None:
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    found = list(violations(sent, model.input_shape))
    assert [said in each for each in found] == ([True] if said else [])


def test_names_that_mayfly_makes_are_what_the_services_take() -> None:
    model = botocore.session.get_session().get_service_model("stepfunctions").operation_model("StartExecution")
    asked = {
        "stateMachineArn": "arn:aws:states:us-east-1:111111111111:stateMachine:x",
        "name": f"{ENVIRONMENT}__29600000",
    }
    assert list(violations(asked, model.input_shape)) == []
