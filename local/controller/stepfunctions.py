"""MiniStack's Step Functions, brought closer to AWS where Mayfly's state machines would notice.

`install` replaces functions of `ministack.services.stepfunctions`. Each replacement says what MiniStack does
and what AWS does. Time is the virtual clock's throughout.
"""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from typing import Any

from local.clock import VirtualClock

Json = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

# The package has no type information: as a value of type Any it needs no further apology.
sfn: Any = importlib.import_module("ministack.services.stepfunctions")

_restore = sfn.load_persisted_state
FOREVER = 99_999_999  # seconds; AWS's default TimeoutSeconds
_UNCATCHABLE = "States.Runtime"  # AWS: not even States.ALL retries or catches it


_path = contextvars.ContextVar("_path", default="")  # the branch of an execution that a thread walks
_position: contextvars.ContextVar[Json] = contextvars.ContextVar("_position")  # where it is there
_entered: contextvars.ContextVar[float] = contextvars.ContextVar("_entered")  # and since when


def install(clock: VirtualClock, retry_scale: float) -> Callable[[], None]:
    """Adapt MiniStack's interpreter; `retry_scale` is real seconds slept per second of a retry interval.

    Returns what lets the executions go on that ran when an earlier server was ended.
    """
    engine = _Engine(clock, retry_scale)
    _install_time(clock)
    sfn._run_execution = engine.run
    sfn.get_state, sfn.load_persisted_state = engine.with_tokens(sfn.get_state), engine.restore
    sfn._execute_task = engine.execute_task
    sfn._with_retry_and_catch = engine.with_retry_and_catch
    sfn._run_sub_machine = engine.run_branch
    sfn._apply_output_path = _with_output_of_succeed(sfn._apply_output_path)
    sfn._run_parallel_branches = _with_jsonata_output(sfn._run_parallel_branches)
    sfn._run_parallel_branches = _until_one_fails(sfn._run_parallel_branches)
    sfn._run_map_items = _until_one_fails(_of_an_array(sfn._run_map_items))
    sfn._apply_state_assign = _assign
    sfn._evaluate_jsonata_choice_rule = _condition
    sfn._fail_state_field = _without_default(sfn._fail_state_field)
    sfn._describe_execution = _without_empty_fields(sfn._describe_execution)
    sfn._invoke_nested_start_execution = engine.start_child
    sfn._invoke_nested_start_execution_sync = engine.run_child
    sfn._start_execution = _idempotent_start(sfn._start_execution)
    sfn._SERVICE_DISPATCH["arn:aws:states:::events:putEvents"] = _put_events
    sfn._sfn_jsonata_range = _one_is_no_list(sfn._sfn_jsonata_range)
    _install_permissions(engine.tokens)
    sfn._send_task_success = engine.tokens.succeed
    sfn._send_task_failure = engine.tokens.fail
    sfn._send_task_heartbeat = engine.tokens.heartbeat
    sfn._fail_execution = _unless_ended(sfn._fail_execution)
    sfn._emit_execution_status_event = _then_notify(sfn._emit_execution_status_event, clock)
    sfn._add_event = _in_order(sfn._add_event)
    return engine.resume


# ---- time ----------------------------------------------------------------------------------------------


def _install_time(clock: VirtualClock) -> None:
    """MiniStack uses real time; here history, context object, Wait, $now() and $millis() follow the clock."""
    sfn.now_iso = clock.iso
    sfn._scaled_sleep = lambda seconds: clock.wait(_entered.get(clock.time()) + seconds)

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
        self._outcomes: dict[str, Json] = {}  # of tokens whose tasks have not heard of them yet

    def kept(self) -> Json:
        """All that is known of tokens, as JSON."""
        with self._lock:
            return {"dead": sorted(self._dead), "machines": dict(self._machines), "outcomes": dict(self._outcomes)}

    def restore(self, kept: Json) -> None:
        """Know what was kept."""
        self._dead, self._machines, self._outcomes = set(kept["dead"]), kept["machines"], kept["outcomes"]

    @contextmanager
    def issue(self, machine: str, token: str) -> Iterator[Future[Any]]:
        """A token's answer to come, or that has come already; the token is dead when the block is left."""
        answer = Future[Any]()
        with self._lock:
            self._machines[token] = machine
            if token in self._outcomes:
                _settle(answer, self._outcomes[token])
            else:
                self._open[token] = answer
        try:
            yield answer
        finally:
            self._close(token)

    def succeed(self, data: Json) -> Response:
        """SendTaskSuccess."""
        try:
            output = json.loads(data.get("output", ""))
        except ValueError:
            return _error("InvalidOutput", "Invalid Output: 'The output must be valid JSON'")
        return self._answer(data, {"output": output})

    def fail(self, data: Json) -> Response:
        """SendTaskFailure. MiniStack calls an error that is not named States.TaskFailed; AWS gives null."""
        return self._answer(data, {"error": data.get("error"), "cause": data.get("cause")})

    def machine(self, token: str) -> str | None:
        """The state machine that a token belongs to: the resource of a SendTask* call."""
        return self._machines.get(token)

    def heartbeat(self, data: Json) -> Response:
        """SendTaskHeartbeat: says whether the task still waits; heartbeats themselves are not counted."""
        with self._lock:
            return self._refusal(data.get("taskToken", "")) or sfn.json_response({})

    def _answer(self, data: Json, outcome: Json) -> Response:
        token = data.get("taskToken", "")
        with self._lock:
            refusal = self._refusal(token)
            if refusal is not None:
                return refusal
            answer = self._open.pop(token)
            self._dead.add(token)
            self._outcomes[token] = outcome
        _settle(answer, outcome)
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
            self._outcomes.pop(token, None)
            self._dead.add(token)


