"""The services of the controller account, as far as Mayfly uses them."""

import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from tests.contract import checked
from tests.model.clients import refusal
from tests.model.interpreter import Failure, Machines

type Json = dict[str, Any]

_SQS_LIMIT = 1_048_576
"""Bytes that a message may have."""
_SQS_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_SSM_LIMIT = 4096
"""Bytes that a parameter's value may have."""


class SQS:
    """The dead-letter queue."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def send_message(self, _session: str, QueueUrl: str, MessageBody: str) -> Json:  # noqa: N803
        if len(MessageBody.encode(errors="surrogatepass")) > _SQS_LIMIT or _SQS_FORBIDDEN.search(MessageBody):
            raise refusal("InvalidMessageContents", "One or more parameters are invalid")
        self.messages.append(MessageBody)
        return {"MessageId": str(len(self.messages))}


class SNS:
    """What was published."""

    def __init__(self) -> None:
        self.published: list[Json] = []

    def publish(self, _session: str, **message: Any) -> Json:
        self.published.append(message)
        return {"MessageId": str(len(self.published))}


class SSM:
    """Parameter Store: configuration, and the kill switch."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}

    def get_parameter(self, _session: str, Name: str) -> Json:  # noqa: N803
        if Name not in self.parameters:
            raise refusal("ParameterNotFound", Name)
        return {"Parameter": {"Value": self.parameters[Name]}}

    def get_parameters_by_path(self, _session: str, Path: str, **_: Any) -> Json:  # noqa: N803
        below = {name: value for name, value in self.parameters.items() if name.startswith(Path)}
        return {"Parameters": [{"Name": name, "Value": value} for name, value in below.items()]}

    def put_parameter(self, _session: str, Name: str, Value: str, **_: Any) -> Json:  # noqa: N803
        if len(Value.encode()) > _SSM_LIMIT or "{{" in Value:
            raise refusal("ValidationException", "Parameter value cannot be longer or name another parameter")
        self.parameters[Name] = Value
        return {}


class S3:
    """Buckets with objects; the reports and the blueprints."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, _session: str, Key: str, Body: bytes, **_: Any) -> Json:  # noqa: N803
        self.objects[Key] = Body
        return {}

    def head_object(self, _session: str, Key: str, **_: Any) -> Json:  # noqa: N803
        if Key not in self.objects:
            raise refusal("404", "Not Found")
        return {"ContentLength": len(self.objects[Key])}

    def get_object(self, _session: str, Key: str, **_: Any) -> Json:  # noqa: N803
        if Key not in self.objects:
            raise refusal("NoSuchKey", Key)
        return {"Body": io.BytesIO(self.objects[Key])}


class Events:
    """The bus: what Mayfly says on it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Json]] = []
        self.of_this_version = True
        """Whether no machine of another version may have said something."""
        self.of: defaultdict[tuple[str, str], list[Json]] = defaultdict(list)
        """The same by what it is and the environment, release or rollout that it is about."""
        self.heard: Callable[[str, Json], None] = lambda *_: None

    def put_events(self, _session: str, Entries: list[Json]) -> Json:  # noqa: N803
        for entry in Entries:
            assert entry["EventBusName"] == "mayfly-facts"
            what, detail = str(entry["DetailType"]), json.loads(entry["Detail"])
            if self.of_this_version:
                checked(what, detail)
            self.said.append((what, detail))
            about = (detail.get(name) for name in ("environment", "release", "rollout"))
            self.of[what, next(filter(None, about), "")].append(detail)
            self.heard(what, detail)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": str(len(self.said))} for _ in Entries]}

    def token(self, environment: str) -> str | None:
        """The report token of an environment that was said to be ready, as its tests heard it last."""
        ready = self.of["Environment Ready", environment]
        return ready[-1].get("token") if ready else None

    def about(self, what: str, environment: str) -> bool:
        """Whether such an event was said of an environment."""
        return bool(self.of[what, environment])


class STS:
    """Lets everybody in; the session's token is its account and its environment."""

    def assume_role(self, _session: str, RoleArn: str, Tags: Sequence[Json] = (), **_: Any) -> Json:  # noqa: N803
        token = f"{RoleArn.split(':')[4]}/{Tags[0]['Value'] if Tags else 'sweep'}"
        return {"Credentials": {"AccessKeyId": "-", "SecretAccessKey": "-", "SessionToken": token}}


class StepFunctions:
    """The API of Step Functions over the machines. What it lists is `lag` seconds behind."""

    def __init__(self, machines: Callable[[], Machines]) -> None:
        self._machines, self.lag = machines, 0.0

    def start_execution(self, _session: str, stateMachineArn: str, name: str, input: str) -> Json:  # noqa: A002, N803
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
            raise refusal("InvalidName", name)
        execution = self._machines().start(stateMachineArn, name, json.loads(input))
        if execution is None:
            raise refusal("ExecutionAlreadyExists", name)
        return {"executionArn": f"{stateMachineArn}:{name}"}

    def describe_execution(self, _session: str, executionArn: str) -> Json:  # noqa: N803
        machine, _, name = executionArn.replace(":execution:", ":stateMachine:").rpartition(":")
        if (found := self._machines().executions.get((machine, name))) is None:
            raise refusal("ExecutionDoesNotExist", executionArn)
        return {"name": name, "status": found.status, "input": json.dumps(found.input)}

    def stop_execution(self, _session: str, executionArn: str, **_: Any) -> Json:  # noqa: N803
        machine, _, name = executionArn.replace(":execution:", ":stateMachine:").rpartition(":")
        if (found := self._machines().executions.get((machine, name))) is None:
            raise refusal("ExecutionDoesNotExist", executionArn)
        self._machines().stop(found)
        return {}

    def list_executions(self, _session: str, stateMachineArn: str, **_: Any) -> Json:  # noqa: N803
        return {"executions": [{"name": one.name} for one in self._machines().listed(stateMachineArn, self.lag)]}

    def send_task_success(self, _session: str, taskToken: str, output: str) -> Json:  # noqa: N803
        return self._answer(taskToken, json.loads(output))

    def send_task_failure(self, _session: str, taskToken: str, error: str, cause: str) -> Json:  # noqa: N803
        return self._answer(taskToken, Failure(error, cause))

    def _answer(self, token: str, answer: Any) -> Json:
        if wrong := self._machines().answer(token, answer):
            raise refusal(wrong, token)
        return {}
