"""The SAM CLI with the functions in containers, on the local cloud.

`sam local` gives a function only the variables that its template declares, so it works on a copy of the built
template in which every variable of the deployed function is declared; their values come from `--env-vars`.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.config import Config

from local.cloud import LocalCloud
from local.install import ROOT, STACK

from .bridge import Bridge, Place, free_port, open_socket
from .engine import Engine

_START_SECONDS = 60.0
_FUNCTION = "AWS::Serverless::Function"


class SamLocal:
    """Invokes the functions of one built application.

    Args:
        build: the folder that `sam build` filled; a copy, for its template is changed here.
        variables: what each function finds in its environment, by logical id. AWS credentials are among them.
    """

    def __init__(self, engine: Engine, build: Path, variables: Mapping[str, Mapping[str, str]]) -> None:
        self._engine = engine
        self._scratch = build.parent
        self._template = build / "template.yaml"
        self._variables = self._scratch / "variables.json"
        self._log = self._scratch / "sam.log"
        self._lambda: Any = None
        self._variables.write_text(json.dumps(variables))
        _declare(self._template, variables)

    @contextmanager
    def serving(self, bridge: Bridge) -> Iterator[None]:
        """`sam local start-lambda` for the time of the block; its containers end with it.

        Raises RuntimeError if it does not start, with the end of its log.
        """
        port = free_port(self._engine.network)
        # Warm containers, so that a second call finds its process; each started by its first call, as two cores
        # are busy enough with one at a time.
        command = self._command("start-lambda", "--warm-containers", "LAZY", "--port", str(port))
        with self._log.open("wb") as log:
            server = subprocess.Popen(command, env=self._environ(), stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_it_listens(server, port)
            here = bridge.forward(Place("127.0.0.1"), Place("127.0.0.1", port, self._engine.network))
            # The emulator checks no signature; a repeated call would hide a failed one.
            self._lambda = boto3.client(
                "lambda", endpoint_url=f"http://{here.host}:{here.port}", region_name="us-east-1",
                aws_access_key_id="unused", aws_secret_access_key="unused",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
            )  # fmt: skip
            yield
        finally:
            server.terminate()  # it removes its containers
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()

    def call(self, function: str, event: object) -> Any:
        """What a function of the served application returns for an event.

        The emulator reports a function's error as a success whose body has an errorType: the caller looks for it.
        """
        reply = self._lambda.invoke(FunctionName=function, Payload=json.dumps(event))
        return json.loads(reply["Payload"].read())

    def call_once(self, function: str, event_file: Path) -> Any:
        """What `sam local invoke`, which starts a container for one call, prints as a function's answer.

        Raises subprocess.CalledProcessError if SAM fails.
        """
        command = self._command("invoke", function, "--event", event_file)
        answer = subprocess.run(command, env=self._environ(), check=True, capture_output=True, text=True)
        return json.loads(answer.stdout)

    def log_end(self, lines: int = 40) -> str:
        """The last lines of what SAM and the functions wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def _command(self, *words: str | Path) -> list[str]:
        return self._engine.command(
            Path(sys.executable).with_name("sam"), "local", *words, "--template", self._template,
            "--env-vars", self._variables, "--skip-pull-image", "--layer-cache-basedir", self._scratch,
        )  # fmt: skip

    def _environ(self) -> dict[str, str]:
        # Nothing of the developer's shell may reach the functions, and AWS is never asked.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MAYFLY_"))}
        silent = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "SAM_CLI_TELEMETRY": "0"}
        region = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        return {**kept, **silent, **region, **self._engine.environ, "TMPDIR": str(self._scratch)}

    def _wait_until_it_listens(self, server: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while server.poll() is None and time.monotonic() < deadline:
            with open_socket(self._engine.network) as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"sam local start-lambda does not start:\n{self.log_end()}")


def on_the_local_cloud(engine: Engine, bridge: Bridge, cloud: LocalCloud, scratch: Path) -> SamLocal:
    """`sam local` on what was built and deployed, with what each deployed function finds in its environment."""
    build = scratch / "build"
    shutil.copytree(ROOT / ".aws-sam" / "build", build)
    endpoints = {
        name: bridge.reach(url, engine.gateway, engine.network)
        for name, url in {
            "AWS_ENDPOINT_URL": cloud.controller_url,
            "MAYFLY_WORKLOAD_ENDPOINT_URL": cloud.workload_url,
        }.items()
    }
    return SamLocal(engine, build, {name: {**found, **endpoints} for name, found in _deployed(cloud).items()})


def _deployed(cloud: LocalCloud) -> dict[str, dict[str, str]]:
    """What CloudFormation put into the environment of each function, by logical id, with its role's credentials."""
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
    functions = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::Lambda::Function"
    }
    return {name: _variables_of(cloud, function) for name, function in functions.items()}


def _variables_of(cloud: LocalCloud, function: str) -> dict[str, str]:
    configuration = cloud.client("lambda").get_function_configuration(FunctionName=function)
    role = cloud.client("sts").assume_role(RoleArn=configuration["Role"], RoleSessionName="sam-local")
    return {
        **configuration["Environment"]["Variables"],
        "AWS_ACCESS_KEY_ID": role["Credentials"]["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": role["Credentials"]["SecretAccessKey"],
        "AWS_SESSION_TOKEN": role["Credentials"]["SessionToken"],
    }


def _declare(template: Path, variables: Mapping[str, Mapping[str, str]]) -> None:
    # `sam build` writes intrinsic functions in their long form, so that this is plain YAML.
    application = yaml.safe_load(template.read_text())
    for name, resource in application["Resources"].items():
        if resource["Type"] == _FUNCTION:
            resource["Properties"]["Environment"] = {"Variables": dict.fromkeys(variables[name], "")}
    template.write_text(yaml.safe_dump(application))
