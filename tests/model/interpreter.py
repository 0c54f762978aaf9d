"""Runs the real definitions of the state machines, on virtual time.

It knows the part of the Amazon States Language that they use, in JSONata only, and stops with an error at anything
else. An execution is a generator that yields what it waits for; nothing runs beside anything else, so that every run
of the same events is the same run.
"""

import json
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import count
from typing import Any

import jsonata  # type: ignore[import-untyped]  # it has none
from jsonata.utils import Utils  # type: ignore[import-untyped]

from tests.model.timeline import Timeline

type Json = dict[str, Any]
type Steps[T] = Generator["Wait", bool, T]
type Integration = Callable[[Json], Any]
type Attempt = Callable[[Json, Any, "Scope", "Execution"], Steps[Any]]

_TRANSITION = 0.5
"""Seconds between entering a task and its call, where nothing else is said (`latency`), and between the call's end and
what follows: room for races."""


class Failure(Exception):
    """An error as Retry and Catch see it."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


class Signal:
    """Something that happens once, with a value: a task token is answered, an execution ends."""

    def __init__(self) -> None:
        self.given, self.value = False, None
        self._waiting: list[Callable[[], object]] = []

    def give(self, value: Any) -> None:
        self.given, self.value = True, value
        waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()

    def give_once(self, value: Any) -> None:
        """Gives a value that says something, once."""
        if value and not self.given:
            self.give(value)

    def then(self, wake: Callable[[], object]) -> None:
        self._waiting.append(wake)


@dataclass(frozen=True)
class Wait:
    """What an execution waits for: a signal, so many seconds, or whichever comes first."""

    seconds: float | None = None
    signal: Signal | None = None


@dataclass
class Execution:
    """One execution, as DescribeExecution tells of it."""

    machine: str
    name: str
    input: Any
    started: float
    status: str = "RUNNING"
    output: Any = None
    error: str = ""
    cause: str = ""
    state: str = ""
    entered: list[str] = field(default_factory=list)
    ended: Signal = field(default_factory=Signal)
    ended_at: float = 0
    children: list["Execution"] = field(default_factory=list)
    steps: Steps[Any] | None = None

    @property
    def running(self) -> bool:
        return self.status == "RUNNING"


@dataclass
class Token:
    """A task token: who waits with it, and the answer."""

    execution: Execution
    answer: Signal = field(default_factory=Signal)
    dead: bool = False


@dataclass
class Scope:
    """What an expression can see besides the state's input."""

    context: Json
    variables: Json

    def inner(self) -> "Scope":
        """The scope of a Map's iteration, which keeps its variables to itself."""
        return Scope(dict(self.context), dict(self.variables))


