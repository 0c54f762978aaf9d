"""The state machines of the local cloud behave as AWS's, where Mayfly's depend on it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from local_toys import Toys, eventually

from local.cloud import LocalCloud

INVOKE = "arn:aws:states:::lambda:invoke"
WAIT = INVOKE + ".waitForTaskToken"
CONTEXT = "{% $states.context %}"
TOKEN = "{% $states.context.Task.Token %}"
DAY = 24 * 3600


def task(function: str, resource: str = INVOKE, **fields: Any) -> dict[str, Any]:
    payload = fields.pop("payload", "{% $states.input %}")
    arguments = {"FunctionName": function, "Payload": payload}
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True} | fields


def send_token(queue: str) -> dict[str, Any]:
    """A task that puts its token into a queue and waits."""
    return {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Arguments": {"QueueUrl": queue, "MessageBody": {"token": TOKEN}},
        "End": True,
    }


def next_token(toys: Toys, queue: str) -> str:
    return str(eventually(lambda: toys.messages(queue))[0]["token"])


def refusal(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


def test_a_function_that_raises_before_it_uses_the_token_fails_its_task_by_the_exceptions_name(toys: Toys) -> None:
    function = toys.function("raise KeyError('no such plan')")
    caught = {"ErrorEquals": ["KeyError"], "Output": "{% $states.errorOutput %}", "Next": "Caught"}
    output = toys.run({"Ask": task(function, WAIT, Catch=[caught]), "Caught": {"Type": "Pass", "End": True}})
    assert output["Error"] == "KeyError"
    assert json.loads(output["Cause"])["errorMessage"] == "'no such plan'"


def test_each_attempt_has_a_token_of_its_own_and_the_old_one_is_dead(toys: Toys) -> None:
    queue, _ = toys.queue()
    again = {"ErrorEquals": ["Again"], "IntervalSeconds": 1, "MaxAttempts": 1}
    execution = toys.start({"Ask": send_token(queue) | {"Retry": [again]}})
    first = next_token(toys, queue)
    toys.states.send_task_failure(taskToken=first, error="Again")
    second = next_token(toys, queue)
    assert second != first
    assert refusal(toys.states.send_task_success, taskToken=first, output="{}") == "TaskTimedOut"
    toys.states.send_task_success(taskToken=second, output='"done"')
    assert refusal(toys.states.send_task_success, taskToken=second, output="{}") == "TaskTimedOut"
    assert refusal(toys.states.send_task_success, taskToken="garbage", output="{}") == "InvalidToken"
    assert toys.ended(execution)["output"] == '"done"'


def test_a_timeout_of_a_day_given_as_an_expression_fires_when_a_day_has_passed(cloud: LocalCloud, toys: Toys) -> None:
    queue, _ = toys.queue()
    caught = {"ErrorEquals": ["States.Timeout"], "Output": "{% $states.errorOutput.Error %}", "Next": "Late"}
    waiting = send_token(queue) | {"TimeoutSeconds": "{% $states.input.lease %}", "Catch": [caught]}
    states = {"Await": waiting, "Late": {"Type": "Pass", "End": True}}
    execution = toys.start(states, {"lease": DAY})
    token = next_token(toys, queue)
    cloud.advance(DAY - 60)
    assert toys.states.describe_execution(executionArn=execution)["status"] == "RUNNING"
    cloud.advance(60)
    assert toys.ended(execution)["output"] == '"States.Timeout"'
    assert refusal(toys.states.send_task_success, taskToken=token, output="{}") == "TaskTimedOut"


def test_waits_and_the_context_follow_the_virtual_clock(cloud: LocalCloud, toys: Toys) -> None:
    before = cloud.now()
    execution = toys.start(
        {
            "Wait": {"Type": "Wait", "Seconds": 7200, "Next": "Look"},
            "Look": {"Type": "Pass", "Output": [CONTEXT, "{% $millis() %}", "{% $now() %}"], "End": True},
        }
    )
    eventually(lambda: toys.history(execution)[-1]["type"] == "WaitStateEntered")
    cloud.advance(7200)
    context, millis, now = json.loads(toys.ended(execution)["output"])
    assert millis / 1000 >= before.timestamp() + 7200
    started, entered, asked = (
        datetime.fromisoformat(said)
        for said in (context["Execution"]["StartTime"], context["State"]["EnteredTime"], now)
    )
    assert entered - started >= timedelta(hours=2)
    assert timedelta() <= asked - entered < timedelta(minutes=10)


def test_a_plain_task_times_out_in_virtual_time(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("return 'never'")
    cloud.fault("controller", function=function, effect="hang", seconds=30, times=1)
    execution = toys.start({"Slow": task(function, TimeoutSeconds=600)})
    eventually(lambda: cloud.faults("controller")[0]["times"] == 0)
    cloud.advance(600)
    assert toys.ended(execution)["error"] == "States.Timeout"


def test_time_jumps_only_when_no_function_runs(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("time.sleep(1)")
    execution = toys.start({"Slow": task(function, TimeoutSeconds=120)})
    eventually(lambda: "TaskScheduled" in [event["type"] for event in toys.history(execution)])
    cloud.advance(1200)
    ended = toys.ended(execution)
    assert ended["status"] == "SUCCEEDED", ended


def test_retries_end_after_the_given_attempts_with_delays_that_are_capped(cloud: LocalCloud, toys: Toys) -> None:
    function = toys.function("raise OSError('busy')")
    retry = {"ErrorEquals": ["OSError"], "IntervalSeconds": 4, "BackoffRate": 1.5, "MaxDelaySeconds": 5}
    execution = toys.start({"Try": task(function, Retry=[retry])})
    assert toys.ended(execution)["error"] == "OSError"
    assert len(toys.invocations(function)) == 4


def test_iterations_of_a_map_are_in_the_history_and_wait_with_tokens_of_their_own(toys: Toys) -> None:
    queue, _ = toys.queue()
    states = {
        "Each": {
            "Type": "Map",
            "Items": "{% $states.input.suites %}",
            "MaxConcurrency": "{% $count($states.input.suites) %}",
            "ItemSelector": {"suite": "{% $states.context.Map.Item.Value %}"},
            "ItemProcessor": {"StartAt": "Ask", "States": {"Ask": send_token(queue)}},
            "Assign": {"answers": "{% $states.result %}"},
            "Next": "Sum",
        },
        "Sum": {"Type": "Pass", "Output": "{% $sum($answers) %}", "End": True},
    }
    execution = toys.start(states, {"suites": ["a", "b", "c"]})
    tokens: set[str] = set()

    def all_three() -> bool:
        tokens.update(message["token"] for message in toys.messages(queue))
        return len(tokens) == 3

    eventually(all_three)
    for number, token in enumerate(sorted(tokens)):
        toys.states.send_task_success(taskToken=token, output=str(number))
    assert toys.ended(execution)["output"] == "3"
    history = toys.history(execution)
    entered = [event for event in history if event["type"] == "TaskStateEntered"]
    assert [event["stateEnteredEventDetails"]["name"] for event in entered] == ["Ask"] * 3
    assert [event["id"] for event in history] == list(range(1, len(history) + 1))


def test_a_conditional_update_with_a_token_stores_it_or_fails_by_name(cloud: LocalCloud, toys: Toys) -> None:
    table = toys.name("table")
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    update = {
        "Type": "Task",
        "Resource": "arn:aws:states:::aws-sdk:dynamodb:updateItem.waitForTaskToken",
        "Arguments": {
            "TableName": table,
            "Key": {"id": {"S": "one"}},
            "UpdateExpression": "SET #token = :token",
            "ConditionExpression": "attribute_not_exists(#token)",
            "ExpressionAttributeNames": {"#token": "token"},
            "ExpressionAttributeValues": {":token": {"S": TOKEN}},
        },
        "End": True,
    }
    first = toys.start({"Store": update})
    item = eventually(lambda: dynamodb.get_item(TableName=table, Key={"id": {"S": "one"}}).get("Item"))
    assert toys.ended(toys.start({"Store": update}))["error"] == "DynamoDb.ConditionalCheckFailedException"
    toys.states.send_task_success(taskToken=item["token"]["S"], output="1")
    assert toys.ended(first)["status"] == "SUCCEEDED"


def test_put_events_serialises_the_detail_and_fails_when_an_entry_does(cloud: LocalCloud, toys: Toys) -> None:
    queue, queue_arn = toys.queue()
    events, rule = cloud.client("events"), toys.name("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps({"source": [rule]}))
    events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": queue_arn}])

    def put(source: str) -> dict[str, Any]:
        entry = {"Source": source, "DetailType": "Said", "Detail": {"word": "{% 'hello' %}"}}
        say = {"Type": "Task", "Resource": "arn:aws:states:::events:putEvents", "Arguments": {"Entries": [entry]}}
        return {"Say": say | {"End": True}}

    toys.run(put(rule))
    [event] = eventually(lambda: toys.messages(queue))
    assert event["detail"] == {"word": "hello"}
    assert timedelta() <= cloud.now() - datetime.fromisoformat(event["time"]) < timedelta(minutes=10)
    assert toys.ended(toys.start(put("aws.ec2")))["error"] == "EventBridge.FailedEntry"


def child_task(machine: str, name: str | None = None) -> dict[str, Any]:
    arguments = {"StateMachineArn": machine, "Input": "{% $states.input %}"} | ({"Name": name} if name else {})
    resource = "arn:aws:states:::states:startExecution.sync:2"
    return {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True}


def test_the_result_of_a_child_execution_is_its_description(toys: Toys) -> None:
    child = toys.machine({"Answer": {"Type": "Pass", "Output": {"lives": 9}, "End": True}})
    result = toys.run({"Run": child_task(child)}, {"cat": 1})
    assert (result["Status"], result["Output"], result["Input"]) == ("SUCCEEDED", {"lives": 9}, {"cat": 1})


def test_a_child_execution_that_fails_fails_its_task_with_its_description(toys: Toys) -> None:
    child = toys.machine({"Fail": {"Type": "Fail", "Error": "NoCats", "Cause": "{% 'none ' & 'left' %}"}})
    ended = toys.ended(toys.start({"Run": child_task(child, "only-one")}, {"cat": 1}))
    cause = json.loads(ended["cause"])
    assert ended["error"] == "States.TaskFailed"
    assert (cause["Status"], cause["Error"], cause["Cause"]) == ("FAILED", "NoCats", "none left")
    assert (cause["Name"], json.loads(cause["Input"])) == ("only-one", {"cat": 1})
    again = toys.ended(toys.start({"Run": child_task(child, "only-one")}, {"cat": 1}))
    assert again["error"] == "StepFunctions.ExecutionAlreadyExistsException"


def test_starting_a_running_execution_again_returns_it_only_for_the_same_input(cloud: LocalCloud, toys: Toys) -> None:
    machine = toys.machine({"Wait": {"Type": "Wait", "Seconds": 60, "End": True}})
    start = {"stateMachineArn": machine, "name": "one"}
    first = toys.states.start_execution(**start, input="{}")["executionArn"]
    assert toys.states.start_execution(**start, input="{}")["executionArn"] == first
    assert refusal(toys.states.start_execution, **start, input='{"other": 1}') == "ExecutionAlreadyExists"
    eventually(lambda: toys.history(first)[-1]["type"] == "WaitStateEntered")
    cloud.advance(60)
    toys.ended(first)
    assert refusal(toys.states.start_execution, **start, input="{}") == "ExecutionAlreadyExists"


def test_a_stopped_execution_stays_aborted_and_its_token_dies(toys: Toys) -> None:
    queue, _ = toys.queue()
    execution = toys.start({"Ask": send_token(queue)})
    token = next_token(toys, queue)
    toys.states.stop_execution(executionArn=execution, error="Killed")
    assert refusal(toys.states.send_task_success, taskToken=token, output="1") == "TaskTimedOut"
    assert toys.history(execution)[-1]["type"] == "ExecutionAborted"
    assert toys.ended(execution)["status"] == "ABORTED"


def test_many_executions_wait_at_once_and_share_a_few_workers(cloud: LocalCloud, toys: Toys) -> None:
    queue, _ = toys.queue()
    function = toys.function("time.sleep(0.05)\nreturn {'environment': event['id'], 'pid': os.getpid()}")
    machine = toys.machine({"Work": task(function) | {"End": False, "Next": "Ask"}, "Ask": send_token(queue)}, "Work")
    for number in range(24):
        toys.states.start_execution(stateMachineArn=machine, input=json.dumps({"id": f"shop-{number}"}))
    tokens: list[str] = []

    def all_wait() -> bool:
        tokens.extend(message["token"] for message in toys.messages(queue))
        return len(tokens) == 24

    eventually(all_wait)
    for token in tokens:
        toys.states.send_task_success(taskToken=token, output="{}")
    done = {"stateMachineArn": machine, "statusFilter": "SUCCEEDED"}
    eventually(lambda: len(toys.states.list_executions(**done)["executions"]) == 24)
    invocations = toys.invocations(function)
    assert {one["environment"] for one in invocations} == {f"shop-{number}" for number in range(24)}
    assert sum(one["cold"] for one in invocations) <= 3


def test_the_controller_account_is_killed_and_goes_on_with_what_it_knew(tmp_path: Path) -> None:
    with LocalCloud(tmp_path) as cloud:
        toys = Toys(cloud)
        queue, _ = toys.queue()
        later = {"Type": "Wait", "Seconds": 7200, "Next": "Say"}
        say = {"Type": "Pass", "Output": "{% $states.context.Execution.Name & ' ' & $asked %}", "End": True}
        asks = send_token(queue) | {"Assign": {"asked": "{% $states.result %}"}, "Next": "Later"}
        del asks["End"]
        execution = toys.start({"Ask": asks, "Later": later, "Say": say})
        each = {
            "Type": "Map",
            "Items": ["one", "two"],
            "ItemProcessor": {"StartAt": "AskOne", "States": {"AskOne": send_token(queue)}},
            "End": True,
        }
        both = toys.start({"Each": each})
        tokens = list[str]()
        eventually(lambda: tokens.extend(one["token"] for one in toys.messages(queue)) or len(tokens) == 3)
        cloud.advance(3600)
        before = cloud.now()

        cloud.kill_controller()
        cloud.start_controller()
        assert cloud.now() >= before
        for token in tokens:
            toys.states.send_task_success(taskToken=token, output='"told"')
        assert json.loads(toys.ended(both)["output"]) == ["told", "told"]
        eventually(lambda: toys.history(execution)[-1]["type"] == "WaitStateEntered")
        cloud.advance(3600)

        cloud.kill_controller()
        cloud.start_controller()
        assert toys.states.describe_execution(executionArn=execution)["status"] == "RUNNING"
        cloud.advance(3600)
        assert json.loads(toys.ended(execution)["output"]).endswith(" told")
        kinds = [event["type"] for event in toys.history(execution)]
        assert kinds.count("TaskScheduled") == kinds.count("TaskStateEntered") == kinds.count("WaitStateEntered") == 1
        with pytest.raises(ClientError, match="TaskTimedOut"):
            toys.states.send_task_success(taskToken=tokens[0], output='"again"')
