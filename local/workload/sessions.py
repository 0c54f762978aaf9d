"""Sessions of Systems Manager, which moto does not know: who opens one, has it open until somebody ends it, or its
instance is gone. Nothing is connected: an instance is no machine here."""

from __future__ import annotations

from itertools import count
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ssm.exceptions import SSMException
from moto.ssm.responses import SimpleSystemManagerResponse

from local.clock import VirtualClock
from local.workload.stacks import replace

type Session = dict[str, Any]


def install(clock: VirtualClock) -> None:
    """Adds StartSession, TerminateSession and DescribeSessions."""
    numbers, kept = count(1), dict[tuple[str, str], list[Session]]()

    def here(response: Any) -> list[Session]:
        return kept.setdefault((response.current_account, response.region), [])

    def start_session(response: Any) -> ActionResult:
        target = response._get_param("Target")
        instance = ec2_backends[response.current_account][response.region].get_instance_by_id(target)
        if instance is None or instance.state != "running":
            raise SSMException("TargetNotConnected", f"{target} is not connected.")
        name = f"local-{next(numbers):017x}"
        here(response).append({"SessionId": name, "Target": target, "Status": "Connected", "StartDate": clock.time()})
        return ActionResult({"SessionId": name, "TokenValue": "", "StreamUrl": ""})

    def terminate_session(response: Any) -> ActionResult:
        name = response._get_param("SessionId")
        for session in (one for one in here(response) if one["SessionId"] == name):
            session |= {"Status": "Terminated", "EndDate": clock.time()}
        return ActionResult({"SessionId": name})

    def describe_sessions(response: Any) -> ActionResult:
        open_ones = response._get_param("State") == "Active"
        return ActionResult({"Sessions": [one for one in here(response) if ("EndDate" not in one) == open_ones]})

    replace(
        SimpleSystemManagerResponse,
        start_session=start_session,
        terminate_session=terminate_session,
        describe_sessions=describe_sessions,
    )