class Machines:
    """All state machines of an installation, their executions and their task tokens."""

    def __init__(self, timeline: Timeline, definitions: Mapping[str, Json], integrations: Mapping[str, Integration]):
        """`definitions` by the machine's ARN; `integrations` by resource, without the suffix that says how to wait."""
        self._timeline, self.definitions, self.integrations = timeline, definitions, integrations
        self.executions: dict[tuple[str, str], Execution] = {}
        self._tokens: dict[str, Token] = {}
        self._number = count(1)
        self.jitter: Callable[[], float] = lambda: 1.0
        """The part of a delay with full jitter that is waited."""
        self.latency: Callable[[Json], float] = lambda _: _TRANSITION
        """Seconds from entering a task until its call is done, by the call's arguments."""
        self.token_length = 0
        """Of a task token, at least. On AWS it has some 650 characters, and records are paid by the kilobyte."""
        self.entering: Callable[[Execution, str], object] = lambda *_: None
        """Is told of each state that an execution, or a branch of one, enters."""
        self.broken: list[str] = []
        """Expressions that failed: on AWS an execution would have failed with them."""

    # ---- what Step Functions' API offers

    def start(self, machine: str, name: str, given: Any) -> Execution | None:
        """Starts an execution. The same name and input again is the running one; None where the name is used up."""
        known = self.executions.get((machine, name))
        if known:
            return known if known.running and known.input == given else None
        execution = self.executions[machine, name] = Execution(machine, name, given, self._timeline.now)
        execution.steps = self._life(execution)
        self._timeline.after(0, lambda: self._resume(execution, False))
        return execution

    def stop(self, execution: Execution) -> None:
        """Stops an execution, and with it those that it started and waits for."""
        if not execution.running:
            return
        if execution.steps:
            execution.steps.close()
        self._end(execution, "ABORTED", error="Aborted", cause="by an operator")
        for child in execution.children:
            self.stop(child)

    def answer(self, token: str, answer: Any) -> str | None:
        """Answers a task, with an output or a Failure. Returns the name of the error where nobody waits for it."""
        if token not in self._tokens:
            return "InvalidToken"
        known = self._tokens[token]
        if known.dead or not known.execution.running:
            return "TaskTimedOut"
        known.dead = True
        known.answer.give(answer)
        return None

    def holder(self, token: str) -> str:
        """The environment whose execution has this token, "" where there is none."""
        return self._tokens[token].execution.name.partition("__")[0] if token in self._tokens else ""

    def listed(self, machine: str, lag: float) -> list[Execution]:
        """The executions that were running so many seconds ago, as far as Step Functions knows."""
        then = self._timeline.now - lag
        mine = (one for one in self.executions.values() if one.machine == machine and one.started <= then)
        return [one for one in mine if one.running or one.ended_at > then]

    def running(self, machine: str) -> list[Execution]:
        return [one for one in self.executions.values() if one.machine == machine and one.running]

    # ---- executions

    def _life(self, execution: Execution) -> Steps[Any]:
        machine = {"Id": execution.machine, "Name": execution.machine.rpartition(":")[2]}
        begun = {"Input": execution.input, "Name": execution.name, "StartTime": self._timeline.text}
        scope = Scope({"Execution": begun, "StateMachine": machine}, {})
        return (yield from self._run(self.definitions[execution.machine], execution.input, scope, execution))

    def _resume(self, execution: Execution, heard: bool) -> None:
        """Goes on until the execution waits again or ends."""
        if not execution.running or not execution.steps:
            return
        try:
            wait = execution.steps.send(heard if execution.state else None)  # type: ignore[arg-type]  # its beginning
        except StopIteration as end:
            self._end(execution, "SUCCEEDED", output=end.value)
        except Failure as failure:
            self._end(execution, "FAILED", error=failure.error, cause=failure.cause)
        else:
            self._arrange(execution, wait)

    def _arrange(self, execution: Execution, wait: Wait) -> None:
        woken = False

        def wake(heard: bool) -> None:
            nonlocal woken
            if not woken:
                woken = True
                self._resume(execution, heard)

        if wait.signal and wait.signal.given:
            self._timeline.after(0, lambda: wake(True))
            return
        if wait.signal:
            # Not in the midst of whoever gave the signal, but right after.
            wait.signal.then(lambda: self._timeline.after(0, lambda: wake(True)))
        if wait.seconds is not None:
            self._timeline.after(wait.seconds, lambda: wake(False))

    def _end(self, execution: Execution, status: str, output: Any = None, error: str = "", cause: str = "") -> None:
        execution.status, execution.output, execution.error, execution.cause = status, output, error, cause
        execution.steps, execution.ended_at = None, self._timeline.now
        execution.ended.give(status)

    # ---- states

    def _run(self, machine: Json, given: Any, scope: Scope, execution: Execution) -> Steps[Any]:
        name: str | None = machine["StartAt"]
        while name:
            state = machine["States"][name]
            execution.state = name
            execution.entered.append(name)
            self.entering(execution, name)
            scope.context["State"] = {"Name": name, "EnteredTime": self._timeline.text, "RetryCount": 0}
            given, name = yield from self._enter(state, given, scope, execution)
        return given

    def _enter(self, state: Json, given: Any, scope: Scope, execution: Execution) -> Steps[tuple[Any, str | None]]:
        match state["Type"]:
            case "Task":
                return (yield from self._retried(self._attempt, state, given, scope, execution))
            case "Map":
                return (yield from self._retried(self._map, state, given, scope, execution))
            case "Choice":
                return self._choose(state, given, scope)
            case "Wait":
                yield Wait(self._seconds(state, given, scope))
                return self._leave(state, given, scope, default=given), state.get("Next")
            case "Pass":
                return self._leave(state, given, scope, default=given), state.get("Next")
            case "Succeed":
                return self._leave(state, given, scope, default=given), None
            case "Fail":
                said = {key: self._evaluate(state.get(key, ""), given, scope) for key in ("Error", "Cause")}
                raise Failure(said["Error"], said["Cause"])
        raise NotImplementedError(state["Type"])

    def _choose(self, state: Json, given: Any, scope: Scope) -> tuple[Any, str]:
        for choice in state["Choices"]:
            met = self._evaluate(choice["Condition"], given, scope)
            if not isinstance(met, bool):
                raise Failure("States.QueryEvaluationError", f"expected a boolean, not {met!r}")
            if met:
                return self._leave(choice, given, scope, default=given), choice["Next"]
        if "Default" not in state:
            raise Failure("States.NoChoiceMatched")
        return self._leave(state, given, scope, default=given), state["Default"]

    def _seconds(self, state: Json, given: Any, scope: Scope) -> float:
        if "Timestamp" in state:
            text = self._evaluate(state["Timestamp"], given, scope)
            try:
                until = datetime.fromisoformat(text)
            except ValueError as error:
                raise Failure("States.QueryEvaluationError", str(error)) from None
            return max(0.0, until.timestamp() - self._timeline.now)
        return float(self._evaluate(state["Seconds"], given, scope))

    def _retried(
        self, attempt: Attempt, state: Json, given: Any, scope: Scope, execution: Execution
    ) -> Steps[tuple[Any, str | None]]:
        """Runs a Task or a Map under the state's Retry and Catch."""
        attempts = [0] * len(state.get("Retry", ()))
        while True:
            try:
                result = yield from attempt(state, given, scope, execution)
                return self._leave(state, given, scope, default=result, result=result), state.get("Next")
            except Failure as failure:
                delay = _delay(state.get("Retry", ()), attempts, failure, self.jitter)
                if delay is None:
                    return self._catch(state, given, scope, failure)
                scope.context["State"] |= {"RetryCount": sum(attempts)}
                yield Wait(delay)

    def _catch(self, state: Json, given: Any, scope: Scope, failure: Failure) -> tuple[Any, str]:
        for catch in state.get("Catch", ()):
            if _matches(catch, failure):
                caught = {"Error": failure.error, "Cause": failure.cause}
                return self._leave(catch, given, scope, default=caught, errorOutput=caught), catch["Next"]
        raise failure

    def _attempt(self, state: Json, given: Any, scope: Scope, execution: Execution) -> Steps[Any]:
        resource, _, waits = state["Resource"].partition(".")
        name = f"{execution.name}-{next(self._number)}".ljust(self.token_length, "-")
        token = self._tokens[name] = Token(execution)
        scope.context["Task"] = {"Token": name}
        try:
            arguments = self._evaluate(state.get("Arguments", given), given, scope)
            seconds = self._evaluate(state.get("TimeoutSeconds", 99_999_999), given, scope)
            if seconds <= 0 or int(seconds) != seconds:
                raise Failure("States.QueryEvaluationError", f"TimeoutSeconds is no positive integer: {seconds}")
            yield Wait(self.latency(arguments))
            if waits == "sync:2":
                return (yield from self._child(arguments, seconds, execution))
            result = self._call(resource, arguments, token)
            if waits == "waitForTaskToken":
                yield Wait(seconds, token.answer)
                if not token.answer.given:
                    raise Failure("States.Timeout")
                result = token.answer.value
            if isinstance(result, Failure):
                raise result
            yield Wait(_TRANSITION)
            return result
        finally:
            token.dead = True

    def _call(self, resource: str, arguments: Json, token: Token) -> Any:
        """Calls. An answer to the token that came meanwhile counts, even where the call itself fails after it."""
        try:
            return self.integrations[resource](arguments)
        except Failure:
            if token.answer.given:
                return token.answer.value
            raise

    def _child(self, arguments: Json, seconds: float, execution: Execution) -> Steps[Any]:
        child = self.start(arguments["StateMachineArn"], arguments["Name"], arguments["Input"])
        if child is None:
            raise Failure("StepFunctions.ExecutionAlreadyExistsException", arguments["Name"])
        execution.children.append(child)
        yield Wait(seconds, child.ended)
        if child.running:
            self.stop(child)
            raise Failure("States.Timeout")
        if child.status != "SUCCEEDED":
            raise Failure("States.TaskFailed", json.dumps({"Status": child.status, "Error": child.error}))
        return {"Output": child.output, "Status": child.status}

    def _map(self, state: Json, given: Any, scope: Scope, execution: Execution) -> Steps[Any]:
        """Every item in a branch of its own; the branches are resumed beside each other."""
        items = self._evaluate(state["Items"], given, scope) if "Items" in state else given
        if not isinstance(items, list):
            raise Failure("States.QueryEvaluationError", f"expected an array of items, not {items!r}")
        branches = []
        for number, item in enumerate(items):
            inner = scope.inner()
            inner.context["Map"] = {"Item": {"Index": number, "Value": item}}
            selected = self._evaluate(state["ItemSelector"], given, inner) if "ItemSelector" in state else item
            branch = Execution(execution.machine, f"{execution.name}[{number}]", selected, self._timeline.now)
            branch.steps = self._run(state["ItemProcessor"], selected, inner, branch)
            branches.append(branch)
        for branch in branches:
            branch.children, branch.entered = execution.children, execution.entered
            self._resume(branch, False)
        over = Signal()
        for branch in branches:
            branch.ended.then(lambda: over.give_once(not any(b.running for b in branches) or _failed(branches)))
        failed = _failed(branches)
        try:
            if not failed and any(branch.running for branch in branches):
                yield Wait(signal=over)
            failed = _failed(branches)
        finally:
            for branch in branches:
                self.stop(branch)
        if failed:
            raise Failure(failed[0].error, failed[0].cause)
        return [branch.output for branch in branches]

    # ---- expressions

    def _leave(self, part: Json, given: Any, scope: Scope, default: Any, **seen: Any) -> Any:
        """Evaluates Output and Assign: both see the variables as they were before."""
        output = self._evaluate(part["Output"], given, scope, **seen) if "Output" in part else default
        assigned = self._evaluate(part.get("Assign", {}), given, scope, **seen)
        scope.variables |= assigned
        return output

    def _evaluate(self, value: Any, given: Any, scope: Scope, **seen: Any) -> Any:
        if isinstance(value, str) and value.startswith("{%"):
            states = {"input": given, "context": scope.context, **seen}
            try:
                return expression(value[2:-2].strip(), {**scope.variables, "states": states})
            except Failure as failure:
                self.broken.append(failure.cause)
                raise
        if isinstance(value, dict):
            return {key: self._evaluate(part, given, scope, **seen) for key, part in value.items()}
        if isinstance(value, list):
            return [self._evaluate(part, given, scope, **seen) for part in value]
        return value


