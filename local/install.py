"""Installs Mayfly on the local cloud the way a platform team installs it on AWS: the real SAM CLI, then what each
workload account needs, then the configuration."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import users
from local.cloud import CONTROLLER_ACCOUNT, WORKLOAD_ACCOUNT, LocalCloud

ROOT = Path(__file__).resolve().parent.parent
STACK = "mayfly"
WORKLOAD_STACK = "workload-account-of-mayfly"
"""Does not begin with `mayfly-`: what Mayfly may delete does."""
PARAMETERS = "/mayfly"
_LOCALLY = ("--config-env", "local")

type Say = Callable[[str], None]


@dataclass(frozen=True)
class Installation:
    """What an installed Mayfly consists of: the outputs of its stack, and the image its applications boot."""

    outputs: dict[str, str]
    image: str


def install(cloud: LocalCloud, say: Say = print) -> Installation:
    """Builds, deploys and configures everything. Repeating it is harmless.

    Raises:
        RuntimeError: a step failed; its output is in the message.
    """
    with _alone():
        say("sam build")
        _sam(cloud, "build")
        say("sam deploy, with IAM enforced")
        _sam(cloud, "deploy", *_LOCALLY)
    say("workload account: its role and its rule")
    _workload_account(cloud)
    outputs = _outputs(cloud)
    say("people: viewer, developer, operator")
    users.welcome(cloud, outputs)
    say("configuration: blueprints, image channel, applications")
    image = cloud.workload_client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    cloud.client("ssm").put_parameter(
        Name=f"{PARAMETERS}/images/base/stable", Value=image, Type="String", Overwrite=True
    )
    for blueprint in ("fleet.yaml", "service.yaml"):
        upload_blueprint(cloud, outputs, ROOT / "blueprints" / blueprint)
    for file in sorted((ROOT / "applications").glob("*.json")):
        configure(cloud, file.stem, json.loads(file.read_text()))
    for file in sorted((ROOT / "families").glob("*.json")):
        # The stand-in for a machine runs no checks: they all exit well there, and print nothing.
        family = json.loads(file.read_text())
        checks = [{**check, "stdout": None} for check in family["checks"]]
        configure_family(cloud, file.stem, family | {"checks": checks})
    return Installation(outputs, image)


def deploy_with(cloud: LocalCloud, **parameters: str) -> dict[str, str]:
    """Deploys what was built once more, with other parameters of the template; returns the stack's outputs.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    overrides = [f"{name}={value}" for name, value in parameters.items()]
    with _alone():
        accounts = f"WorkloadAccounts={WORKLOAD_ACCOUNT}"  # what the command line says takes the place of all
        _sam(cloud, "deploy", *_LOCALLY, "--parameter-overrides", accounts, *overrides)
    return _outputs(cloud)


def installed(cloud: LocalCloud) -> Installation:
    """The installation that is there already."""
    value = cloud.client("ssm").get_parameter(Name=f"{PARAMETERS}/images/base/stable")["Parameter"]["Value"]
    return Installation(_outputs(cloud), value)


def configure(cloud: LocalCloud, application: str, configuration: dict[str, Any]) -> None:
    """Puts an application's configuration where Mayfly reads it."""
    cloud.client("ssm").put_parameter(
        Name=f"{PARAMETERS}/applications/{application}",
        Value=json.dumps(configuration, indent=1),
        Type="String",
        Overwrite=True,
    )


def configure_family(cloud: LocalCloud, family: str, configuration: dict[str, Any]) -> None:
    """Puts an image family's configuration where Mayfly reads it, its builders in a network that there is."""
    ec2 = cloud.workload_client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [subnet["VpcId"]]}])["SecurityGroups"]
    network = {"subnet": subnet["SubnetId"], "security_groups": [groups[0]["GroupId"]]}
    cloud.client("ssm").put_parameter(
        Name=f"{PARAMETERS}/families/{family}",
        # Without blanks: Parameter Store keeps 4 KB for nothing.
        Value=json.dumps(configuration | network, separators=(",", ":")),
        Type="String",
        Overwrite=True,
    )


def network(cloud: LocalCloud) -> dict[str, str]:
    """A network over three zones, as the parameters of `blueprints/service.yaml` name it."""
    subnets = cloud.workload_client("ec2").describe_subnets()["Subnets"]
    zones = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in subnets if subnet["DefaultForAz"]}
    three = ",".join(zones[zone] for zone in sorted(zones)[:3])
    return {"VpcId": subnets[0]["VpcId"], "SubnetIds": three, "LoadBalancerSubnetIds": three}


def upload_blueprint(cloud: LocalCloud, outputs: dict[str, str], template: Path) -> None:
    """Puts a blueprint into the bucket, under its file name."""
    cloud.client("s3").upload_file(str(template), outputs["BlueprintsBucket"], template.name)


@contextmanager
def _alone() -> Iterator[None]:
    """Waits until nobody else builds from this checkout: `sam build` empties .aws-sam before it fills it."""
    with (ROOT / "samconfig.toml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, and when the process dies
        yield


def _sam(cloud: LocalCloud, *arguments: str) -> None:
    # The venv's own `sam` and `python3.13`: the layer's Makefile calls the latter.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    run = subprocess.run(
        ["sam", *arguments],
        cwd=ROOT,
        # Seconds between its looks at the deployment: by default five, to spare AWS.
        env={**os.environ, **cloud.environ, "PATH": path, "SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.5"},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"sam {' '.join(arguments)} failed:\n{run.stdout[-4000:]}\n{run.stderr[-4000:]}")


def _outputs(cloud: LocalCloud) -> dict[str, str]:
    stack = cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    return {out["OutputKey"]: out["OutputValue"] for out in stack["Outputs"]}


def _workload_account(cloud: LocalCloud) -> None:
    cloudformation = cloud.workload_client("cloudformation")
    try:
        cloudformation.create_stack(
            StackName=WORKLOAD_STACK,
            TemplateBody=(ROOT / "blueprints" / "workload-account.yaml").read_text(),
            Parameters=[{"ParameterKey": "ControllerAccountId", "ParameterValue": CONTROLLER_ACCOUNT}],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
        )
    except cloudformation.exceptions.AlreadyExistsException:
        return
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName=WORKLOAD_STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