def _settle(answer: Future[Any], outcome: Json) -> None:
    if "error" in outcome:
        answer.set_exception(sfn._ExecutionError(outcome["error"], outcome["cause"]))
    else:
        answer.set_result(outcome["output"])


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
        position = _position.get()
        waits_until = position.pop("waits_until", None)  # an earlier server made the call
        token = position["token"] = position["token"] if waits_until else str(uuid.uuid4())
        try:
            with self.tokens.issue(ctx["StateMachine"]["Id"], token) as answer:
                ctx["Task"] = {"Token": token}
                arguments = _arguments(state, raw_input, ctx)
                timeout = _timeout_seconds(state, raw_input, ctx)
                if waits_until:
                    result = self._await_token(answer, waits_until, execution)
                else:
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
        """Call, and go on unheard when the task times out, as on AWS."""
        if timeout >= FOREVER:
            return sfn._invoke_resource(resource, arguments)
        done = self._begin(resource, arguments)
        try:
            return self._await(done, self._clock.time() + timeout, execution)
        finally:
            if not done.done() and (child := _position.get().get("child")) and not _halted():
                # On AWS, a task that waits for an execution stops it where it is aborted or times out.
                sfn._stop_execution({"executionArn": child, "cause": "who waited for it has ended"})

    def _call_and_await(
        self, resource: str, arguments: Any, answer: Future[Any], timeout: float, execution: Json
    ) -> Any:
        """MiniStack drops the error of a Lambda function that is called with a token; on AWS the task fails
        with it at once, so that Retry and Catch apply. An answer that came first counts all the same. The
        timeout counts from here, so that a clock that moves during the call is not missed, nor a call that never
        comes back."""
        until = self._clock.time() + timeout
        call = self._begin(resource.removesuffix(".waitForTaskToken"), arguments)
        over = (call.done, answer.done, lambda: execution["status"] != "RUNNING", _halted)
        self._clock.wait(until, lambda: any(each() for each in over))
        if call.done() and not answer.done():
            call.result()
        return self._await_token(answer, until, execution)

    def _begin(self, resource: str, arguments: Any) -> Future[Any]:
        """Call in a thread of its own."""
        begun, done = threading.Event(), Future[Any]()
        done.add_done_callback(lambda _: self._clock.notify())

        def invoke() -> None:
            with self._clock.hold() if ":lambda:" in resource else nullcontext():
                begun.set()
                _into(done, sfn._invoke_resource, resource, arguments)

        context = contextvars.copy_context()  # it holds the account and Region
        threading.Thread(target=context.run, args=(invoke,), daemon=True).start()
        begun.wait()  # so that no jump of the clock comes between the timeout's beginning and the function's
        return done

    def _await_token(self, answer: Future[Any], until: float, execution: Json) -> Any:
        position = _position.get()
        position["waits_until"] = until
        try:
            return self._await(answer, until, execution)
        finally:
            position.pop("waits_until", None)

    def _await(self, answer: Future[Any], until: float, execution: Json) -> Any:
        """MiniStack counts real seconds. It also leaves the task of a stopped execution waiting."""
        self._clock.wait(until, lambda: answer.done() or execution["status"] != "RUNNING" or _halted())
        if answer.done():
            return answer.result()
        if _halted():
            raise _Halted
        if execution["status"] != "RUNNING":
            raise sfn._ExecutionError("States.Timeout", "the execution has ended")
        raise sfn._ExecutionError("States.Timeout", "")

    def run(self, arn: str) -> None:
        """Walk an execution to its end, from where it is.

        MiniStack knows the way from the beginning only, and gives up what ran when it was ended itself.
        """
        _path.set("")  # who started it may be on a branch of its own
        _failed.set(None)
        execution = sfn._executions[arn]
        machine = sfn._state_machines[execution["stateMachineArn"]]
        definition = json.loads(execution.setdefault("definition", machine["definition"]))
        begun = {"Id": arn, "Name": execution["name"], "StartTime": execution["startDate"]}
        begun |= {"RoleArn": machine["roleArn"], "RedriveCount": 0}
        ctx = {
            "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
            "Execution": begun | {"Input": json.loads(execution["input"])},
            "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
            "variables": {},
        }
        try:
            output = self._walk(definition["States"], definition["StartAt"], ctx["Execution"]["Input"], execution, ctx)
        except sfn._ExecutionError as error:
            sfn._fail_execution(execution, error.error, error.cause)
        except Exception as error:
            sfn._fail_execution(execution, "States.Runtime", str(error))
            raise
        else:
            self._succeed(execution, json.dumps(output))

    def _succeed(self, execution: Json, output: str) -> None:
        if execution["status"] == "RUNNING":
            _event(execution, "ExecutionSucceeded", output=output)
            execution.update(status="SUCCEEDED", output=output, stopDate=self._clock.iso())
            sfn._emit_execution_status_event(execution)

    def run_branch(self, states: Json, start: str, state_input: Any, execution: Json, ctx: Json) -> Any:
        """One branch of a Parallel state or one iteration of a Map state.

        MiniStack keeps its states out of the history, and lets parallel branches share one context object
        (they see each other's state name and task token). On AWS both are the branch's own.
        """
        item = ctx.get("Map", {}).get("Item", {}).get("Index", "")
        path = _path.set(f"{_path.get()}/{ctx['State']['Name']}/{start}{item}")
        try:
            with contextlib.suppress(_Halted):
                return self._walk(states, start, state_input, execution, {**ctx})
        except Exception:
            if failed := _failed.get():
                failed.set()
            self._clock.notify()
            raise
        finally:
            _path.reset(path)

    def _walk(self, states: Json, start: str, state_input: Any, execution: Json, ctx: Json) -> Any:
        """Runs an execution's states one after the other, and remembers the state at which `resume` goes on."""
        path, positions = _path.get(), execution.setdefault("positions", {})
        if "output" in (kept := positions.get(path, {})):  # a branch that was at its end
            return kept["output"]
        name: str | None = kept.get("state", start)
        state_input = kept.get("input", state_input)
        ctx["variables"] = kept.get("variables", dict(ctx["variables"]))
        while name is not None and execution["status"] == "RUNNING" and not _halted():
            state = states[name]
            kind = state["Type"]
            if not kept:
                kept = {"state": name, "input": state_input, "variables": dict(ctx["variables"])}
                positions[path] = kept = kept | {"entered": self._clock.time(), "time": self._clock.iso()}
                entered = {"name": name, "input": json.dumps(state_input)}
                sfn._add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": entered})
            ctx["State"] = {"Name": name, "EnteredTime": kept["time"], "RetryCount": 0}
            _position.set(kept)
            _entered.set(kept["entered"])
            state_input, following = _run_state(kind, state, state_input, execution, ctx)
            exited = {"name": name, "output": json.dumps(state_input)}
            sfn._add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": exited})
            _forget_branches(execution, f"{path}/{name}/")
            name, kept = following, {}
        positions[path] = {"output": state_input}
        return state_input

    # ---- what outlives the server -----------------------------------------------------------------------

    def with_tokens(self, get_state: Callable[[], Json]) -> Callable[[], Json]:
        """MiniStack's state of Step Functions with what this interpreter knows."""
        return lambda: {**get_state(), "tokens": self.tokens.kept()}

    def restore(self, state: Json) -> None:
        """Take back what was kept. MiniStack's own way fails what was running."""
        running = [(execution, dict(execution)) for execution in state["executions"].all_values() if _runs(execution)]
        self.tokens.restore(state["tokens"])
        _restore(state)
        for execution, as_it_was in running:
            execution.clear()
            execution.update(as_it_was)

    def resume(self) -> None:
        """Let go on what was running."""
        responses: Any = importlib.import_module("ministack.core.responses")
        for (account, region, arn), execution in list(sfn._executions._data.items()):
            if _runs(execution):
                with responses.request_scope(account, region):
                    context = contextvars.copy_context()
                threading.Thread(target=context.run, args=(self.run, arn), daemon=True).start()

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
        position = _position.get()
        if "child" not in position:
            position["child"] = self.start_child(resource, arguments)["ExecutionArn"]
        child = sfn._executions[position["child"]]
        self._clock.wait(self._clock.time() + FOREVER, lambda: child["status"] != "RUNNING")
        description = _describe_child(child)
        if child["status"] != "SUCCEEDED":
            raise sfn._ExecutionError("States.TaskFailed", json.dumps(description))
        if resource.endswith(".sync:2"):
            description.update({key: json.loads(description[key]) for key in ("Input", "Output")})
        return description


