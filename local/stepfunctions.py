"""MiniStack's Step Functions, brought closer to AWS where Mayfly's state machines would notice.

`install` replaces functions of `ministack.services.stepfunctions`. Each replacement says what MiniStack does
and what AWS does. Time is the virtual clock's throughout.
"""

from __future__ import annotations

import contextvars
import importlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from local.clock import VirtualClock

Json = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

# The package has no type information: as a value of type Any it needs no further apology.
sfn: Any = importlib.import_module("ministack.services.stepfunctions")

FOREVER = 99_999_999  # seconds; AWS's default TimeoutSeconds
_UNCATCHABLE = "States.Runtime"  # AWS: not even States.ALL retries or catches it


def install(clock: VirtualClock, retry_scale: float) -> None:
    """Adapt MiniStack's interpreter; `retry_scale` is real seconds slept per second of a retry interval."""
    engine = _Engine(clock, retry_scale)
    _install_time(clock)
    sfn._execute_task = engine.execute_task
    sfn._with_retry_and_catch = engine.with_retry_and_catch
    sfn._run_sub_machine = engine.run_branch
    sfn._apply_output_path = _with_output_of_succeed(sfn._apply_output_path)
    sfn._run_parallel_branches = _with_jsonata_output(sfn._run_parallel_branches)
    sfn._invoke_nested_start_execution = engine.start_child
    sfn._invoke_nested_start_execution_sync = engine.run_child
    sfn._start_execution = _idempotent_start(sfn._start_execution)
    sfn._SERVICE_DISPATCH["arn:aws:states:::events:putEvents"] = _put_events
    _install_permissions(engine.tokens)
    sfn._send_task_success = engine.tokens.succeed
    sfn._send_task_failure = engine.tokens.fail
    sfn._send_task_heartbeat = engine.tokens.heartbeat
    sfn._fail_execution = _unless_ended(sfn._fail_execution)
    sfn._emit_execution_status_event = _then_notify(sfn._emit_execution_status_event, clock)
    sfn._add_event = _in_order(sfn._add_event)


# ---- time ----------------------------------------------------------------------------------------------


def _install_time(clock: VirtualClock) -> None:
    """MiniStack uses real time; here history, context object, Wait, $now() and $millis() follow the clock."""
    sfn.now_iso = clock.iso
    sfn._scaled_sleep = lambda seconds: clock.wait(clock.time() + seconds)

    def sleep_until(timestamp: str) -> None:
        moment = sfn._parse_ts(timestamp)
        if moment is not None:
            clock.wait(moment.timestamp())

    sfn._sleep_until = sleep_until
    register = sfn._register_sfn_jsonata_functions
    functions: Any = importlib.import_module("jsonata.functions").Functions

    def register_with_time(expression: Any) -> None:
        register(expression)

        def now(picture: str | None = None, timezone: str | None = None) -> str:
            return str(functions.datetime_from_millis(millis(), picture, timezone))

        def millis() -> int:
            return int(clock.time() * 1000)

        expression.register_lambda("now", now)
        expression.register_lambda("millis", millis)

    sfn._register_sfn_jsonata_functions = register_with_time


# ---- task tokens ---------------------------------------------------------------------------------------


