"""The blueprints, read as text: what they promise on AWS that no local cloud enforces, and their user data run."""

from __future__ import annotations

import hmac
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from awscli.shorthand import ShorthandParser  # type: ignore[import-untyped]
from cfnlint.api import lint_file  # type: ignore[import-untyped]
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]

from local.workload.mixed import refusal
from mayfly.aws.groups import launches_from
from mayfly.aws.stacks import TEMPLATE_BODY_LIMIT
from mayfly.domain.blueprint import PARAMETERS
from mayfly.domain.intrinsics import Template as Evaluated
from tests.blueprint import FLEET, SERVICE, template, user_data
from tests.unit.policies import Template

ROOT = Path(__file__).parents[2]
ACCOUNT = ROOT / "blueprints/workload-account.yaml"
IMAGES = ROOT / "blueprints/workload-images.yaml"
IN_REGION = ROOT / "blueprints/workload-region.yaml"
SINGLE = ROOT / "tests/blueprints/single.yaml"

DOCUMENTED = set(PARAMETERS)
TAGS = {"mayfly:environment", "mayfly:application", "mayfly:controller"}
STATUSES = {
    "CREATE_COMPLETE",
    "CREATE_FAILED",
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
    "DELETE_COMPLETE",
    "DELETE_FAILED",
    "UPDATE_COMPLETE",
    "UPDATE_FAILED",
    "UPDATE_ROLLBACK_COMPLETE",
    "UPDATE_ROLLBACK_FAILED",
}


