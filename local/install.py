"""Installs Mayfly on the local cloud the way a platform team installs it on AWS: the real SAM CLI, then what each
workload account needs, then the configuration."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import users
from local.accounts import Accounts
from local.cloud import REGION, WORKLOAD_ACCOUNT, LocalCloud

ROOT = Path(__file__).resolve().parent.parent
SIMULATED = (
    "Simulated here: both AWS accounts. Instances are no machines; load balancer, traffic, alarms and instance "
    "refreshes are Mayfly's own simulation. Mayfly has not been run on AWS yet."
)
"""What the demo and local runs say once of themselves."""
STACK = "mayfly"
WORKLOAD_STACKS = tuple(f"workload-{part}-of-{STACK}" for part in ("account", "images", "region"))
"""They do not begin with `mayfly-`: what Mayfly may delete does."""
REGIONS = (REGION, "eu-west-1")
"""Where the shipped image family's images go."""
PARAMETERS = "/mayfly"
QUOTAS = {"vpcs": 60, "elastic_ips": 60, "nat_gateways": 60}
"""As they are raised for an account of many environments, each in a VPC of its own."""
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
    deploy(cloud, say)
    return prepare(cloud, say)


def deploy(cloud: LocalCloud, say: Say = print, root: Path = ROOT) -> None:
    """Builds and deploys, in the controller account: what `root` holds, which may be another version.

    Raises:
        RuntimeError: a step failed; its output is in the message.
    """
    with alone():
        say("sam build")
        sam(cloud, root, "build")
        say("sam deploy, with IAM enforced")
        sam(cloud, root, "deploy", *_LOCALLY)


def delete(cloud: LocalCloud) -> None:
    """Deletes the installation, in the controller account, with `sam delete`.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    with alone():
        sam(cloud, ROOT, "delete", "--stack-name", STACK, "--region", REGION, "--no-prompts")


def prepare(cloud: LocalCloud, say: Say = print) -> Installation:
    """Makes what a deployed Mayfly needs besides: a workload account's roles and rules, people, the configuration."""
    outputs = outputs_of(cloud)
    say("workload account: its roles and its rules")
    let_in(cloud, outputs["Controller"], REGIONS)
    cloud.quotas(**QUOTAS)
    say("people: viewer, developer, operator")
    users.welcome(cloud, outputs)
    say("configuration: blueprints, image channel, applications")
    # A page of the fewest that EC2 gives: there are thousands.
    image = cloud.workload_client("ec2").describe_images(Owners=["amazon"], MaxResults=5)["Images"][0]["ImageId"]
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


def application_topic(cloud: Accounts, application: str, topic: str) -> str:
    """One of the topics of an application, by the name of the output; its stack is deployed where it is not yet."""
    cloudformation, name = cloud.client("cloudformation"), f"application-{application}"
    with suppress(cloudformation.exceptions.AlreadyExistsException):
        cloudformation.create_stack(
            StackName=name,
            TemplateBody=(ROOT / "blueprints" / "application.yaml").read_text(),
            Parameters=[{"ParameterKey": "Application", "ParameterValue": application}],
            Capabilities=["CAPABILITY_IAM"],
        )
    waiter = cloudformation.get_waiter("stack_create_complete")
    waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    outputs = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return next(str(each["OutputValue"]) for each in outputs if each["OutputKey"] == topic)


def deploy_with(cloud: LocalCloud, **parameters: str) -> dict[str, str]:
    """Deploys what was built once more, with other parameters of the template; returns the stack's outputs.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    # What the command line says takes the place of all.
    overrides = [f"{name}={value}" for name, value in ({"WorkloadAccounts": WORKLOAD_ACCOUNT} | parameters).items()]
    with alone():
        sam(cloud, ROOT, "deploy", *_LOCALLY, "--parameter-overrides", *overrides)
    return outputs_of(cloud)


def installed(cloud: LocalCloud) -> Installation:
    """The installation that is there already."""
    value = cloud.client("ssm").get_parameter(Name=f"{PARAMETERS}/images/base/stable")["Parameter"]["Value"]
    return Installation(outputs_of(cloud), value)


def configure(cloud: Accounts, application: str, configuration: dict[str, Any], path: str = PARAMETERS) -> None:
    """Puts an application's configuration where Mayfly reads it."""
    cloud.client("ssm").put_parameter(
        Name=f"{path}/applications/{application}",
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


def upload_blueprint(cloud: Accounts, outputs: dict[str, str], template: Path) -> None:
    """Puts a blueprint into the bucket, under its file name."""
    cloud.client("s3").upload_file(str(template), outputs["BlueprintsBucket"], template.name)


@contextmanager
def alone() -> Iterator[None]:
    """Waits until nobody else builds from this checkout: `sam build` empties .aws-sam before it fills it."""
    with (ROOT / "samconfig.toml").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed, and when the process dies
        yield


def sam(cloud: Accounts, root: Path, *arguments: str) -> None:
    """Runs the SAM CLI on the controller account.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    # The venv's own `sam` and `python3.13`: the layer's Makefile calls the latter.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # Seconds between its looks at the deployment: by default five. It looks for ever.
    environ = {**os.environ, "SAM_CLI_POLL_DELAY": "0.5", **cloud.environ, "PATH": path, "SAM_CLI_TELEMETRY": "0"}
    wait = cloud.patience_seconds
    try:
        run = subprocess.run(
            ["sam", *arguments], cwd=root, env=environ, capture_output=True, text=True, check=False, timeout=wait
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace")
        raise RuntimeError(f"sam {' '.join(arguments)} did not end within {wait:.0f} s:\n{said[-4000:]}") from late
    if run.returncode:
        raise RuntimeError(f"sam {' '.join(arguments)} failed:\n{run.stdout[-4000:]}\n{run.stderr[-4000:]}")


def outputs_of(cloud: Accounts, stack_name: str = STACK) -> dict[str, str]:
    """The outputs of an installation."""
    stack = cloud.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    return {out["OutputKey"]: out["OutputValue"] for out in stack["Outputs"]}


def let_in(cloud: Accounts, controller: str, regions: Sequence[str] = (REGION,), **parameters: str) -> None:
    """Deploys the templates that let Mayfly into the workload account: the roles once, the rest in each Region.

    Args:
        parameters: of those that make roles, besides.
    """
    once, told = regions[:1], {"Controller": controller}
    for part, given, where in (
        ("account", told | parameters, once),
        ("images", told | parameters, once),
        ("region", told, regions),
    ):
        name = f"workload-{part}-of-{controller.split('/')[2]}"
        make_stacks(cloud, name, ROOT / "blueprints" / f"workload-{part}.yaml", given, *where)


def make_stacks(cloud: Accounts, name: str, template: Path, parameters: dict[str, str], *regions: str) -> None:
    """Makes a stack of the workload account in several Regions at once, where it is not there yet."""
    made = []
    for region in regions:
        cloudformation = cloud.workload_client("cloudformation", region_name=region)
        with suppress(cloudformation.exceptions.AlreadyExistsException):
            cloudformation.create_stack(
                StackName=name,
                TemplateBody=template.read_text(),
                Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
                Capabilities=["CAPABILITY_NAMED_IAM"],
            )
            made.append(cloudformation)
    for cloudformation in made:
        tries = {"Delay": 1, "MaxAttempts": int(cloud.patience_seconds)}
        cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=tries)