class _Tokens:
    """MiniStack forgets a token once its task has ended and then says TaskDoesNotExist, and takes several
    answers to one token. AWS: the first answer counts, a token that was valid once is TaskTimedOut
    afterwards, and any other string is InvalidToken."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, Future[Any]] = {}
        self._dead: set[str] = set()
        self._machines: dict[str, str] = {}

    @contextmanager
    def issue(self, machine: str) -> Iterator[tuple[str, Future[Any]]]:
        """A fresh token and its answer to come; the token is dead when the block is left."""
        token, answer = str(uuid.uuid4()), Future[Any]()
        with self._lock:
            self._open[token] = answer
            self._machines[token] = machine
        try:
            yield token, answer
        finally:
            self._close(token)

    def succeed(self, data: Json) -> Response:
        """SendTaskSuccess."""
        try:
            output = json.loads(data.get("output", ""))
        except ValueError:
            return _error("InvalidOutput", "Invalid Output: 'The output must be valid JSON'")
        return self._answer(data, lambda answer: answer.set_result(output))

    def fail(self, data: Json) -> Response:
        """SendTaskFailure."""
        failure = sfn._ExecutionError(data.get("error", "States.TaskFailed"), data.get("cause", ""))
        return self._answer(data, lambda answer: answer.set_exception(failure))

    def machine(self, token: str) -> str | None:
        """The state machine that a token belongs to: the resource of a SendTask* call."""
        return self._machines.get(token)

    def heartbeat(self, data: Json) -> Response:
        """SendTaskHeartbeat: says whether the task still waits; heartbeats themselves are not counted."""
        with self._lock:
            return self._refusal(data.get("taskToken", "")) or sfn.json_response({})

    def _answer(self, data: Json, settle: Callable[[Future[Any]], None]) -> Response:
        token = data.get("taskToken", "")
        with self._lock:
            refusal = self._refusal(token)
            if refusal is not None:
                return refusal
            answer = self._open.pop(token)
            self._dead.add(token)
        settle(answer)
        self._clock.notify()
        return sfn.json_response({})  # type: ignore[no-any-return]

    def _refusal(self, token: str) -> Response | None:
        if token in self._open:
            return None
        if token in self._dead:
            return _error("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'")
        return _error("InvalidToken", "Invalid Token: 'Invalid token'")

    def _close(self, token: str) -> None:
        with self._lock:
            self._open.pop(token, None)
            self._dead.add(token)


def _install_permissions(tokens: _Tokens) -> None:
    """MiniStack knows no resource of SendTaskSuccess and SendTaskFailure; on AWS it is the token's state machine."""
    actions: Any = importlib.import_module("ministack.core.iam_actions")
    extract = actions.extract_resource_arn

    def extract_resource_arn(service: str, *request: Any) -> str:
        token = actions._safe_json_field(request[3], "taskToken") if service == "states" else None
        return tokens.machine(token) or extract(service, *request) if token else extract(service, *request)

    actions.extract_resource_arn = extract_resource_arn


def _error(code: str, message: str) -> Response:
    return sfn.error_response_json(code, message, 400)  # type: ignore[no-any-return]


# ---- states --------------------------------------------------------------------------------------------