fleet = template(FLEET)
account = {"Resources": {**template(ACCOUNT)["Resources"], **template(IMAGES)["Resources"]}}
"""What both make in an account."""
in_region = template(IN_REGION)
launched = fleet["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]


@pytest.mark.parametrize("path", [FLEET, SERVICE, ACCOUNT, IMAGES, IN_REGION, SINGLE], ids=lambda path: path.stem)
def test_cfn_lint_finds_nothing(path: Path) -> None:
    assert lint_file(path, config=ManualArgs(regions=["us-east-1", "eu-central-1"])) == []


@pytest.mark.parametrize("path", [ACCOUNT, IMAGES, IN_REGION], ids=lambda path: path.stem)
def test_what_lets_mayfly_in_has_room_to_grow_within_a_call_of_cloudformation(path: Path) -> None:
    assert path.stat().st_size < TEMPLATE_BODY_LIMIT - 6 * 1024


@pytest.mark.parametrize("path", [FLEET, SERVICE, SINGLE], ids=lambda path: path.stem)
class TestEveryBlueprint:
    def test_takes_what_mayfly_passes_and_needs_nothing_else(self, path: Path) -> None:
        parameters = template(path)["Parameters"]
        assert parameters.keys() >= DOCUMENTED
        required = {name for name, parameter in parameters.items() if "Default" not in parameter}
        assert required <= DOCUMENTED | (NETWORK if path == SERVICE else set())

    def test_fits_into_a_create_stack_call(self, path: Path) -> None:
        assert path.stat().st_size < TEMPLATE_BODY_LIMIT

    def test_refuses_values_that_could_leave_their_quotes_in_the_user_data(self, path: Path) -> None:
        parsed = template(path)
        (script,) = re.findall(r'"Fn::Base64": {"Fn::Sub": ("(?:[^"\\]|\\.)*")}', json.dumps(parsed))
        for name in set(re.findall(r"\$\{(\w+)\}", json.loads(script))):
            given = parsed["Parameters"][name]
            if given["Type"] != "Number":
                assert not re.fullmatch(given["AllowedPattern"], "x'; rm -rf /; '"), name

    def test_tags_what_costs_money(self, path: Path) -> None:
        for name, resource in template(path)["Resources"].items():
            if resource["Type"] in COSTS_MONEY:
                assert tag_keys(resource["Properties"]) >= TAGS, name

    def test_tags_volumes_which_no_stack_or_group_does(self, path: Path) -> None:
        data = template(path)["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
        volume = next(spec for spec in data["TagSpecifications"] if spec["ResourceType"] == "volume")
        assert tag_keys(volume) >= TAGS

    def test_launches_hardened_instances(self, path: Path) -> None:
        data = template(path)["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
        assert data["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
        for mapping in data["BlockDeviceMappings"]:
            assert mapping["Ebs"]["Encrypted"] is True
            assert mapping["Ebs"]["VolumeType"] == "gp3"
            assert mapping["Ebs"]["DeleteOnTermination"] is True


NETWORK = {"VpcId", "SubnetIds", "LoadBalancerSubnetIds"}
"""What a permanent environment has to be told by its application's configuration."""
COSTS_MONEY = {
    "AWS::AutoScaling::AutoScalingGroup",
    "AWS::EC2::EIP",
    "AWS::EC2::Instance",
    "AWS::EC2::NatGateway",
    "AWS::EC2::VPC",
    "AWS::EC2::VPCEndpoint",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
}

MADE_WITH_TAGS_ONLY = {
    "AWS::EC2::SecurityGroup",
    "AWS::ElasticLoadBalancingV2::Listener",  # who makes one under aws:RequestTag has to give it tags of its own
    "AWS::ElasticLoadBalancingV2::TargetGroup",
}


def tag_keys(properties: Mapping[str, Any]) -> set[str]:
    return {tag["Key"] for tag in properties["Tags"]}


class TestService:
    """What the promise of no downtime stands on."""

    parsed = template(SERVICE)
    resources = parsed["Resources"]
    group = resources["Fleet"]

    def test_an_update_of_the_stack_replaces_no_instance(self) -> None:
        assert "UpdatePolicy" not in self.group
        for given in ("t3.medium", "t3.medium,t3a.medium"):
            group = Evaluated(self.parsed, {"InstanceType": given}).value(self.group["Properties"])
            assert launches_from(group)["Version"] == self.parsed["Parameters"]["LaunchTemplateVersion"]["Default"]
        latest = {"Fn::GetAtt": ["LaunchTemplate", "LatestVersionNumber"]}
        assert self.parsed["Outputs"]["LatestLaunchTemplateVersion"]["Value"] == latest

    def test_the_group_of_one_type_has_no_policy_and_that_of_several_tries_them_in_their_order(self) -> None:
        one, three = (
            Evaluated(self.parsed, {"InstanceType": given}).value(self.group["Properties"])
            for given in ("m5.large", "m5.large,m5a.large,c5.large")
        )
        assert ("LaunchTemplate" in one, "MixedInstancesPolicy" in one) == (True, False)
        assert ("LaunchTemplate" in three, "MixedInstancesPolicy" in three) == (False, True)
        overrides = three["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
        assert [each["InstanceType"] for each in overrides] == ["m5.large", "m5a.large", "c5.large"]
        assert refusal(three["MixedInstancesPolicy"]) is None

    def test_the_load_balancer_says_who_is_healthy_and_never_before_it_can_know(self) -> None:
        properties, given = self.group["Properties"], self.parsed["Parameters"]
        assert properties["HealthCheckType"] == "ELB"
        assert properties["TargetGroupARNs"] == [{"Ref": "TargetGroup"}]
        assert properties["DefaultInstanceWarmup"] == {"Ref": "WarmupSeconds"}
        assert given["WarmupSeconds"]["Default"] > given["GraceSeconds"]["Default"]

    def test_the_group_never_shrinks_and_has_room_for_new_instances(self) -> None:
        properties = self.group["Properties"]
        assert properties["MinSize"] == properties["DesiredCapacity"] == {"Ref": "InstanceCount"}
        assert properties["MaxSize"] >= 2 * self.parsed["Parameters"]["InstanceCount"]["MaxValue"]

    def test_takes_three_zones_at_least(self) -> None:
        assert self.parsed["Parameters"]["InstanceCount"]["MinValue"] == 3
        assert '{"Fn::Select": [2, {"Ref": "SubnetIds"}]}' in json.dumps(self.parsed["Outputs"])

    def test_every_alarm_stops_a_rollout(self) -> None:
        alarms = [name for name, one in self.resources.items() if one["Type"] == "AWS::CloudWatch::Alarm"]
        assert len(alarms) == 3
        value = self.parsed["Outputs"]["Alarms"]["Value"]
        assert value == {"Fn::Join": [",", [{"Ref": name} for name in alarms]]}
        for name in alarms:
            assert self.resources[name]["Properties"]["TreatMissingData"] == "notBreaching"

    def test_no_alarm_watches_a_minimum_of_what_is_measured_in_each_zone(self) -> None:
        """A load balancer counts healthy hosts zone by zone: their minimum is that of the smallest zone."""
        alarms = [one["Properties"] for one in self.resources.values() if one["Type"] == "AWS::CloudWatch::Alarm"]
        assert {one["MetricName"]: one["Statistic"] for one in alarms if one["MetricName"].endswith("HostCount")} == {
            "UnHealthyHostCount": "Maximum"
        }

    def test_everything_is_marked_as_permanent_and_protected(self) -> None:
        marked = {"mayfly:service", "mayfly:protected", *TAGS}
        for name, one in self.resources.items():
            if one["Type"] in COSTS_MONEY | MADE_WITH_TAGS_ONLY:
                assert tag_keys(one["Properties"]) >= marked, name
        data = self.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
        for specification in data["TagSpecifications"]:
            assert tag_keys(specification) >= marked

    def test_boots_as_a_disposable_one_does(self) -> None:
        data = self.resources["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
        assert data["UserData"] == launched["UserData"]


class TestFleet:
    def test_instances_have_no_public_address(self) -> None:
        assert [card["AssociatePublicIpAddress"] for card in launched["NetworkInterfaces"]] == [False]
        for resource in fleet["Resources"].values():
            if resource["Type"] == "AWS::EC2::Subnet":
                assert resource["Properties"]["MapPublicIpOnLaunch"] is False

    def test_is_complete_when_every_instance_signalled(self) -> None:
        group = fleet["Resources"]["Fleet"]
        signals = group["CreationPolicy"]["ResourceSignal"]
        assert signals == {"Count": {"Ref": "InstanceCount"}, "Timeout": {"Ref": "ReadyTimeout"}}
        for size in ("MinSize", "MaxSize", "DesiredCapacity"):
            assert group["Properties"][size] == {"Ref": "InstanceCount"}

    def test_new_launch_template_versions_do_not_start_by_themselves(self) -> None:
        group = fleet["Resources"]["Fleet"]
        pinned = {"Fn::GetAtt": ["LaunchTemplate", "LatestVersionNumber"]}
        mixed = group["Properties"]["MixedInstancesPolicy"]["LaunchTemplate"]
        assert mixed["LaunchTemplateSpecification"]["Version"] == pinned
        assert "UpdatePolicy" not in group

    @pytest.mark.parametrize("given", ["t3.medium", "m5.large,c5.large", "m5.large,m5a.large,c5.large,r5.large"])
    def test_the_types_that_it_is_told_are_tried_in_their_order(self, given: str) -> None:
        told = Evaluated(fleet, {"InstanceType": given, "OnDemandPercentage": "50"})
        group = told.value(fleet["Resources"]["Fleet"]["Properties"])
        overrides = group["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
        types = given.split(",")
        assert [each["InstanceType"] for each in overrides] == types
        assert told.value(launched)["InstanceType"] == types[0]
        distribution = group["MixedInstancesPolicy"]["InstancesDistribution"]
        assert distribution["OnDemandPercentageAboveBaseCapacity"] == "50"
        assert refusal(group["MixedInstancesPolicy"]) is None

    def test_all_its_instances_are_on_demand_unless_somebody_wants_others(self) -> None:
        assert fleet["Parameters"]["OnDemandPercentage"]["Default"] == 100

    def test_the_group_hands_its_tags_to_its_instances(self) -> None:
        tags = fleet["Resources"]["Fleet"]["Properties"]["Tags"]
        assert all(tag["PropagateAtLaunch"] for tag in tags)

    def test_nothing_is_open_to_the_world(self) -> None:
        for name, resource in fleet["Resources"].items():
            properties = resource.get("Properties", {})
            rules = properties.get("SecurityGroupIngress", [])
            if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
                rules = [properties]
            for rule in rules:
                assert rule.get("CidrIp") in (None, {"Ref": "AllowedCidr"}), name
        assert fleet["Parameters"]["AllowedCidr"]["Default"] == ""

    def test_the_instance_role_has_no_wildcard_power(self) -> None:
        for statement in policy_statements(fleet):
            assert not any("*" in action for action in as_list(statement["Action"]))
            assert statement["Resource"] != "*"
            assert "*" not in str(statement["Resource"]).split("/")[0]

    def test_the_fleet_waits_for_every_way_out(self) -> None:
        waits = json.dumps(fleet["Resources"]["Fleet"]["Metadata"])
        ways = {"AWS::EC2::Route", "AWS::EC2::VPCEndpoint"}
        for name, resource in fleet["Resources"].items():
            if resource["Type"] in ways:
                assert json.dumps({"Ref": name}) in waits


# ---- The user data, run


TOLD = ("curl ", "hostnamectl ", "puppet ", "deploy ", "cfn-signal ")
"""The calls that a boot is made of, besides what it says of itself."""


@dataclass(frozen=True)
class Boot:
    """One run of the user data: how it ended, and each fake command's call as `name arg arg ...`."""

    code: int
    calls: list[str]
    output: str

    def of(self, command: str) -> list[str]:
        return [call for call in self.calls if call.split()[0] == command]

    def tags(self, key: str) -> list[str]:
        """What the instance wrote into one of its tags, one after the other."""
        before = f"--resources i-0123456789abcdef0 --tags Key=mayfly:{key},Value="
        return [call.partition(before)[2] for call in self.of("aws") if before in call]


class Machine:
    """A directory of fake commands that the user data runs against."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.log = directory / "calls"
        self.log.touch()
        self.deploy_script = self.bin / "deploy"
        # The metadata service: a token only for PUT, data only for the token (IMDSv2).
        self.install(
            "curl",
            'case "$*" in\n'
            "  *'-X PUT'*/api/token*token-ttl-seconds:*) printf TOKEN ;;\n"
            "  */meta-data/instance-id*'metadata-token: TOKEN'*) printf i-0123456789abcdef0 ;;\n"
            "  */instance-identity/rsa2048*'metadata-token: TOKEN'*) printf DOCUMENT ;;\n"
            "  */127.0.0.1:8080/*) ;;\n"
            "  *) exit 22 ;;\n"
            "esac",
        )
        for command in ("hostnamectl", "puppet", "deploy", "cfn-signal", "aws", "sleep", "shutdown", "perl"):
            self.install(command)

    def install(self, command: str, body: str = "") -> None:
        """Put a fake command on the machine that records its call, then runs `body`."""
        fake = self.bin / command
        record = 'printf "%s\\n" "$(basename "$0") $*" >>"$CALLS"'
        fake.write_text(f"#!/bin/bash\n{record}\n{body}\n")
        fake.chmod(0o755)

    def boot(self, look_every: float = 60, **parameters: str) -> Boot:
        """Run the user data with these parameters on top of `webshop` 1.4.2."""
        script = user_data(DeployScript=str(self.deploy_script), **parameters)
        script = script.replace("look_every=60", f"look_every={look_every}")
        environment = {"PATH": f"{self.bin}:{os.defpath}", "CALLS": str(self.log)}
        done = subprocess.run(
            ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        return Boot(done.returncode, self.log.read_text().splitlines(), done.stdout + done.stderr)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def assert_failed(boot: Boot, reason: str) -> None:
    """One failure signal, with the reason, and the reason in the output; and nothing called it a success."""
    assert boot.code != 0
    (signal,) = boot.of("cfn-signal")
    assert "--exit-code 1" in signal
    assert reason in signal
    assert f"mayfly: failed: i-0123456789abcdef0: {reason}" in boot.output


class TestUserData:
    def test_is_clean_shell(self, tmp_path: Path) -> None:
        for server in ("", "puppet.example"):
            script = tmp_path / "user-data.sh"
            script.write_text(user_data(PuppetServer=server))
            subprocess.run(["bash", "-n", script], check=True)
            subprocess.run([Path(sys.executable).with_name("shellcheck"), script], check=True)

    def test_is_short_enough_for_ec2(self) -> None:
        assert len(user_data().encode()) < 16_384

    def test_names_deploys_and_signals_in_this_order(self, machine: Machine) -> None:
        boot = machine.boot()
        assert boot.code == 0, boot.output
        assert [call.split()[0] for call in boot.calls if call.startswith(TOLD)] == [
            "curl",
            "curl",
            "hostnamectl",
            "puppet",
            "deploy",
            "cfn-signal",
        ]
        assert boot.of("deploy") == ["deploy webshop 1.4.2 https://box.example/webshop-1.4.2.tgz"]
        (signal,) = boot.of("cfn-signal")
        assert "--exit-code 0" in signal
        assert "--id i-0123456789abcdef0" in signal
        assert "--resource Fleet" in signal

    def test_the_host_name_tells_instances_apart_and_fits(self, machine: Machine) -> None:
        longest = "e" * 59
        (call,) = machine.boot(EnvironmentId=longest).of("hostnamectl")
        name = call.split()[-1]
        assert name == f"{'e' * 45}-0123456789abcdef0"
        assert len(name) == 63

    def test_puppet_asks_the_server_and_never_its_cache(self, machine: Machine) -> None:
        certificate, call = machine.boot(PuppetServer="puppet.example").of("puppet")
        assert certificate.startswith(
            "puppet ssl bootstrap --waitforcert 0 --certname webshop-1-4-2-smoke-0a1b2c3d-0123"
        )
        assert call.startswith("puppet agent --onetime")
        assert "--server puppet.example" in call
        assert "--no-usecacheonfailure" in call

    def test_puppet_without_a_server_applies_the_manifest_of_the_image(self, machine: Machine) -> None:
        assert machine.boot().of("puppet") == ["puppet apply --detailed-exitcodes --color=false /opt/mayfly/boot.pp"]

    def test_puppet_that_changed_something_is_good(self, machine: Machine) -> None:
        machine.install("puppet", "exit 2")
        boot = machine.boot()
        assert boot.code == 0
        assert "--exit-code 0" in boot.of("cfn-signal")[0]

    @pytest.mark.parametrize("server", ["", "puppet.example"])
    @pytest.mark.parametrize("code", [1, 4, 6])
    def test_puppet_that_failed_fails_the_boot(self, machine: Machine, code: int, server: str) -> None:
        machine.install("puppet", f"[[ $1 == ssl ]] || exit {code}")
        boot = machine.boot(PuppetServer=server)
        assert_failed(boot, f"{'catalogue' if server else 'converge'}: exit code {code}")
        assert boot.of("deploy") == []

    def test_a_failed_deploy_is_signalled(self, machine: Machine) -> None:
        machine.install("deploy", "exit 7")
        boot = machine.boot()
        assert_failed(boot, "deploy: exit code 7")
        assert boot.code == 7

    def test_an_image_without_the_deploy_script_is_signalled(self, machine: Machine) -> None:
        machine.deploy_script.unlink()
        assert_failed(machine.boot(), f"deploy: {machine.deploy_script} is not in the image")

    def test_a_host_name_that_is_refused_is_signalled(self, machine: Machine) -> None:
        machine.install("hostnamectl", "exit 1")
        assert_failed(machine.boot(), "set the host name: exit code 1")

    def test_without_metadata_there_is_still_a_signal(self, machine: Machine) -> None:
        machine.install("curl", "exit 22")
        (signal,) = machine.boot().of("cfn-signal")
        assert "--exit-code 1" in signal
        assert "read the instance id: exit code 22" in signal

    def test_each_step_is_told_when_it_begins_and_how_long_it_took_when_it_is_over(self, machine: Machine) -> None:
        told = machine.boot(HealthCheckPath="/", PuppetServer="puppet.example").tags("boot")
        now = r"since \d\d:\d\d:\d\dZ"
        steps = ["set the host name", "certificate", "catalogue", "deploy", "health", "signal"]
        for one, name in zip(told, steps, strict=False):
            assert re.search(rf"; {name} {now}$", one) or re.fullmatch(rf"{name} {now}", one), one
        done = "; ".join(rf"{name} \d+ s" for name in ["read the instance id", *steps[:-1]])
        assert re.fullmatch(rf"ready after \d+ s: {done};", told[-1])

    def test_a_catalogue_that_is_there_is_another_step_than_its_resources(self, machine: Machine) -> None:
        machine.install("puppet", "[[ $1 == ssl ]] && exit; echo \"Info: Applying configuration version '1'\"; exit 4")
        boot = machine.boot(PuppetServer="puppet.example")
        assert_failed(boot, "converge: exit code 4")
        assert re.search(r"catalogue \d+ s; converge since", boot.tags("boot")[-2])

    def test_a_failure_is_told_with_the_last_lines_of_its_step(self, machine: Machine) -> None:
        machine.install("deploy", "echo 'fetching'; echo 'error: \"disk\", full' >&2; exit 7")
        boot = machine.boot()
        assert re.fullmatch("failed after \\d+ s: deploy: exit code 7: error: `disk`; full", boot.tags("boot")[-1])
        assert boot.tags("boot-log") == ["fetching error: `disk`; full"]

    def test_a_step_that_lasts_is_told_with_the_last_lines_of_its_log(self, machine: Machine) -> None:
        machine.install("deploy", 'echo "waiting for the box"; until grep -q boot-log "$CALLS"; do :; done')
        boot = machine.boot(look_every=0.1)
        assert boot.code == 0, boot.output
        assert boot.tags("boot-log")[0] == "waiting for the box"

    def test_tags_are_read_by_the_cli_as_they_were_meant(self, machine: Machine) -> None:
        machine.install("deploy", """printf 'a,b=[c] {d} "e" %s\\n' "it's" $'\\e[1m' ; exit 1""")
        for call in machine.boot().of("aws"):
            written = call.partition("--tags ")[2]
            if written:
                assert ShorthandParser().parse(written)["Value"] == written.partition("Value=")[2]

    def test_an_instance_that_may_not_tag_itself_tries_once_and_boots(self, machine: Machine) -> None:
        machine.install("aws", "exit 254")
        boot = machine.boot()
        assert boot.code == 0
        assert len(boot.of("aws")) == 1

    def test_a_server_that_is_busy_is_asked_again(self, machine: Machine) -> None:
        machine.install("puppet", '[[ $1 == ssl ]] || [[ $(grep -c "^puppet agent" "$CALLS") -gt 2 ]] || exit 1')
        boot = machine.boot(PuppetServer="puppet.example")
        assert boot.code == 0
        assert boot.of("sleep") == ["sleep 10", "sleep 30"]

    def test_a_server_that_never_answers_is_asked_four_times(self, machine: Machine) -> None:
        machine.install("puppet", "exit 1")
        boot = machine.boot(PuppetServer="puppet.example")
        assert_failed(boot, "certificate: exit code 1")
        assert len(boot.of("puppet")) == 4

    @pytest.mark.parametrize(("code", "tries"), [(75, 4), (7, 1)])
    def test_a_deploy_is_tried_again_where_it_says_that_it_may_pass(
        self, machine: Machine, code: int, tries: int
    ) -> None:
        machine.install("deploy", f"exit {code}")
        assert len(machine.boot().of("deploy")) == tries

    @pytest.mark.skipif(not Path("/var/lib/dpkg/lock-frontend").exists(), reason="Debian's package manager")
    @pytest.mark.parametrize(("waited", "code"), [("exit 0", 0), ("exit 124", 1)], ids=["comes free", "is kept"])
    def test_a_package_lock_that_is_held_is_waited_for(self, machine: Machine, waited: str, code: int) -> None:
        machine.install("perl", f"[[ ${{!#}} == 1 ]] && {waited}; exit 1")
        boot = machine.boot()
        assert boot.code == code
        if code:
            assert_failed(boot, "package lock: held by another program for 10 minutes")

    def test_the_request_of_a_certificate_proves_environment_instance_and_name(self, machine: Machine) -> None:
        machine.install("puppet", '[[ $1 != ssl ]] || while [[ $1 != --csr_attributes ]]; do shift; done; cat "$2"')
        boot = machine.boot(PuppetServer="puppet.example", PuppetSecret="5ec3e7")
        name = boot.of("hostnamectl")[0].split()[-1]
        password = hmac.new(b"5ec3e7", name.encode(), "sha256").hexdigest()
        assert f"challengePassword: {password}\n" in boot.output
        assert '1.3.6.1.4.1.34380.1.2.1.1: "DOCUMENT"\n' in boot.output
        assert "pp_instance_id: i-0123456789abcdef0\n" in boot.output
        assert "pp_environment: webshop-1-4-2-smoke-0a1b2c3d\n" in boot.output

    def test_the_boxs_token_reaches_the_deploy_script_and_no_command_line(self, machine: Machine) -> None:
        machine.install("aws", "case $* in *get-parameter*--with-decryption*/box*) echo T0KEN ;; esac")
        machine.install("deploy", "[[ $MAYFLY_ARTIFACT_TOKEN == T0KEN && $* != *T0KEN* ]]")
        boot = machine.boot(ArtifactToken="/box")
        assert boot.code == 0, boot.output
        assert "T0KEN" not in "".join(boot.calls) + boot.output

    def test_another_version_than_the_one_to_deploy_fails_the_boot(self, machine: Machine) -> None:
        machine.install("version", "echo 1.4.1")
        boot = machine.boot(VersionScript=str(machine.bin / "version"))
        assert_failed(boot, "version: told to deploy 1.4.2, but 1.4.1 runs")
        assert boot.tags("version") == ["1.4.1"]

    def test_the_checksum_of_the_artifact_says_which_version_runs_as_well(self, machine: Machine) -> None:
        machine.install("version", f"echo {'a' * 64}")
        given = {"VersionScript": str(machine.bin / "version"), "ArtifactLocation": "https://box.example/1.tgz"}
        assert machine.boot(**given | {"ArtifactLocation": f"https://box/1.tgz#sha256={'a' * 64}"}).code == 0
        assert machine.boot(**given).code != 0
        machine.install("version")
        assert machine.boot(**given | {"ArtifactLocation": "https://box/1.tgz#sha256="}).code != 0

    def test_one_that_may_be_replaced_stops_and_signals_no_failure(self, machine: Machine) -> None:
        machine.install("deploy", "exit 7")
        boot = machine.boot(ReplaceFailed="2")
        assert boot.of("shutdown") == ["shutdown -P now"]
        assert boot.of("cfn-signal") == []
        assert boot.tags("boot")[-1].startswith("failed after")

    def test_one_that_could_not_say_so_is_not_replaced(self, machine: Machine) -> None:
        machine.install("deploy", "exit 7")
        machine.install("aws", "exit 254")
        assert_failed(machine.boot(ReplaceFailed="2"), "deploy: exit code 7")

    @pytest.mark.parametrize(("deploy", "status"), [("exit 0", "SUCCESS"), ("exit 1", "FAILURE")])
    def test_the_cli_signals_where_cfn_signal_cannot(self, machine: Machine, deploy: str, status: str) -> None:
        machine.install("deploy", deploy)
        machine.install("cfn-signal", "exit 1")
        (call,) = (call for call in machine.boot().of("aws") if "create-tags" not in call)
        assert f"signal-resource --status {status} --unique-id i-0123456789abcdef0" in call

    def test_a_replacement_that_finds_a_complete_stack_boots_all_the_same(self, machine: Machine) -> None:
        machine.install("cfn-signal", "exit 1")
        machine.install("aws", "exit 254")
        assert machine.boot().code == 0


# ---- The workload account


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def policy_statements(parsed: Mapping[str, Any], role: str | None = None) -> Iterator[dict[str, Any]]:
    """Statements of the roles' inline policies and of separate policies; of one role if named."""
    for name, resource in parsed["Resources"].items():
        if role in (None, name):
            properties = resource.get("Properties", {})
            policies = [*properties.get("Policies", ()), properties]
            for policy in policies:
                yield from policy.get("PolicyDocument", {}).get("Statement", ())


def all_allowing(role: str, action: str) -> list[dict[str, Any]]:
    """The statements of the role that allow the action by name."""
    return [
        statement
        for name in (role, *ATTACHED.get(role, ()))
        for statement in policy_statements(account, name)
        if statement["Effect"] == "Allow" and action in as_list(statement["Action"])
    ]


def allowing(role: str, action: str) -> dict[str, Any]:
    """The one statement of the role that allows the action by name."""
    (statement,) = all_allowing(role, action)
    return statement


ATTACHED = {"WorkloadRole": ("BakePolicy",)}
OURS = {"Ref": "Controller"}
READS = "GetResources|GetTagValues|GetParameter|GetCommandInvocation|GetMetricData|GetAccountSummary|GetServiceQuota"
LOOKING = re.compile(rf"\w+:(Describe\w+|List\w+|{READS})$")
THIS_SESSION = "${aws:PrincipalTag/mayfly:environment}"
DESTRUCTIVE = re.compile(r"\w+:(Delete|Terminate|Release|Revoke|Detach|Disassociate|Remove|Update|Stop|\*)")


class TestWorkloadRole:
    def test_is_assumed_by_roles_of_the_installation_with_their_session_tag_only(self) -> None:
        trust = account["Resources"]["WorkloadRole"]["Properties"]["AssumeRolePolicyDocument"]
        (statement,) = trust["Statement"]
        resolved = Template("blueprints/workload-account.yaml").resolved(statement)
        assert resolved["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
        assert set(statement["Action"]) == {"sts:AssumeRole", "sts:TagSession"}
        assert resolved["Condition"]["ArnLike"] == {"aws:PrincipalArn": "arn:aws:iam::111111111111:role/mayfly-*"}
        assert statement["Condition"]["ForAllValues:StringEquals"] == {
            "aws:TagKeys": [
                *("mayfly:environment", "mayfly:vpc", "mayfly:bake"),
                *("mayfly:image-family", "mayfly:service"),
            ]
        }

    def test_creates_only_tagged_stacks_with_a_deadline_through_the_service_role(self) -> None:
        statement = allowing("WorkloadRole", "cloudformation:CreateStack")
        assert ":stack/mayfly-*/*" in str(statement["Resource"])
        assert statement["Condition"] == {
            "StringEquals": {
                "aws:RequestTag/mayfly:controller": OURS,
                "aws:RequestTag/mayfly:environment": THIS_SESSION,
                "cloudformation:RoleArn": {"Fn::GetAtt": ["ServiceRole", "Arn"]},
            },
            "Null": {"aws:RequestTag/mayfly:expires-at": "false"},
        }

    @pytest.mark.parametrize(
        ("action", "labels"),
        [
            ("cloudformation:DeleteStack", ["environment"]),
            ("ec2:TerminateInstances", ["environment", "bake"]),
            ("ec2:DeleteVolume", ["environment", "bake"]),
        ],
    )
    def test_ends_only_the_environment_or_the_builder_of_its_session(self, action: str, labels: list[str]) -> None:
        assert [each["Condition"]["StringEquals"] for each in all_allowing("WorkloadRole", action)] == [
            {
                "aws:ResourceTag/mayfly:controller": OURS,
                f"aws:ResourceTag/mayfly:{label}": f"${{aws:PrincipalTag/mayfly:{label}}}",
            }
            for label in labels
        ]

    def test_launches_only_builders_of_its_session_with_a_deadline(self) -> None:
        launched, launched_from = all_allowing("WorkloadRole", "ec2:RunInstances")
        assert launched["Condition"] == {
            "StringEquals": {
                "aws:RequestTag/mayfly:controller": OURS,
                "aws:RequestTag/mayfly:bake": "${aws:PrincipalTag/mayfly:bake}",
            },
            "Null": {"aws:RequestTag/mayfly:expires-at": "false"},
        }
        assert not re.search("instance/|volume/", str(launched_from["Resource"]))
        assert launched_from["Condition"] == {"Null": {"aws:PrincipalTag/mayfly:bake": "false"}}

    def test_runs_commands_on_instances_of_its_session_s_environment_only(self) -> None:
        on_instances, as_document = all_allowing("WorkloadRole", "ssm:SendCommand")
        assert on_instances["Condition"]["StringEquals"] == {
            "ssm:resourceTag/mayfly:controller": OURS,
            "ssm:resourceTag/mayfly:environment": THIS_SESSION,
        }
        assert str(as_document["Resource"]).endswith("document/AWS-RunShellScript'}")

    def test_passes_roles_to_the_one_service_that_each_is_for(self) -> None:
        passed = {
            each["Resource"]["Fn::GetAtt"][0]: each["Condition"]["StringEquals"]["iam:PassedToService"]
            for each in all_allowing("WorkloadRole", "iam:PassRole")
        }
        assert passed == {"ServiceRole": "cloudformation.amazonaws.com", "BuilderRole": "ec2.amazonaws.com"}

    def test_beyond_that_it_only_looks(self) -> None:
        for statement in [s for name in ("WorkloadRole", "BakePolicy") for s in policy_statements(account, name)]:
            if statement["Effect"] == "Allow" and "Condition" not in statement:
                # The resource is bound to the session's environment or bake there, as a condition elsewhere.
                named = json.dumps(statement["Resource"]).replace("!", "")
                bound = any(f"${{aws:PrincipalTag/mayfly:{each}}}" in named for each in ("environment", "bake"))
                looks = all(re.match(LOOKING, action) for action in as_list(statement["Action"]))
                assert bound or looks, statement["Sid"]


class TestBuilderRole:
    def test_says_how_it_went_and_nothing_else_by_tags(self) -> None:
        statement = allowing("BuilderRole", "ec2:CreateTags")
        assert statement["Condition"]["ForAllValues:StringEquals"] == {"aws:TagKeys": ["mayfly:bake-result"]}
        assert statement["Condition"]["StringEquals"] == {"aws:ResourceTag/mayfly:controller": OURS}

    def test_destroys_nothing(self) -> None:
        actions = [a for each in policy_statements(account, "BuilderRole") for a in as_list(each["Action"])]
        assert not [action for action in actions if DESTRUCTIVE.match(action)]


class TestImagePolicy:
    """What Mayfly may do with images: each session those of one family."""

    def test_is_the_workload_role_s_alone(self) -> None:
        template = Template("blueprints/workload-images.yaml")
        for name in ("BakePolicy", "ImagePolicy", "ImageKeyPolicy"):
            assert template.resolved(account["Resources"][name]["Properties"]["Roles"]) == [
                Template("blueprints/workload-account.yaml").resolved({"Ref": "WorkloadRole"})
            ]

    @pytest.mark.parametrize(
        "action",
        ["DeregisterImage", "DeleteSnapshot", "DisableImage", "EnableImageDeprecation", "ModifyImageAttribute"],
    )
    def test_changes_and_ends_only_images_of_the_session_s_family(self, action: str) -> None:
        assert allowing("ImagePolicy", f"ec2:{action}")["Condition"] == {
            "StringEquals": {
                "aws:ResourceTag/mayfly:controller": OURS,
                "aws:ResourceTag/mayfly:image-family": "${aws:PrincipalTag/mayfly:image-family}",
            },
            "Null": {"aws:ResourceTag/mayfly:image-family": "false"},
        }

    def test_writes_parameters_of_the_session_s_family_only(self) -> None:
        (resource,) = allowing("ImagePolicy", "ssm:PutParameter")["Resource"].values()
        assert resource.endswith(":parameter${ParametersPath}/images/${!aws:PrincipalTag/mayfly:image-family}/*")

    def test_without_a_condition_only_looks(self) -> None:
        for statement in policy_statements(account, "ImagePolicy"):
            if "Condition" not in statement and statement["Sid"] != "SayWhereChannelsPoint":
                assert statement["Sid"] == "LookForUse"
                assert all(
                    re.match(r"\w+:(Describe|List|GetContainerRecipe|GetParameters)", each)
                    for each in statement["Action"]
                )

    def test_ends_nothing_that_is_protected(self) -> None:
        (deny,) = (each for each in policy_statements(account, "ImagePolicy") if each["Effect"] == "Deny")
        assert {"ec2:DeregisterImage", "ec2:DisableImage", "ec2:DeleteSnapshot"} == set(deny["Action"])

    def test_fits_into_a_managed_policy(self) -> None:
        document = account["Resources"]["ImagePolicy"]["Properties"]["PolicyDocument"]
        assert len(json.dumps(document, separators=(",", ":"))) < 6144


BUILDING = ("ServiceRole", "PermanentRole")


class TestServiceRoles:
    @pytest.mark.parametrize("role", BUILDING)
    def test_is_for_cloudformation_of_this_account(self, role: str) -> None:
        (statement,) = account["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "cloudformation.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}

    def test_makes_roles_below_the_boundary_only(self) -> None:
        for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"):
            statement = allowing("IdentityPolicy", action)
            assert statement["Condition"]["StringEquals"] == {"iam:PermissionsBoundary": {"Ref": "InstanceBoundary"}}
            assert ":role/mayfly/*" in str(statement["Resource"])

    def test_cannot_loosen_the_boundary_or_touch_mayflys_own_roles(self) -> None:
        allowed = {
            action
            for name in ("BuildPolicy", "IdentityPolicy", "ServiceBuildPolicy")
            for statement in policy_statements(account, name)
            for action in as_list(statement["Action"])
        }
        assert not any("Boundary" in action or action.endswith("PolicyVersion") for action in allowed)
        for name in ("WorkloadRole", *BUILDING):
            assert "Path" not in account["Resources"][name]["Properties"]  # its own power ends at /mayfly/


@pytest.mark.parametrize("role", ["WorkloadRole", "BuildPolicy"])
class TestWhatDestroys:
    def test_destroy_nothing_by_a_bare_permission(self, role: str) -> None:
        for statement in policy_statements(account, role):
            destructive = [action for action in as_list(statement["Action"]) if DESTRUCTIVE.match(action)]
            if statement["Effect"] == "Allow" and destructive:
                assert "Condition" in statement or "mayfly" in str(statement["Resource"]), statement["Sid"]
                assert not any("*" in action for action in destructive), statement["Sid"]

    def test_never_destroy_what_is_protected(self, role: str) -> None:
        deny = next(s for s in policy_statements(account, role) if s["Sid"] == "NeverWhatIsProtected")
        assert deny["Resource"] == "*"
        assert deny["Condition"] == {  # any value but `false`, where the tag is there at all
            "StringNotEquals": {"aws:ResourceTag/mayfly:protected": "false"},
            "Null": {"aws:ResourceTag/mayfly:protected": "false"},
        }
        assert "ec2:TerminateInstances" in deny["Action"]


@pytest.mark.parametrize("role", ["WorkloadRole", "BuilderRole", *BUILDING])
class TestRoles:
    def test_their_inline_policies_fit(self, role: str) -> None:
        """IAM counts all inline policies of a role together, without white space."""
        policies = json.dumps(list(policy_statements(account, role)), separators=(",", ":"))
        assert len(policies) < 10_240


MANAGED = [name for name, one in account["Resources"].items() if one["Type"] == "AWS::IAM::ManagedPolicy"]


@pytest.mark.parametrize("name", MANAGED)
def test_a_managed_policy_fits(name: str) -> None:
    policy = account["Resources"][name]["Properties"]["PolicyDocument"]
    assert len(json.dumps(policy, separators=(",", ":"))) < 6_144


def test_the_boundary_covers_what_the_fleets_instances_are_granted() -> None:
    bounds = {a for s in policy_statements(account, "InstanceBoundary") for a in as_list(s["Action"])}
    granted = {a for s in policy_statements(fleet) for a in as_list(s["Action"])}
    assert granted <= bounds


def test_the_fleet_asks_for_the_boundary_that_the_account_has() -> None:
    boundary = account["Resources"]["InstanceBoundary"]["Properties"]
    assert boundary["Path"] == "/mayfly/"
    name = Template("blueprints/workload-account.yaml").resolved(boundary["ManagedPolicyName"])
    assert fleet["Parameters"]["PermissionsBoundary"]["Default"] == name


def test_exactly_the_statuses_that_mayfly_acts_on_are_forwarded() -> None:
    pattern = in_region["Resources"]["StackEvents"]["Properties"]["EventPattern"]
    assert pattern["source"] == ["aws.cloudformation"]
    assert pattern["detail-type"] == ["CloudFormation Stack Status Change"]
    assert set(pattern["detail"]["status-details"]["status"]) == STATUSES
    (stacks,) = pattern["detail"]["stack-id"]
    assert stacks["prefix"]["Fn::Sub"].endswith(":stack/mayfly-")


def test_of_an_instance_s_events_only_that_it_stopped_crosses_accounts() -> None:
    """A life of 45 instances has more than 45 that it starts, runs and goes, and nobody hears them."""
    patterns = [one["Properties"]["EventPattern"] for one in in_region["Resources"].values() if "Rule" in one["Type"]]
    of_instances = [
        each["detail"] for each in patterns if "EC2 Instance State-change Notification" in each["detail-type"]
    ]
    assert of_instances == [{"state": ["stopped"]}]


def test_the_rules_may_put_events_on_their_target_and_nowhere_else() -> None:
    (statement,) = policy_statements(account, "ForwardingRole")
    assert statement["Action"] == "events:PutEvents"
    role = account["Resources"]["ForwardingRole"]["Properties"]["RoleName"]
    for name, rule in in_region["Resources"].items():
        if rule["Type"] == "AWS::Events::Rule":
            (target,) = Template("blueprints/workload-region.yaml").resolved(rule["Properties"]["Targets"])
            assert target["Arn"] == Template("blueprints/workload-account.yaml").resolved(statement["Resource"]), name
            arn = f"arn:aws:iam::222222222222:role/{Template('blueprints/workload-account.yaml').resolved(role)}"
            assert target["RoleArn"] == arn, name


class TestTwoRegionsAndTwoInstallations:
    """IAM's names are an account's, whatever the Region; every other name is a Region's."""

    def test_what_is_global_is_not_made_again_in_a_region(self) -> None:
        assert not [each["Type"] for each in in_region["Resources"].values() if each["Type"].startswith("AWS::IAM")]
        assert {each["Type"].split("::")[1] for each in account["Resources"].values()} == {"IAM"}

    def test_what_is_global_is_pinned_to_no_region(self) -> None:
        assert "AWS::Region" not in json.dumps(account)

    @pytest.mark.parametrize("path", [f"blueprints/workload-{part}.yaml" for part in ("account", "images", "region")])
    def test_another_installation_has_other_names(self, path: str) -> None:
        one, other = (Template(path, Controller=f"111111111111/us-east-1/{stack}") for stack in ("mayfly", "second"))
        for logical in one.resources:
            for key, value in one.resources[logical]["Properties"].items():
                if key in ("RoleName", "ManagedPolicyName", "BucketName", "InstanceProfileName", "Name"):
                    assert one.resolved(value) != other.resolved(value), logical

    def test_the_installation_itself_has_other_names(self) -> None:
        one, other = Template("template.yaml"), Template("template.yaml", **{"AWS::StackName": "second"})
        named = re.compile(r"(Function|Topic|Table|Bucket|Rule|Layer|LogGroup|UserPool|Dashboard)?Name$|^Domain$")
        for logical, resource in one.resources.items():
            events = resource.get("Properties", {}).get("Events", {})
            schedules = [each["Properties"] for each in events.values() if each["Type"] == "ScheduleV2"]
            for schedule in schedules:
                assert "Name" in schedule, f"{logical}: SAM gives a schedule without a name its logical id"
            kept = resource["Type"] in ("AWS::ApiGatewayV2::Authorizer", "AWS::Cognito::UserPoolGroup")  # inside ours
            for properties in [] if kept else [resource.get("Properties", {}), *schedules]:
                for key, value in properties.items():
                    if (
                        named.match(key)
                        and isinstance(value, str | dict)
                        and not re.search("Ref|ParametersPath", str(value))
                    ):
                        assert one.resolved(value) != other.resolved(value), f"{logical}: {key}"

    def test_a_dead_letter_queue_of_a_subscription_lies_where_its_topic_lies(self) -> None:
        """https://docs.aws.amazon.com/sns/latest/dg/sns-configure-dead-letter-queue.html: same account and Region."""
        resources = Template("template.yaml").resources
        for name, resource in resources.items():
            properties = resource.get("Properties", {})
            for each in [properties, *(one["Properties"] for one in properties.get("Events", {}).values())]:
                if "RedrivePolicy" in each:
                    topic = each.get("TopicArn", each.get("Topic"))
                    assert resources.get(topic["Ref"], {}).get("Type") == "AWS::SNS::Topic", name
