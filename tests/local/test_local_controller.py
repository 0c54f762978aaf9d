"""The controller account: who may do what, asynchronous invocations, measurements and faults."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_toys import BUS_ARN, Toys, eventually

from local.cloud import CloudError, LocalCloud, ask
from local.controller.server import environment_of


def invoke(cloud: LocalCloud, function: str, payload: object = None) -> Any:
    """The function's answer, or its error."""
    answer = cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(payload or {}))
    return json.loads(answer["Payload"].read())


def rule_to_function(cloud: LocalCloud, toys: Toys, function: str) -> str:
    """A rule that hands events to the function; returns their source."""
    events, source = cloud.client("events"), toys.name("source")
    arn = cloud.client("lambda").get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    events.put_rule(Name=source, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule=source, Targets=[{"Id": "function", "Arn": arn}])
    return source


def say(cloud: LocalCloud, source: str, **detail: Any) -> None:
    entry = {"Source": source, "DetailType": "Said", "Detail": json.dumps(detail)}
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


SEND = """
    import boto3
    boto3.client("sqs").send_message(QueueUrl=event["queue"], MessageBody=json.dumps(event))
"""


def test_a_function_may_do_what_its_role_allows_and_nothing_else(cloud: LocalCloud, toys: Toys) -> None:
    url, arn = toys.queue()
    assert invoke(cloud, toys.function(SEND, sqs_SendMessage=arn), {"queue": url}) is None
    refused = invoke(cloud, toys.function(SEND), {"queue": url})
    assert refused["errorType"] == "ClientError"
    assert "AccessDenied" in refused["errorMessage"]
    assert len(toys.messages(url)) == 1


def test_an_invocation_by_a_rule_is_retried_twice_and_then_goes_whole_to_its_destination(
    cloud: LocalCloud, toys: Toys
) -> None:
    function, (url, arn) = toys.function("raise ValueError('no')"), toys.queue()
    cloud.client("lambda").put_function_event_invoke_config(
        FunctionName=function, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    say(cloud, rule_to_function(cloud, toys, function), environment="shop-1", order=[1, 2])
    [failed] = eventually(lambda: toys.messages(url))
    assert failed["requestPayload"]["detail"] == {"environment": "shop-1", "order": [1, 2]}
    assert failed["responsePayload"]["errorType"] == "ValueError"
    assert [one["environment"] for one in toys.invocations(function)] == ["shop-1"] * 3


def test_an_invocation_by_a_topic_is_retried_too(cloud: LocalCloud, toys: Toys) -> None:
    function, (url, arn), sns = toys.function("raise ValueError('no')"), toys.queue(), cloud.client("sns")
    lambdas = cloud.client("lambda")
    lambdas.put_function_event_invoke_config(
        FunctionName=function,
        Qualifier="$LATEST",
        MaximumRetryAttempts=1,
        DestinationConfig={"OnFailure": {"Destination": arn}},
    )
    topic = sns.create_topic(Name=toys.name("topic"))["TopicArn"]
    endpoint = lambdas.get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=endpoint)
    sns.publish(TopicArn=topic, Message='{"suite": "smoke"}')
    [failed] = eventually(lambda: toys.messages(url))
    assert failed["requestPayload"]["Records"][0]["Sns"]["Message"] == '{"suite": "smoke"}'
    assert len(toys.invocations(function)) == 2


