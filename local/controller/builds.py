"""CodeBuild as state machines wait for it (`codebuild:startBuild.sync`), which MiniStack has not.

A build has no container here: the commands of the project's own buildspec run one after the other in a shell of this
machine, in an empty folder. Only a buildspec that stands in the project can be run.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import tempfile
import time
import uuid
from typing import Any

import yaml

Json = dict[str, Any]

PHASES = ("install", "pre_build", "build", "post_build")


def install() -> None:
    """State machines can wait for builds."""
    sfn: Any = importlib.import_module("ministack.services.stepfunctions")
    codebuild: Any = importlib.import_module("ministack.services.codebuild")

    def start_build(_: str, arguments: Json) -> Json:
        project = codebuild._projects.get(arguments["ProjectName"])
        if project is None:
            why = f"Project cannot be found: {arguments['ProjectName']}"
            raise sfn._ExecutionError("CodeBuild.ResourceNotFoundException", why)
        build = _run(project, arguments.get("EnvironmentVariablesOverride", []))
        if build["BuildStatus"] != "SUCCEEDED":
            raise sfn._ExecutionError("States.TaskFailed", json.dumps(build))
        return {"Build": build}

    sfn._SERVICE_DISPATCH["arn:aws:states:::codebuild:startBuild"] = start_build


def _run(project: Json, variables: list[Json]) -> Json:
    begun = int(time.time() * 1000)
    spec = yaml.safe_load(project["source"].get("buildspec") or "{}")
    own = {each["name"]: each["value"] for each in project["environment"].get("environmentVariables", [])}
    known = own | {each["Name"]: each["Value"] for each in variables}
    build = f"{project['name']}:{uuid.uuid4()}"
    with tempfile.TemporaryDirectory(prefix="build-") as place:
        environ = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": place} | known
        commands = [line for phase in PHASES for line in spec.get("phases", {}).get(phase, {}).get("commands", [])]
        code = subprocess.run(
            ["/bin/sh", "-e", "-c", "\n".join(commands)], cwd=place, env=environ, check=False, stdin=subprocess.DEVNULL
        ).returncode
    region = os.environ["MINISTACK_REGION"]
    link = f"https://console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{build}"
    return {
        "Id": build,
        "ProjectName": project["name"],
        "BuildStatus": "FAILED" if code else "SUCCEEDED",
        "StartTime": begun,
        "EndTime": int(time.time() * 1000),
        "Logs": {"DeepLink": link},
    }
