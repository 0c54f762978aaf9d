"""What an environment takes of AWS's quotas is known from its template before it is built."""

import gzip
import json
from importlib.resources import files

import pytest

from mayfly.domain import needs
from mayfly.domain.intrinsics import UNKNOWN, Template
from mayfly.domain.needs import QUOTAS, corrected, exceeding, fingerprint, of_instances, reckon, vcpu_quota, vcpus
from tests.blueprint import FLEET, SERVICE, template

FLEET_BODY = template(FLEET)
MAYFLYS = {"EnvironmentId": "e", "Application": "webshop", "CodeVersion": "1", "ImageId": "ami-1"}


def fleet(**parameters: str) -> needs.Needs:
    return reckon(FLEET_BODY, MAYFLYS | parameters)


def test_a_fleet_in_a_network_of_its_own_takes_one_of_each_of_the_networks_quotas_and_its_instances():
    assert fleet().takes == {
        "auto-scaling-groups": 1,
        "elastic-ips": 1,
        "gateway-endpoints": 1,
        "gp3-gib": 900,
        "instance-profiles": 1,
        "instances": 45,
        "internet-gateways": 1,
        "nat-gateways": 1,
        "network-interfaces": 46,
        "roles": 1,
        "security-groups": 2,
        "stacks": 1,
        "vcpus-standard": 90,
        "vpcs": 1,
    }
    assert fleet().types == {"t3.medium": 45}
    assert fleet().volume_gib == 900
    assert not fleet().unknown
    assert not fleet().short


def test_without_a_nat_gateway_its_endpoints_take_interfaces_instead():
    takes = fleet(NatGateways="none").takes
    assert "elastic-ips" not in takes
    assert "nat-gateways" not in takes
    assert takes["network-interfaces"] == 45 + 4 * 2
    assert takes["security-groups"] == 3, "the VPC's default one, the instances' and the endpoints'"


def test_in_a_shared_network_it_takes_addresses_of_the_subnets_and_none_of_the_networks_quotas():
    takes = fleet(VpcId="vpc-1", SubnetIds="subnet-1,subnet-2", InstanceCount="5").takes
    assert not takes.keys() & {"vpcs", "elastic-ips", "nat-gateways", "internet-gateways", "gateway-endpoints"}
    assert takes["addresses/subnet-1"] == takes["addresses/subnet-2"] == 3
    assert takes["instances"] == takes["network-interfaces"] == 5


def test_larger_instances_and_volumes_take_more():
    takes = fleet(InstanceType="m5.2xlarge", VolumeSize="100", InstanceCount="10").takes
    assert takes["vcpus-standard"] == 80
    assert takes["gp3-gib"] == 1000


def test_subnets_that_are_too_small_are_said():
    [short] = fleet(
        PrivateSubnetCidrs="10.64.8.0/28,10.64.12.0/28", PublicSubnetCidrs="10.64.0.0/28,10.64.1.0/28"
    ).short
    assert short == "Fleet has 45 instances, but the template's subnets 44 addresses"


def test_a_permanent_environment_takes_a_load_balancer_too():
    parameters = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2,subnet-3", "InstanceCount": "3"}
    takes = reckon(template(SERVICE), MAYFLYS | parameters).takes
    assert takes["application-load-balancers"] == takes["target-groups"] == 1
    assert takes["instances"] == 3


GROUP = {
    "Resources": {
        "Launch": {
            "Type": "AWS::EC2::LaunchTemplate",
            "Properties": {
                "LaunchTemplateData": {
                    "InstanceType": "t3.medium",
                    "BlockDeviceMappings": [{"Ebs": {"VolumeSize": 10, "VolumeType": "gp3"}}],
                }
            },
        },
        "Group": {
            "Type": "AWS::AutoScaling::AutoScalingGroup",
            "Properties": {
                "MinSize": "1",
                "MaxSize": "10",
                "DesiredCapacity": "10",
                "MixedInstancesPolicy": {
                    "LaunchTemplate": {
                        "LaunchTemplateSpecification": {"LaunchTemplateId": {"Ref": "Launch"}, "Version": "1"},
                        "Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "c5.xlarge"}],
                    },
                    "InstancesDistribution": {"OnDemandBaseCapacity": 1, "OnDemandPercentageAboveBaseCapacity": 50},
                },
            },
        },
    }
}


def test_of_possible_types_the_largest_counts_and_spot_instances_count_for_their_own_quota():
    takes = reckon(GROUP, {}).takes
    assert takes["vcpus-standard"] == (1 + 5) * 4
    assert takes["spot-vcpus-standard"] == 4 * 4
    assert takes["gp3-gib"] == 100


def test_a_fleet_of_several_types_counts_the_largest_of_each_family_and_its_spot_instances_apart():
    found = fleet(InstanceType="m5.large,c5.xlarge,g4dn.xlarge", InstanceCount="10", OnDemandPercentage="25")
    assert found.takes["vcpus-standard"] == found.takes["vcpus-g"] == 3 * 4, "a quarter of ten, rounded up"
    assert found.takes["spot-vcpus-standard"] == found.takes["spot-vcpus-g"] == 7 * 4
    assert found.types == {"m5.large": 10}
    assert not found.unknown
    assert "spot-vcpus-standard" not in fleet(InstanceType="m5.large,c5.xlarge").takes


