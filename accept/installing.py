"""Installs Mayfly under a name of its own, as a platform team does it, with a network to build in, an image family to
bake and people to sign in."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from accept.places import Place
from local.install import ROOT, alone, let_in, make_stacks, outputs_of, sam, upload_blueprint

type Json = dict[str, Any]
type Say = Callable[[str], None]

NAME = "accept-mayfly"
"""Of the installation; everything that a run makes has it in its name or its tags."""
FAMILY = NAME
NETWORK = f"network-of-{NAME}"
NEVER = '"cron(0 2 1 1 ? 2199)"'
PERSON = "acceptance"
INSTANCE_TYPE, BUILDER_TYPE = "t3.small", "t3.medium"
REPOSITORY = "https://yum.voxpupuli.org/openvox8/amazon/2023/x86_64/"
"""Where OpenVox's agent for Amazon Linux 2023 is, unless PUPPET_PACKAGE names a package."""
START = """#!/bin/bash
# The application of an acceptance run: it answers each request with 200.
cd "$(dirname "$0")"
exec python3 -m http.server 8080
"""


@dataclass(frozen=True)
class Installed:
    """What there is to accept."""

    outputs: dict[str, str]
    networks: dict[str, dict[str, str]]
    """By Region: the outputs of network.yaml."""
    bucket: str
    password: str
    """Of the one person."""

    @property
    def blueprint_parameters(self) -> dict[str, str]:
        """Of fleet.yaml and service.yaml, wherever they stand."""
        return {
            "InstanceType": INSTANCE_TYPE,
            "VolumeSize": "8",
            "PermissionsBoundary": f"{NAME}-instance-boundary",
            "ArtifactBucket": self.bucket,
        }

    def network(self, region: str) -> dict[str, str]:
        """The parameters of a blueprint that say where it stands."""
        return {key: self.networks[region][key] for key in ("VpcId", "SubnetIds")}


def install(place: Place, say: Say) -> Installed:
    """Makes everything. What is made is removed by `removing`, also where this was broken off."""
    package = puppet_package() if place.name == "aws" else f"s3://any/openvox-agent.rpm#sha256={'0' * 64}"
    bucket = f"{NAME}-{place.account}-{place.region}"
    make_bucket(place, bucket)
    regions = (place.region, place.second_region)
    say("networks, in two Regions")
    make_stacks(place, NETWORK, ROOT / "accept" / "network.yaml", {"Name": NAME}, *regions)
    outputs = deploy(place, bucket, say)
    say("the account's roles and rules")
    let_in(place, outputs["Controller"], regions, ParametersPath=f"/{NAME}")
    for blueprint in ("fleet.yaml", "service.yaml"):
        upload_blueprint(place, outputs, ROOT / "blueprints" / blueprint)
    password = welcome(place, outputs)
    networks = {region: _network(place, region) for region in regions}
    installed = Installed(outputs, networks, bucket, password)
    configure_family(place, installed, package)
    return installed


def deploy(place: Place, bucket: str, say: Say) -> dict[str, str]:
    """Builds and deploys the template with SAM; returns the stack's outputs."""
    parameters = {
        "ParametersPath": f"/{NAME}",
        "Regions": f"{place.region},{place.second_region}",
        "LogDays": "1",
        # Nothing is baked or retired by itself during the run.
        "BakeSchedule": NEVER,
        "RetireSchedule": NEVER,
    }
    if place.workload_account != place.account:
        parameters["WorkloadAccounts"] = place.workload_account
    with alone():
        say("sam build")
        sam(place, ROOT, "build")
        say("sam deploy")
        where = ("--stack-name", NAME, "--s3-bucket", bucket, "--region", place.region)
        flags = ("--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset")
        said = (f"{key}={value}" for key, value in parameters.items())
        sam(place, ROOT, "deploy", *where, *flags, "--parameter-overrides", *said)
    return outputs_of(place, NAME)


def make_bucket(place: Place, bucket: str) -> None:
    """A bucket for SAM and for the application's versions."""
    elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": place.region}}
    s3 = place.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket, **({} if place.region == "us-east-1" else elsewhere))


def publish(place: Place, bucket: str, version: str) -> str:
    """Puts a version of the application into the bucket; returns its location."""
    key = f"artifacts/{version}.tar.gz"
    place.client("s3").put_object(Bucket=bucket, Key=key, Body=packed({"start": START.encode()}))
    return f"s3://{bucket}/{key}"