class _Engine:
    """The parts of the interpreter that need the clock or the tokens."""

    def __init__(self, clock: VirtualClock, retry_scale: float) -> None:
        self._clock = clock
        self._retry_scale = retry_scale
        self.tokens = _Tokens(clock)

    def execute_task(self, state: Json, raw_input: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
        """MiniStack makes one token for all attempts of a task; on AWS every attempt has its own."""
        return self.with_retry_and_catch(
            state, raw_input, ctx, lambda: self._attempt(state, raw_input, execution, ctx), execution
        )

    def with_retry_and_catch(
        self,
        state: Json,
        raw_input: Any,
        ctx: Json,
        attempt: Callable[[], tuple[Any, str | None]],
        execution: Json | None = None,
    ) -> tuple[Any, str | None]:
        """MiniStack caps a retry's delay at 60 s and knows no MaxDelaySeconds; AWS does it the other way."""
        entered, counts = ctx["State"], dict[int, int]()
        while True:
            ctx["State"] = {**entered, "RetryCount": sum(counts.values())}
            try:
                return attempt()
            except sfn._ExecutionError as error:
                if error.error == _UNCATCHABLE or (execution and execution["status"] != "RUNNING"):
                    raise
                retrier, index = sfn._find_matching_retrier(state.get("Retry", []), error.error, counts)
                if retrier is None:
                    return self._catch(state, raw_input, ctx, error)
                time.sleep(_retry_delay(retrier, counts.get(index, 0)) * self._retry_scale)
                counts[index] = counts.get(index, 0) + 1

    def _catch(self, state: Json, raw_input: Any, ctx: Json, error: Any) -> tuple[Any, str]:
        catcher = sfn._find_matching_catcher(state.get("Catch", []), error.error)
        if catcher is None:
            raise error
        output = {"Error": error.error, "Cause": error.cause}
        language = sfn._state_query_language(state, ctx)
        return sfn._apply_catcher(catcher, raw_input, ctx, language, output), catcher["Next"]

    def _attempt(self, state: Json, raw_input: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
        resource = state["Resource"]
        details = {"resource": resource, "resourceType": resource.split(":")[5]}
        try:
            with self.tokens.issue(ctx["StateMachine"]["Id"]) as (token, answer):
                ctx["Task"] = {"Token": token}
                arguments = _arguments(state, raw_input, ctx)
                timeout = _timeout_seconds(state, raw_input, ctx)
                _event(execution, "TaskScheduled", parameters=json.dumps(arguments), **details)
                call = self._call_and_await if resource.endswith(".waitForTaskToken") else self._call
                result = call(resource, arguments, answer, timeout, execution)
            _event(execution, "TaskSucceeded", output=json.dumps(result), **details)
            return _result(state, raw_input, ctx, result), sfn._next_or_end(state)
        except sfn._ExecutionError as error:
            kind = "TaskTimedOut" if error.error == "States.Timeout" else "TaskFailed"
            _event(execution, kind, error=error.error, cause=error.cause, **details)
            raise

    def _call(self, resource: str, arguments: Any, _answer: Future[Any], timeout: float, execution: Json) -> Any:
        """Call in a thread of its own, which goes on unheard when the task times out, as on AWS."""
        if timeout >= FOREVER:
            return sfn._invoke_resource(resource, arguments)
        until, done = self._clock.time() + timeout, Future[Any]()
        done.add_done_callback(lambda _: self._clock.notify())
        context = contextvars.copy_context()  # it holds the account and Region
        threading.Thread(
            target=context.run, args=(_into, done, sfn._invoke_resource, resource, arguments), daemon=True
        ).start()
        return self._await(done, until, execution)

    def _call_and_await(
        self, resource: str, arguments: Any, answer: Future[Any], timeout: float, execution: Json
    ) -> Any:
        """MiniStack drops the error of a Lambda function that is called with a token; on AWS the task fails
        with it at once, so that Retry and Catch apply. An answer that came first counts all the same. The
        timeout counts from here, so that a clock that moves during the call is not missed."""
        until = self._clock.time() + timeout
        try:
            sfn._invoke_resource(resource.removesuffix(".waitForTaskToken"), arguments)
        except sfn._ExecutionError:
            if not answer.done():
                raise
        return self._await(answer, until, execution)

    def _await(self, answer: Future[Any], until: float, execution: Json) -> Any:
        """MiniStack counts real seconds. It also leaves the task of a stopped execution waiting."""
        self._clock.wait(until, lambda: answer.done() or execution["status"] != "RUNNING")
        if answer.done():
            return answer.result()
        if execution["status"] != "RUNNING":
            raise sfn._ExecutionError("States.Timeout", "the execution has ended")
        raise sfn._ExecutionError("States.Timeout", "")

    def run_branch(self, states: Json, start: str, state_input: Any, execution: Json, ctx: Json) -> Any:
        """One branch of a Parallel state or one iteration of a Map state.

        MiniStack keeps its states out of the history, and lets parallel branches share one context object
        (they see each other's state name and task token). On AWS both are the branch's own.
        """
        ctx = {**ctx, "variables": dict(ctx.get("variables", {}))}
        name: str | None = start
        while name is not None and execution["status"] == "RUNNING":
            state = states[name]
            kind = state["Type"]
            ctx["State"] = {"Name": name, "EnteredTime": self._clock.iso(), "RetryCount": 0}
            entered = {"name": name, "input": json.dumps(state_input)}
            sfn._add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": entered})
            state_input, following = _run_state(kind, state, state_input, execution, ctx)
            exited = {"name": name, "output": json.dumps(state_input)}
            sfn._add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": exited})
            name = following
        return state_input

    # ---- executions that start executions ---------------------------------------------------------------

    def start_child(self, _resource: str, arguments: Json) -> Json:
        """MiniStack names errors like the API does; a state machine on AWS sees `StepFunctions.…Exception`."""
        status, _, body = sfn._start_execution(sfn._nested_start_execution_request(arguments))
        answer = json.loads(body)
        if status >= 400:
            code = answer.get("__type", "AWSStepFunctionsException").removesuffix("Exception")
            raise sfn._ExecutionError(f"StepFunctions.{code}Exception", answer.get("message", ""))
        return {"ExecutionArn": answer["executionArn"], "StartDate": answer["startDate"]}

    def run_child(self, resource: str, arguments: Json) -> Json:
        """MiniStack runs a `.sync` child in the parent's thread and lets its error through.

        On AWS it is an execution like any other (visible, stoppable, idempotent by name), the task fails
        with States.TaskFailed, and the cause is the child's description.
        """
        child = sfn._executions[self.start_child(resource, arguments)["ExecutionArn"]]
        self._clock.wait(self._clock.time() + FOREVER, lambda: child["status"] != "RUNNING")
        description = _describe_child(child)
        if child["status"] != "SUCCEEDED":
            raise sfn._ExecutionError("States.TaskFailed", json.dumps(description))
        if resource.endswith(".sync:2"):
            description.update({key: json.loads(description[key]) for key in ("Input", "Output")})
        return description


def _retry_delay(retrier: Json, count: int) -> float:
    delay = float(retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** count)
    return min(delay, float(retrier.get("MaxDelaySeconds", delay)))


def _arguments(state: Json, raw_input: Any, ctx: Json) -> Any:
    if sfn._state_query_language(state, ctx) == "JSONata":
        return sfn._apply_jsonata_arguments(state, raw_input, ctx)
    return sfn._apply_parameters(state, sfn._apply_input_path(state, raw_input, ctx), ctx)


def _result(state: Json, raw_input: Any, ctx: Json, result: Any) -> Any:
    if sfn._state_query_language(state, ctx) == "JSONata":
        output = sfn._apply_jsonata_output(state, raw_input, ctx, result=result, default=result)
        sfn._apply_state_assign(state, raw_input, ctx, result=result)
        return output
    output = sfn._apply_result_path(state, raw_input, sfn._apply_result_selector(state, result))
    return sfn._apply_output_path(state, output, ctx)


def _timeout_seconds(state: Json, raw_input: Any, ctx: Json) -> float:
    """MiniStack takes TimeoutSeconds as it stands; AWS evaluates it and wants a positive integer."""
    if "TimeoutSeconds" not in state:
        return FOREVER
    seconds = sfn._jsonata_state_field(state, "TimeoutSeconds", "number", raw_input, ctx)
    if seconds <= 0 or not float(seconds).is_integer():
        message = f"The TimeoutSeconds field must be a positive integer but was: {json.dumps(seconds)}"
        raise sfn._ExecutionError("States.QueryEvaluationError", message)
    return float(seconds)


def _into(done: Future[Any], function: Callable[..., Any], *arguments: Any) -> None:
    try:
        done.set_result(function(*arguments))
    except Exception as error:
        done.set_exception(error)


def _run_state(kind: str, state: Json, state_input: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
    if kind == "Succeed":
        return sfn._apply_output_path(state, state_input, ctx), None
    if kind == "Fail":
        raise sfn._ExecutionError(*sfn._fail_state_error(state, state_input, ctx))
    run = getattr(sfn, f"_execute_{kind.lower()}")
    if kind in ("Task", "Parallel", "Map"):
        return run(state, state_input, execution, ctx)  # type: ignore[no-any-return]
    return run(state, state_input, ctx)  # type: ignore[no-any-return]


def _with_jsonata_output(run: Callable[..., tuple[Any, str | None]]) -> Callable[..., tuple[Any, str | None]]:
    """MiniStack ignores Output and Assign of a Parallel state in JSONata; AWS applies them."""

    def run_parallel(state: Json, raw_input: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
        results, following = run(state, raw_input, execution, ctx)
        if sfn._state_query_language(state, ctx) == "JSONata":
            return _result(state, raw_input, ctx, results), following
        return results, following

    return run_parallel


def _with_output_of_succeed(apply: Callable[..., Any]) -> Callable[..., Any]:
    """MiniStack ignores Output of a Succeed state in JSONata; on AWS it is the execution's output."""

    def apply_output(state: Json, data: Any, ctx: Json | None = None) -> Any:
        if state.get("Type") == "Succeed" and sfn._state_query_language(state, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state, data, ctx, default=data)
        return apply(state, data, ctx)

    return apply_output


# ---- executions ----------------------------------------------------------------------------------------


def _describe_child(child: Json) -> Json:
    fields = {
        "ExecutionArn": "executionArn",
        "Input": "input",
        "Name": "name",
        "Output": "output",
        "StartDate": "startDate",
        "StateMachineArn": "stateMachineArn",
        "Status": "status",
        "StopDate": "stopDate",
        "Error": "error",
        "Cause": "cause",
    }
    described: Json = {name: child[key] for name, key in fields.items() if child.get(key) is not None}
    if child["status"] != "SUCCEEDED":
        described.pop("Output", None)  # MiniStack stores error and cause as the output of a failed execution
    for name in ("StartDate", "StopDate"):
        if name in described:
            described[name] = sfn._iso_to_epoch_ms(described[name])
    return described | {"InputDetails": {"Included": True}, "OutputDetails": {"Included": True}}


def _idempotent_start(start: Callable[[Json], Response]) -> Callable[[Json], Response]:
    """MiniStack refuses any name that was used. AWS answers a repeated StartExecution of a running Standard
    execution, same name and same input, with the execution that is running."""
    lock = threading.Lock()

    def start_execution(data: Json) -> Response:
        with lock:
            machine = sfn._resolve_state_machine_arn(data.get("stateMachineArn", ""))
            if machine and data.get("name"):
                arn = machine.replace(":stateMachine:", ":execution:") + ":" + data["name"]
                running = sfn._executions.get(arn)
                if running and running["status"] == "RUNNING" and running["input"] == data.get("input", "{}"):
                    answer = {"executionArn": arn, "startDate": running["startDate"]}
                    return sfn.json_response(answer)  # type: ignore[no-any-return]
            return start(data)

    return start_execution


def _put_events(_resource: str, arguments: Json) -> Json:
    """MiniStack passes an object as Detail on unchanged and succeeds when entries fail. AWS serialises the
    object, and an entry that failed fails the task with EventBridge.FailedEntry."""
    eventbridge: Any = importlib.import_module("ministack.services.eventbridge")
    entries = [
        {**entry, "Detail": json.dumps(entry["Detail"])} if isinstance(entry.get("Detail"), dict) else entry
        for entry in arguments.get("Entries", [])
    ]
    status, _, body = eventbridge._put_events({"Entries": entries})
    answer: Json = json.loads(body)
    if status >= 400:
        raise sfn._ExecutionError(f"EventBridge.{answer.get('__type')}", answer.get("message", ""))
    if answer["FailedEntryCount"]:
        raise sfn._ExecutionError("EventBridge.FailedEntry", json.dumps(answer))
    return answer


def _unless_ended(fail: Callable[..., None]) -> Callable[..., None]:
    """MiniStack turns an execution that was stopped into a failed one when its task ends; AWS does not."""

    def fail_execution(execution: Json, error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            fail(execution, error, cause)

    return fail_execution


def _then_notify(emit: Callable[[Json], None], clock: VirtualClock) -> Callable[[Json], None]:
    """Parents and tasks that wait for the end of this execution look again."""

    def emit_status(execution: Json) -> None:
        clock.notify()
        emit(execution)

    return emit_status


def _in_order(add: Callable[..., Json]) -> Callable[..., Json]:
    """MiniStack numbers events by counting them, which repeats numbers when iterations run in parallel, and
    goes on with the history of an execution that was stopped."""
    lock = threading.Lock()

    def add_event(execution: Json, kind: str, details: Json | None = None) -> Json:
        with lock:
            if execution["status"] == "RUNNING" or kind.startswith("Execution"):
                return add(execution, kind, details)
            return {}

    return add_event


def _event(execution: Json, kind: str, **details: Any) -> None:
    key = kind[0].lower() + kind[1:] + "EventDetails"
    sfn._add_event(execution, kind, {key: details})