def test_the_ledger_measures_invocations_and_says_whose_they_were(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("return {'environment': 'shop-9'} if event.get('answer') else None")
    invoke(cloud, function, {"answer": True})
    invoke(cloud, function, {"order": {"environment": "shop-8"}})
    first, second = toys.invocations(function)
    assert (first["environment"], second["environment"]) == ("shop-9", "shop-8")
    assert (first["cold"], second["cold"]) == (True, False)
    assert min(first["ms"], second["ms"]) > 0
    assert first["memory_mb"] > 5
    assert first["payload_bytes"] == len('{"answer": true}')


def test_an_exception_leaves_the_sandbox_warm(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("raise RuntimeError(str(os.getpid()))")
    assert invoke(cloud, function)["errorMessage"] == invoke(cloud, function)["errorMessage"]


def test_all_sandboxes_of_a_function_share_what_was_unpacked_once(cloud: LocalCloud, toys: Toys) -> None:
    source = "return [os.getpid(), os.path.realpath(__file__)]"
    (first, place), (second, same) = (invoke(cloud, toys.function(source)) for _ in range(2))
    assert (first == second, place == same) == (False, True)


@pytest.mark.parametrize(("effect", "effects"), [("die_before", 0), ("die_after", 1), ("hang", 0)])
def test_a_sandbox_can_die_before_or_after_the_function_has_had_its_effect(
    cloud: LocalCloud, toys: Toys, effect: str, effects: int
) -> None:
    url, arn = toys.queue()
    function = toys.function(SEND, sqs_SendMessage=arn)
    given = {"queue": url, "environment": "shop-3"}
    cloud.fault("controller", function=function, environment="shop-3", effect=effect, seconds=0.1, times=1)
    assert invoke(cloud, function, {**given, "environment": "shop-4"}) is None
    toys.messages(url)
    died = invoke(cloud, function, given)
    assert died["errorType"] == ("Sandbox.Timedout" if effect == "hang" else "Runtime.ExitError")
    assert len(toys.messages(url)) == effects
    assert invoke(cloud, function, given) is None
    cold = [one["cold"] for one in toys.invocations(function)]
    assert cold[-1] is (effect == "die_after")


def test_lambda_can_refuse_an_invocation(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("return 1")
    cloud.fault("controller", function=function, effect="throttle", times=2)
    arguments = {"FunctionName": function, "Payload": {}}
    throttled = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": arguments, "End": True}
    assert toys.ended(toys.start({"Ask": throttled}))["error"] == "Lambda.TooManyRequestsException"
    again = {"ErrorEquals": ["Lambda.TooManyRequestsException"]}
    assert toys.run({"Ask": throttled | {"Retry": [again]}})["Payload"] == 1


def test_events_get_lost_and_doubled(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("return event['detail']")
    source = rule_to_function(cloud, toys, function)
    cloud.fault("controller", event={"detail-type": "Said", "environment": "lost-*"}, effect="lose", times=1)
    cloud.fault("controller", event={"environment": "twice-*"}, effect="duplicate", times=1)
    for environment in ("lost-1", "twice-1", "once-1"):
        say(cloud, source, environment=environment)
    eventually(lambda: len(toys.invocations(function)) == 3)
    heard = sorted(one["environment"] for one in toys.invocations(function))
    assert heard == ["once-1", "twice-1", "twice-1"]


def test_a_service_event_reaches_its_bus_with_its_own_account_and_time(cloud: LocalCloud, toys: Toys) -> None:
    url, arn = toys.queue()
    events, bus = cloud.client("events"), toys.name("bus")
    events.create_event_bus(Name=bus)
    events.put_rule(Name=bus, EventBusName=bus, EventPattern=json.dumps({"source": ["aws.cloudformation"]}))
    events.put_targets(Rule=bus, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    event = {
        "id": "1",
        "source": "aws.cloudformation",
        "detail-type": "CloudFormation Stack Status Change",
        "account": "222222222222",
        "time": "2026-01-31T12:00:00Z",
        "resources": ["stack"],
        "detail": {"status-details": {"status": "CREATE_COMPLETE"}},
    }
    ask("POST", f"{cloud.controller_url}/_local/service-event", event | {"event-bus": bus})
    [heard] = eventually(lambda: toys.messages(url))
    assert {key: heard[key] for key in event} == event
    with pytest.raises(CloudError, match="there is no event bus nowhere"):
        ask("POST", f"{cloud.controller_url}/_local/service-event", event | {"event-bus": "nowhere"})
    with pytest.raises(ClientError, match="NotAuthorizedForSource"):
        raise_first_failure(events.put_events(Entries=[{"Source": "aws.ec2", "DetailType": "x", "Detail": "{}"}]))


def raise_first_failure(answer: Any) -> None:
    entry = answer["Entries"][0]
    raise ClientError({"Error": {"Code": entry["ErrorCode"], "Message": entry["ErrorMessage"]}}, "PutEvents")


def test_a_parameter_that_is_changed_is_told_on_the_default_bus(cloud: LocalCloud, toys: Toys) -> None:
    (url, arn), rule = toys.queue(), toys.name("rule")
    name, pattern = f"/toys/{rule}", {"source": ["aws.ssm"], "detail": {"name": [f"/toys/{rule}"]}}
    cloud.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    cloud.client("events").put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    for value in ("a", "b"):
        cloud.client("ssm").put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
    heard = eventually(lambda: (found := toys.messages(url)) and found)
    assert [one["detail-type"] for one in heard][:1] == ["Parameter Store Change"]
    assert heard[0]["detail"] == {"name": name, "operation": "Create", "type": "String"}


def test_a_schedule_fires_when_its_hour_has_passed(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("return event['time']")
    events, rule = cloud.client("events"), toys.name("hourly")
    arn = cloud.client("lambda").get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    events.put_rule(Name=rule, ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule=rule, Targets=[{"Id": "function", "Arn": arn}])
    cloud.advance(3601)
    eventually(lambda: toys.invocations(function))
    events.remove_targets(Rule=rule, Ids=["function"])
    events.delete_rule(Name=rule)


def test_what_is_due_by_schedule_begins_with_the_jump_that_makes_it_due(cloud: LocalCloud, toys: Toys) -> None:
    function, name = toys.function("return event['at']"), toys.name("schedule")
    arn = cloud.client("lambda").get_function(FunctionName=function)["Configuration"]["FunctionArn"]
    target = {"Arn": arn, "RoleArn": toys.role("scheduler"), "Input": '{"at": "<aws.scheduler.scheduled-time>"}'}
    schedule = {"ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target}
    cloud.client("scheduler").create_schedule(Name=name, **schedule)

    def fired() -> int:
        return len([one for one in cloud.ledger()["invocations"] if one["function"] == function])

    cloud.advance(80_000)
    cloud.advance(1)  # as soon as nothing runs that the jump began
    assert fired() == 0
    cloud.advance(6_400)
    cloud.advance(1)
    assert fired() == 1
    cloud.client("scheduler").delete_schedule(Name=name)


@pytest.mark.parametrize(
    ("result", "payload", "environment"),
    [
        ({"environment": "a"}, {"environment": "b"}, "a"),
        (None, {"environment": "b", "order": {"environment": "c"}}, "b"),
        (None, {"order": {"environment": "c"}}, "c"),
        (None, {"detail": {"environment": "d"}}, "d"),
        (None, {"detail": {"stack-id": "arn:aws:cloudformation:us-east-1:2:stack/mayfly-shop-1/77"}}, "shop-1"),
        ([], "text", None),
    ],
)
def test_whose_invocation_it_was(result: object, payload: object, environment: str | None) -> None:
    assert environment_of(result, payload) == environment


def test_a_schedule_that_nobody_can_read_is_refused_by_the_api_and_by_cloudformation(
    cloud: LocalCloud, toys: Toys
) -> None:
    target = {"Arn": BUS_ARN, "RoleArn": toys.role("scheduler")}
    schedule = {"ScheduleExpression": "rate(10)", "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": target}
    with pytest.raises(ClientError, match="Invalid Schedule Expression"):
        cloud.client("scheduler").create_schedule(Name=toys.name("schedule"), **schedule)
    template = {"Resources": {"Schedule": {"Type": "AWS::Scheduler::Schedule", "Properties": schedule}}}
    cloudformation, stack = cloud.client("cloudformation"), toys.name("stack")
    cloudformation.create_stack(StackName=stack, TemplateBody=json.dumps(template))
    eventually(
        lambda: cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE"
    )