def test_p5_instances_have_a_spot_quota_of_their_own():
    assert [vcpu_quota(kind, True) for kind in ("p4d.24xlarge", "p5.48xlarge")] == ["spot-vcpus-p", "spot-vcpus-p5"]
    assert vcpu_quota("p5.48xlarge") == "vcpus-p"


def test_what_a_template_does_not_say_is_said_to_be_unknown_not_guessed():
    body = {"Transform": "Macro", "Resources": {"Inner": {"Type": "AWS::CloudFormation::Stack", "Properties": {}}}}
    found = reckon(body, {})
    assert found.takes == {"stacks": 2}
    assert [line.split(" ", 2)[:2] for line in found.unknown] == [["a", "transform"], ["what", "the"]]
    metal = reckon({"Resources": {"I": {"Type": "AWS::EC2::Instance", "Properties": {"InstanceType": "m5.metal"}}}}, {})
    assert "how many vCPUs an instance of I has is not known, and not counted" in metal.unknown


def test_what_the_last_environment_had_takes_the_place_of_what_was_reckoned():
    found = corrected(fleet(), {"vcpus-standard": 180, "databases": 2, "elastic-ips": 0})
    assert found.takes["vcpus-standard"] == 180
    assert found.takes["databases"] == 2
    assert "elastic-ips" not in found.takes
    assert found.takes["vpcs"] == 1


def test_only_environments_of_the_same_order_correct_each_other():
    same = fingerprint("fleet.yaml", "v1", {"a": "1", "b": "2"}, 45)
    assert same == fingerprint("fleet.yaml", "v1", {"b": "2", "a": "1"}, 45)
    others = [("other.yaml", "v1", {}, 45), ("fleet.yaml", "v2", {}, 45), ("fleet.yaml", "v1", {"a": "1"}, 46)]
    assert same not in [fingerprint(*other) for other in others]


def test_running_instances_are_counted_as_their_quotas_count_them():
    had = of_instances({"t3.medium": 3, "g4dn.xlarge": 1}, {"gp3": 60, "standard": 5}, {"m5.large": 2})
    assert had == {"instances": 6, "vcpus-standard": 6, "vcpus-g": 4, "spot-vcpus-standard": 4, "gp3-gib": 60}


def test_what_can_never_fit_is_named_with_its_code_the_value_there_is_and_the_value_needed():
    [said] = exceeding({"vcpus-standard": 90, "vpcs": 1}, {"vcpus-standard": 64, "vpcs": 5})
    assert said == (
        "the quota Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances (ec2, L-1216C47A) is 64, "
        "and it needs 90"
    )


def ec2s_types() -> dict[str, int]:
    """What EC2 says of each instance type, as moto recorded it."""
    packed = (files("moto.ec2") / "resources/instance_types.json.gz").read_bytes()
    return {name: kind["VCpuInfo"]["DefaultVCpus"] for name, kind in json.loads(gzip.decompress(packed)).items()}


def test_the_rule_of_names_never_gives_fewer_vcpus_than_ec2_does_and_seldom_none_or_more():
    types = ec2s_types()
    wrong = {name for name, count in types.items() if vcpus(name) != count}
    assert not [name for name in wrong if (vcpus(name) or 10_000) < types[name]]
    assert not [name for name in wrong if not name.endswith(".metal") and not name.startswith(("hpc", "m2."))]
    assert len(types) > 1000


def test_every_family_of_ec2_counts_for_a_quota_except_macs_which_need_dedicated_hosts():
    assert {name.partition(".")[0] for name in ec2s_types() if vcpu_quota(name) is None} <= {
        "mac1", "mac2", "mac2-m1ultra", "mac2-m2", "mac2-m2pro", "mac-m4", "mac-m4max", "mac-m4pro", "mac-m3ultra",
    }  # fmt: skip


def test_each_quota_has_its_own_code():
    codes = [(quota.service, quota.code) for quota in QUOTAS.values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"Ref": "Count"}, "3"),
        ({"Fn::Select": [1, {"Fn::Split": [",", {"Ref": "Ranges"}]}]}, "b"),
        ({"Fn::Join": ["-", ["x", {"Ref": "Count"}]]}, "x-3"),
        ({"Fn::Sub": "${Count} of ${!Literal}"}, "3 of ${!Literal}"),
        ({"Fn::FindInMap": ["Sizes", "large", "Count"]}, 9),
        ({"Fn::If": ["IsThree", "yes", "no"]}, "yes"),
        ({"Fn::If": ["Neither", "yes", {"Ref": "AWS::NoValue"}]}, None),
        ({"Fn::Length": [1, 2]}, 2),
        ({"Fn::GetAtt": ["Vpc", "CidrBlock"]}, UNKNOWN),
        ({"Fn::Join": ["-", [{"Fn::ImportValue": "x"}]]}, UNKNOWN),
        ({"Ref": "FromSsm"}, UNKNOWN),
    ],
)
def test_functions_are_evaluated_as_far_as_the_template_decides_them(given, value):
    body = {
        "Parameters": {
            "Count": {"Type": "Number", "Default": 3},
            "Ranges": {"Type": "String", "Default": "a,b"},
            "FromSsm": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/x"},
        },
        "Mappings": {"Sizes": {"large": {"Count": 9}}},
        "Conditions": {
            "IsThree": {"Fn::Equals": [{"Ref": "Count"}, 3]},
            "Neither": {"Fn::Not": [{"Fn::Or": [{"Condition": "IsThree"}, {"Fn::Equals": ["a", "b"]}]}]},
        },
    }
    assert Template(body, {}).value({"a": given}).get("a") == value
