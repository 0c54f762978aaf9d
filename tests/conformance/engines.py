"""The two interpreters of state machines, run in the same way: the local cloud's, which is MiniStack's as `local/`
adapts it, and the model's. Both call the same function; time passes as soon as nothing else happens."""

from __future__ import annotations

import importlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Protocol

from local.clock import VirtualClock
from local.controller import stepfunctions
from tests.model.interpreter import Failure, Machines
from tests.model.timeline import Timeline

type Json = dict[str, Any]
type Tell = Callable[[str, Json], None]
"""Answers a task token: with `{"output": ...}` or `{"error": ..., "cause": ...}`."""

INVOKE = "arn:aws:states:::lambda:invoke"
ACCOUNT, REGION = "111111111111", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/machines"
DAYS = 40
PATIENCE_SECONDS = 600


@dataclass(frozen=True)
class Outcome:
    """What came of an execution, as DescribeExecution tells it."""

    status: str
    output: Any = None
    error: str = ""
    cause: str = ""
    entered: list[str] = field(default_factory=list)
    """The names of the states that were entered, in order."""


class Engine(Protocol):
    """An interpreter of state machines."""

    def run(self, definition: Json, given: Any, answers: list[Json] | None = None) -> Outcome:
        """Runs an execution to its end. Its tasks get these answers, one after the other; without them, the
        function's."""


class FunctionError(Exception):
    """The function raised an exception of this name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name)
        self.name, self.cause = name, json.dumps({"errorMessage": message, "errorType": name})


def function(payload: Any, tell: Tell) -> Any:
    """Answers the n-th attempt with the n-th of its payload's `answers`, by the token if there is one; else echoes."""
    if not isinstance(payload, dict) or "answers" not in payload:
        return payload
    answer = payload["answers"][payload.get("attempt", 0)]
    if "token" in payload:
        if answer:
            tell(payload["token"], answer)
    elif "error" in answer:
        raise FunctionError(answer["error"], answer.get("cause", ""))
    return answer.get("output")


def _next(answers: list[Json], arguments: Any, tell: Tell) -> Any:
    """Takes the next answer of a service; raises its error. Whoever got the task's token answers by `told`."""
    if not answers:
        raise FunctionError("NoAnswerLeft", "more calls than were recorded")
    answer = answers.pop(0)
    if "told" in answer:
        for token in texts(arguments):
            tell(token, answer["told"])
    if "error" in answer:
        failure = FunctionError(answer["error"], "")
        failure.cause = answer.get("cause", "")
        raise failure
    return answer["output"]


def texts(node: Any) -> Iterator[str]:
    """Finds all texts, also those in JSON that is itself a text: one of them is the task's token."""
    if isinstance(node, (dict, list)):
        for part in node.values() if isinstance(node, dict) else node:
            yield from texts(part)
    elif isinstance(node, str):
        yield node


class _EagerClock(VirtualClock):
    """A clock on which no one waits for long: where nothing happens in a moment, the time that is waited for comes."""

    def wait(self, until: float, finished: Callable[[], bool] = lambda: False) -> bool:
        happened = super().wait(min(until, self.time() + 0.2), finished)
        if not happened and until > self.time():
            self.advance(until - self.time())
        return finished()


class _Awake:
    """The `time` module without sleep."""

    time, monotonic = staticmethod(time.time), staticmethod(time.monotonic)

    @staticmethod
    def sleep(_seconds: float) -> None:
        """Goes on at once."""


class Local:
    """MiniStack's interpreter as the local cloud has it, in this process: without IAM and without a server."""

    def __init__(self) -> None:
        stepfunctions.install(_EagerClock(), retry_scale=0)
        self._sfn, self._numbers = stepfunctions.sfn, count(1)
        self._answers: list[Json] | None = None
        self._invoke = self._sfn._invoke_resource
        self._sfn._invoke_resource = self._invoke_resource
        self._sfn._call_lambda = self._call_function
        self._sfn._resolve_lambda_function_ref = lambda name, **_: name
        self._sfn.time = _Awake()  # MiniStack sleeps before each execution

    def run(self, definition: Json, given: Any, answers: list[Json] | None = None) -> Outcome:
        self._answers = None if answers is None else list(answers)
        responses = importlib.import_module("ministack.core.responses")
        with responses.request_scope(ACCOUNT, REGION):
            made = self._ask(
                "_create_state_machine",
                name=f"machine-{next(self._numbers)}",
                definition=json.dumps(definition),
                roleArn=ROLE,
            )
            started = self._ask("_start_execution", stateMachineArn=made["stateMachineArn"], input=json.dumps(given))
            execution = self._sfn._executions[started["executionArn"]]
            until = time.monotonic() + PATIENCE_SECONDS
            while execution["status"] == "RUNNING" and time.monotonic() < until:
                time.sleep(0.002)
            ended = self._ask("_describe_execution", executionArn=started["executionArn"])
        entered = [
            event["stateEnteredEventDetails"]["name"]
            for event in execution["events"]
            if "stateEnteredEventDetails" in event
        ]
        output = json.loads(ended["output"]) if ended.get("output") is not None else None
        return Outcome(ended["status"], output, ended.get("error", ""), ended.get("cause", ""), entered)

    def _ask(self, operation: str, **request: Any) -> Json:
        status, _, body = getattr(self._sfn, operation)(request)
        answer: Json = json.loads(body)
        if status >= 400:
            raise ValueError(f"{answer.get('__type')}: {answer.get('message')}")
        return answer

    def _invoke_resource(self, resource: str, arguments: Any) -> Any:
        if self._answers is None:
            return self._invoke(resource, arguments)
        try:
            return _next(self._answers, arguments, self._tell)
        except FunctionError as error:
            raise self._sfn._ExecutionError(error.name, error.cause) from None

    def _tell(self, token: str, answer: Json) -> None:
        """Answers the token; a text that is none is refused, and that is all."""
        if "error" in answer:
            said = {key: value for key, value in answer.items() if value is not None}
            self._sfn._send_task_failure({"taskToken": token, **said})
        else:
            self._sfn._send_task_success({"taskToken": token, "output": json.dumps(answer["output"])})

    def _call_function(self, _name: str, payload: Any) -> Any:
        try:
            return function(payload, self._tell)
        except FunctionError as error:
            raise self._sfn._ExecutionError(error.name, error.cause) from None


class Model:
    """The model's interpreter."""

    def run(self, definition: Json, given: Any, answers: list[Json] | None = None) -> Outcome:
        left = list(answers or ())
        timeline = Timeline(datetime(2026, 11, 24, tzinfo=UTC))

        def tell(token: str, answer: Json) -> None:
            failed = "error" in answer
            machines.answer(token, Failure(answer["error"], answer.get("cause", "")) if failed else answer["output"])

        def invoke(arguments: Json) -> Any:
            try:
                if answers is not None:
                    return _next(left, arguments, tell)
                return {"StatusCode": 200, "Payload": function(arguments.get("Payload"), tell)}
            except FunctionError as error:
                raise Failure(error.name, error.cause) from None

        machines = Machines(timeline, {"m": definition}, defaultdict(lambda: invoke))
        execution = machines.start("m", "one", given)
        assert execution
        timeline.advance(DAYS * 86_400)
        return Outcome(execution.status, execution.output, execution.error, execution.cause, execution.entered)