def packed(files: dict[str, bytes]) -> bytes:
    """A tar.gz of executable files."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def welcome(place: Place, outputs: dict[str, str]) -> str:
    """Makes the one person, an operator; returns the password."""
    cognito, pool = place.client("cognito-idp"), outputs["UserPoolId"]
    password = f"Aa1-{secrets.token_urlsafe(24)}"
    with suppress(cognito.exceptions.UsernameExistsException):
        cognito.admin_create_user(UserPoolId=pool, Username=PERSON, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username=PERSON, Password=password, Permanent=True)
    cognito.admin_add_user_to_group(UserPoolId=pool, Username=PERSON, GroupName="operator")
    return password


def configure_family(place: Place, installed: Installed, package: str) -> None:
    """Configures an image family like the shipped one, baked with the shipped Puppet code."""
    code = f"code-of-{NAME}-{place.workload_account}-{place.region}"
    s3 = place.workload_client("s3")
    with io.BytesIO() as written:
        with tarfile.open(fileobj=written, mode="w:gz") as archive:
            archive.add(ROOT / "images" / "puppet", arcname=".")
        packed = written.getvalue()
    s3.put_object(Bucket=code, Key="puppet/base.tar.gz", Body=packed)
    family = json.loads((ROOT / "families" / "base.json").read_text())
    family |= {
        "account": place.workload_account,
        "region": place.region,
        "subnet": installed.network(place.region)["SubnetIds"].split(",")[0],
        "security_groups": [installed.networks[place.region]["SecurityGroup"]],
        "instance_type": BUILDER_TYPE,
        "instance_profile": f"{NAME}-builder",
        "puppet": {
            "mode": "apply",
            "artifact": f"s3://{code}/puppet/base.tar.gz",
            "sha256": hashlib.sha256(packed).hexdigest(),
            "package": package,
        },
        "logs": f"s3://bakes-of-{NAME}-{place.workload_account}-{place.region}/logs",
        "parameters": installed.blueprint_parameters | installed.network(place.region) | {"DeployScript": "/bin/true"},
        "regions": [place.region, place.second_region],
        "stable": None,
    }
    place.client("ssm").put_parameter(
        Name=f"/{NAME}/families/{FAMILY}",
        # Without blanks: Parameter Store keeps 4 KB for nothing.
        Value=json.dumps(place.adapted(family), separators=(",", ":")),
        Type="String",
        Overwrite=True,
    )


def _network(place: Place, region: str) -> dict[str, str]:
    cloudformation = place.workload_client("cloudformation", region_name=region)
    (stack,) = cloudformation.describe_stacks(StackName=NETWORK)["Stacks"]
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


# ---- Puppet's package ------------------------------------------------------------------------------------


def puppet_package() -> str:
    """The location of the package of Puppet's agent that builders install, with `#sha256=` and its checksum.

    Raises:
        ValueError: none was named, and the repository does not say what is newest.
    """
    if named := os.environ.get("PUPPET_PACKAGE"):
        return named
    try:
        return newest_package(REPOSITORY)
    except (OSError, ET.ParseError, LookupError, ValueError) as error:
        raise ValueError(
            f"expected PUPPET_PACKAGE to name an openvox-agent package for Amazon Linux 2023 (https:// or s3://, "
            f"'#sha256=' and its checksum), as "
            f"{REPOSITORY} does not tell the newest: {error}"
        ) from error


def newest_package(repository: str, package: str = "openvox-agent") -> str:
    """Reads from a dnf repository where the newest version of a package is, and appends its checksum."""
    index = _read(f"{repository}repodata/repomd.xml")
    primary = re.search(r'<data type="primary">.*?<location href="([^"]+)"', index.decode(), re.DOTALL)
    if primary is None:
        raise LookupError("repomd.xml names no list of packages")
    listed = ET.fromstring(gzip.decompress(_read(repository + primary[1])))
    common = "{http://linux.duke.edu/metadata/common}"
    found = [
        (_number(each.find(f"{common}version")), each.find(f"{common}location"), each.find(f"{common}checksum"))
        for each in listed.iter(f"{common}package")
        if each.findtext(f"{common}name") == package
    ]
    _, newest, checksum = max(found, key=lambda one: one[0])
    if newest is None or checksum is None or checksum.get("type") != "sha256":
        raise LookupError(f"{package} has no location, or no checksum of type sha256")
    return f"{repository}{newest.attrib['href']}#sha256={checksum.text}"


def _number(version: ET.Element | None) -> tuple[int, ...]:
    said = "" if version is None else f"{version.get('ver')}.{version.get('rel')}"
    return tuple(int(part) for part in re.findall(r"\d+", said))


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return bytes(answer.read())