def _runs(execution: Json) -> bool:
    return bool(execution["status"] == "RUNNING")


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


_failed: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("failed", default=None)
"""Whether a branch of the Map or Parallel state that runs here has failed; None outside of such a state."""


def _halted() -> bool:
    failed = _failed.get()
    return failed is not None and failed.is_set()


class _Halted(Exception):
    """Another branch has failed, and this one is given up."""


def _forget_branches(execution: Json, prefix: str) -> None:
    positions = execution["positions"]
    for branch in [branch for branch in positions if branch.startswith(prefix)]:
        del positions[branch]


def _until_one_fails(run: Callable[..., tuple[Any, str | None]]) -> Callable[..., tuple[Any, str | None]]:
    """MiniStack lets all branches come to their ends; on AWS the first that fails ends the others with the state."""

    def run_branches(state: Json, raw_input: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
        token = _failed.set(threading.Event())
        try:
            return run(state, raw_input, execution, ctx)
        except Exception:
            _forget_branches(execution, f"{_path.get()}/{ctx['State']['Name']}/")  # a retry begins them anew
            raise
        finally:
            _failed.reset(token)

    return run_branches


def _of_an_array(run: Callable[..., tuple[Any, str | None]]) -> Callable[..., tuple[Any, str | None]]:
    """MiniStack makes an array of one item of a Map's input that is none; on AWS the Map fails."""

    def run_map(state: Json, raw_input: Any, execution: Json, ctx: Json) -> tuple[Any, str | None]:
        jsonata = sfn._state_query_language(state, ctx) == "JSONata"
        if jsonata and "Items" not in state and not isinstance(raw_input, list):
            message = f"Map state input must be an array but was: {json.dumps(raw_input)}"
            raise sfn._ExecutionError("States.QueryEvaluationError", message)
        return run(state, raw_input, execution, ctx)

    return run_map


def _assign(state: Json, raw_input: Any, ctx: Json, result: Any = None, error_output: Any = None) -> None:
    """MiniStack shows each expression of Assign what the ones before it assigned; on AWS all see the variables as they
    were when the state was entered."""
    if sfn._state_query_language(state, ctx) == "JSONata" and "Assign" in state:
        template, seen = state["Assign"], {"result": result, "error_output": error_output}
        ctx.setdefault("variables", {}).update(sfn._apply_jsonata_template(template, raw_input, ctx, **seen))


def _one_is_no_list(make_range: Callable[..., list[int]]) -> Callable[..., Any]:
    """MiniStack's $range gives a list always; AWS's gives the number itself where there is one."""

    def range_of(*bounds: float) -> Any:
        numbers = make_range(*bounds)
        return numbers[0] if len(numbers) == 1 else numbers

    return range_of


def _condition(choice: Json, raw_input: Any, ctx: Json) -> bool:
    """MiniStack takes whatever a Condition gives as true or false; AWS wants a boolean."""
    return bool(sfn._jsonata_state_field(choice, "Condition", "boolean", raw_input, ctx))


def _without_default(read: Callable[..., str]) -> Callable[..., str]:
    """MiniStack calls the error of a Fail state without one States.Fail; AWS leaves it out."""

    def read_field(state: Json, field: str, _default: str, raw_input: Any, ctx: Json) -> str:
        return read(state, field, "", raw_input, ctx)

    return read_field


def _with_output_of_succeed(apply: Callable[..., Any]) -> Callable[..., Any]:
    """MiniStack ignores Output of a Succeed state in JSONata; on AWS it is the execution's output."""

    def apply_output(state: Json, data: Any, ctx: Json | None = None) -> Any:
        if state.get("Type") == "Succeed" and sfn._state_query_language(state, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state, data, ctx, default=data)
        return apply(state, data, ctx)

    return apply_output


# ---- executions ----------------------------------------------------------------------------------------


def _without_empty_fields(describe: Callable[[Json], Response]) -> Callable[[Json], Response]:
    """MiniStack describes a failed execution with an output, and says null of what there is not; AWS leaves it out."""

    def describe_execution(data: Json) -> Response:
        status, headers, body = describe(data)
        described = json.loads(body)
        if described.get("status") != "SUCCEEDED":
            described.pop("output", None)
            described.pop("outputDetails", None)
        return (
            status,
            headers,
            json.dumps({key: value for key, value in described.items() if value is not None}).encode(),
        )

    return describe_execution


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