def _failed(branches: list[Execution]) -> list[Execution]:
    """The branches that have failed: the first ends the others."""
    return [branch for branch in branches if branch.status == "FAILED"]


def expression(text: str, variables: Json) -> Any:
    """What a JSONata expression gives. One that gives nothing is an error, as on AWS."""
    bound = {name: Utils.NULL_VALUE if value is None else value for name, value in variables.items()}
    try:
        value = _compiled(text).evaluate(None, bound)
        defined = value is not None or _compiled(f"$exists(({text}))").evaluate(None, bound)
    except Exception as error:
        raise Failure("States.QueryEvaluationError", f"{text}: {error}") from None
    if not defined:
        raise Failure("States.QueryEvaluationError", f"{text}: no result")
    return value


@cache
def _compiled(text: str) -> Any:
    compiled = jsonata.Jsonata.jsonata(text)
    compiled.register_lambda("parse", json.loads)  # Step Functions' own, as the next one
    compiled.register_lambda("uuid", lambda: str(uuid.uuid4()))
    return compiled


def _matches(part: Json, failure: Failure) -> bool:
    """Whether a Retry or Catch is about this error. States.TaskFailed is any but a timeout."""
    named = set(part["ErrorEquals"])
    general = {"States.ALL"} if failure.error == "States.Timeout" else {"States.ALL", "States.TaskFailed"}
    return bool(named & (general | {failure.error}))


def _delay(retries: list[Json], attempts: list[int], failure: Failure, jitter: Callable[[], float]) -> float | None:
    """Seconds until the next attempt, None where there is none."""
    for number, retry in enumerate(retries):
        if _matches(retry, failure):
            if attempts[number] >= retry.get("MaxAttempts", 3):
                return None
            delay = retry.get("IntervalSeconds", 1) * retry.get("BackoffRate", 2) ** attempts[number]
            attempts[number] += 1
            part = jitter() if retry.get("JitterStrategy") == "FULL" else 1.0
            return float(min(delay, retry.get("MaxDelaySeconds", delay))) * part
    return None
