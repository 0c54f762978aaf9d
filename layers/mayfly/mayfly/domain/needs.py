"""What one environment takes of each quota, known before it is built: reckoned from its template, and corrected by what
the last environment of the same order really had.

What a template does not say is not guessed silently: it stands in `Needs.unknown`.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from mayfly.domain.intrinsics import Template

type Use = tuple[str, int, Mapping[str, Any]]
"""What exists and counts for a quota: the quota's key, how many, and the resource as AWS lists it."""


class Quota(Struct, frozen=True):
    """A quota of an account and Region (IAM's: of an account), as Service Quotas knows it.

    Attributes:
        name: for people. service, code: of Service Quotas. default: of a new account, in the quota's own unit.
        per: how many of what Mayfly counts are one of that unit: 1,024 GiB are a TiB.
    """

    name: str
    service: str
    code: str
    default: int
    per: int = 1

    @property
    def most(self) -> int:
        """AWS's default, in what Mayfly counts."""
        return self.default * self.per


QUOTAS: dict[str, Quota] = {
    "stacks": Quota("CloudFormation stacks", "cloudformation", "L-0485CB21", 2000),
    "vpcs": Quota("VPCs per Region", "vpc", "L-F678F1CE", 5),
    "internet-gateways": Quota("Internet gateways per Region", "vpc", "L-A4707A72", 5),
    "elastic-ips": Quota("EC2-VPC Elastic IPs", "ec2", "L-0263D0A3", 5),
    "nat-gateways": Quota("NAT gateways per Availability Zone", "vpc", "L-FE5A380F", 5),
    "gateway-endpoints": Quota("Gateway VPC endpoints per Region", "vpc", "L-1B52E74A", 20),
    "network-interfaces": Quota("Network interfaces per Region", "vpc", "L-DF5E4CA3", 5000),
    "security-groups": Quota("VPC security groups per Region", "vpc", "L-E79EC296", 2500),
    "auto-scaling-groups": Quota("Auto Scaling groups per region", "autoscaling", "L-CDE20ADC", 500),
    "application-load-balancers": Quota(
        "Application Load Balancers per Region", "elasticloadbalancing", "L-53DA6B97", 50
    ),
    "network-load-balancers": Quota("Network Load Balancers per Region", "elasticloadbalancing", "L-69A177A2", 50),
    "target-groups": Quota("Target Groups per Region", "elasticloadbalancing", "L-B22855CB", 3000),
    "databases": Quota("DB instances", "rds", "L-7B6409FD", 40),
    "roles": Quota("Roles per account", "iam", "L-FE177D64", 1000),
    "instance-profiles": Quota("Instance profiles per account", "iam", "L-6E65F664", 1000),
    "gp2-gib": Quota("Storage for General Purpose SSD (gp2) volumes, in TiB", "ebs", "L-D18FCD1D", 50, 1024),
    "gp3-gib": Quota("Storage for General Purpose SSD (gp3) volumes, in TiB", "ebs", "L-7A658B76", 50, 1024),
    "io1-gib": Quota("Storage for Provisioned IOPS SSD (io1) volumes, in TiB", "ebs", "L-FD252861", 50, 1024),
    "io2-gib": Quota("Storage for Provisioned IOPS SSD (io2) volumes, in TiB", "ebs", "L-09BD8365", 20, 1024),
    "st1-gib": Quota("Storage for Throughput Optimized HDD (st1) volumes, in TiB", "ebs", "L-82ACEF56", 300, 1024),
    "sc1-gib": Quota("Storage for Cold HDD (sc1) volumes, in TiB", "ebs", "L-17AF77E8", 300, 1024),
    # A new account starts with 5 vCPUs of standard instances; AWS raises that by itself with its use.
    "vcpus-standard": Quota("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", "ec2", "L-1216C47A", 5),
    "vcpus-f": Quota("Running On-Demand F instances", "ec2", "L-74FC7D96", 0),
    "vcpus-g": Quota("Running On-Demand G and VT instances", "ec2", "L-DB2E81BA", 0),
    "vcpus-p": Quota("Running On-Demand P instances", "ec2", "L-417A185B", 0),
    "vcpus-inf": Quota("Running On-Demand Inf instances", "ec2", "L-1945791B", 0),
    "vcpus-trn": Quota("Running On-Demand Trn instances", "ec2", "L-2C3B7624", 0),
    "vcpus-dl": Quota("Running On-Demand DL instances", "ec2", "L-6E869C2A", 0),
    "vcpus-hpc": Quota("Running On-Demand HPC instances", "ec2", "L-F7808C92", 0),
    "vcpus-u": Quota("Running On-Demand High Memory instances", "ec2", "L-43DA4232", 0),
    "vcpus-x": Quota("Running On-Demand X instances", "ec2", "L-7295265B", 0),
    "spot-vcpus-standard": Quota(
        "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", "ec2", "L-34B43A08", 5
    ),
    "spot-vcpus-f": Quota("All F Spot Instance Requests", "ec2", "L-88CF9481", 0),
    "spot-vcpus-g": Quota("All G and VT Spot Instance Requests", "ec2", "L-3819A6DF", 0),
    "spot-vcpus-p": Quota("All P4, P3 and P2 Spot Instance Requests", "ec2", "L-7212CCBC", 0),
    "spot-vcpus-p5": Quota("All P5 Spot Instance Requests", "ec2", "L-C4BD4855", 0),
    "spot-vcpus-inf": Quota("All Inf Spot Instance Requests", "ec2", "L-B5D1601B", 0),
    "spot-vcpus-trn": Quota("All Trn Spot Instance Requests", "ec2", "L-6B0D517C", 0),
    "spot-vcpus-dl": Quota("All DL Spot Instance Requests", "ec2", "L-85EED4F7", 0),
    "spot-vcpus-x": Quota("All X Spot Instance Requests", "ec2", "L-E3A00192", 0),
}
"""What Mayfly counts. Codes and defaults: AWS's documentation and Service Quotas; where an account says others, those
count."""

INSTANCES = "instances"
"""No quota, but what ceilings, and EC2's launch rate, are counted in."""

ADDRESSES = "addresses/"
"""Before the id of a shared subnet: the addresses that an environment takes of it."""

_FAMILIES = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"), "standard"),
    **{family: family for family in ("f", "p", "inf", "trn", "dl", "hpc", "u", "x")},
    **dict.fromkeys(("g", "gr", "vt"), "g"),
}
_SMALL = ("nano", "micro", "small", "medium")
_ODD = {"c1.medium": 2, "c1.xlarge": 8, "c4.8xlarge": 36, "d2.8xlarge": 36, "t2.medium": 2}
"""Instance types whose name does not say their vCPUs."""


def vcpus(instance_type: str) -> int | None:
    """How many vCPUs an instance of this type has, by the rule of AWS's names; never fewer than it has, and None where
    the name does not say it (bare metal)."""
    family, _, size = instance_type.partition(".")
    if instance_type in _ODD:
        return _ODD[instance_type]
    if size in _SMALL:
        return 2 if re.match(r"t[3-9]", family) else 1
    if size in ("large", "xlarge"):
        return 2 if size == "large" else 4
    if many := re.fullmatch(r"(?:metal-)?(\d+)xl(?:arge)?", size):
        return 4 * int(many.group(1))
    return None


def vcpu_quota(instance_type: str, spot: bool = False) -> str | None:
    """The quota that an instance's vCPUs count for; None for a family that nobody knows."""
    letters = re.match(r"[a-z]+", instance_type)
    family = _FAMILIES.get(letters.group() if letters else "")
    if spot and instance_type.startswith("p5"):
        family = "p5"  # a quota of their own, but On-Demand one with the other P
    key = f"{'spot-' if spot else ''}vcpus-{family}"
    return key if key in QUOTAS else None


class Needs(Struct, frozen=True):
    """What an environment takes.

    Attributes:
        takes: by the keys of QUOTAS, INSTANCES and ADDRESSES. Nothing stands there as 0.
        types: how many instances of each type, on demand or not. volume_gib: of all their volumes together.
        unknown: what could not be reckoned, a sentence each.
        short: what cannot be built whatever the quotas are, a sentence each.
    """

    takes: Mapping[str, int]
    types: Mapping[str, int] = field(default_factory=dict)
    volume_gib: int = 0
    unknown: tuple[str, ...] = ()
    short: tuple[str, ...] = ()


def reckon(body: Mapping[str, Any], parameters: Mapping[str, str], region: str = "", account: str = "") -> Needs:
    """Reckons what a stack of this template takes.

    Args:
        body: the template, a dict with short forms written out.
        parameters: all that it is told, Mayfly's own among them.
    """
    reckoning = _Reckoning(Template(body, parameters, region, account))
    if body.get("Transform"):
        reckoning.unknown.append("a transform makes resources that the template does not name")
    for name, resource in reckoning.resources.items():
        if count := _COUNTED.get(resource.get("Type", "")):
            count(reckoning, name, reckoning.template.value(resource.get("Properties") or {}))
    reckoning.takes["stacks"] += 1
    return reckoning.needs()


def corrected(reckoned: Needs, had: Mapping[str, int]) -> Needs:
    """Replaces what was reckoned by what the last environment of the same order really had, where that was counted."""
    takes = {key: count for key, count in {**reckoned.takes, **had}.items() if count > 0}
    return replace(reckoned, takes=takes)


def fingerprint(blueprint: str, version: str | None, parameters: Mapping[str, str], instance_count: int) -> str:
    """The name under which is remembered what an environment had: the same for all that take the same."""
    told = json.dumps([blueprint, version, dict(sorted(parameters.items())), instance_count])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def of_instances(types: Mapping[str, int], volumes: Mapping[str, int], spot: Mapping[str, int]) -> dict[str, int]:
    """What running instances take of the quotas, as EC2 shows them.

    Args:
        types: how many on demand, by instance type. volumes: GiB by volume type. spot: as `types`, of Spot Instances.
    """
    takes: Counter[str] = Counter()
    for kinds, is_spot in ((types, False), (spot, True)):
        for kind, count in kinds.items():
            takes[INSTANCES] += count
            if (quota := vcpu_quota(kind, is_spot)) and (each := vcpus(kind)):
                takes[quota] += each * count
    takes.update({f"{kind}-gib": gib for kind, gib in volumes.items() if f"{kind}-gib" in QUOTAS})
    return dict(takes)


def named(takes: Mapping[str, int]) -> dict[str, int]:
    """What is taken, under names for people."""
    return {QUOTAS[key].name if key in QUOTAS else key: count for key, count in takes.items()}


# ---- how a template's resources are counted ---------------------------------------------------------------------


class _Launch(Struct, frozen=True):
    """What an instance is launched with: possible types, how many instances, and GiB by volume type of each."""

    types: tuple[str, ...]
    volumes: Mapping[str, int]
    interfaces: int = 1


class _Reckoning:
    """What has been counted so far of one template."""

    def __init__(self, template: Template) -> None:
        self.template, self.resources = template, template.resources()
        self.takes: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.zones: Counter[str] = Counter()
        self.volume_gib = 0
        self.unknown: list[str] = []
        self.short: list[str] = []

    def needs(self) -> Needs:
        self.takes["nat-gateways"] = max(self.zones.values(), default=0)
        takes = {key: count for key, count in sorted(self.takes.items()) if count > 0}
        return Needs(takes, dict(self.types), self.volume_gib, tuple(self.unknown), tuple(self.short))

    def number(self, given: Any, default: int, what: str) -> int:
        """A whole number of the template; its default, and a sentence, where it is not known."""
        if given is None:
            return default
        try:
            return int(str(given))
        except ValueError:
            self.unknown.append(f"{what} is not known; {default} is reckoned with")
            return default

    def referred(self, given: Any) -> Mapping[str, Any]:
        """The properties, still with functions in them, of the resource that a value refers to; {} for another's."""
        name = given.get("Ref") or given.get("Fn::GetAtt") if isinstance(given, Mapping) else None
        name = name[0] if isinstance(name, list) else str(name or "").partition(".")[0]
        return self.resources.get(name, {}).get("Properties") or {}

    def launch(self, count: int, launch: _Launch, spot: int, what: str) -> None:
        """Counts instances: of possible types the largest, because each may be chosen."""
        known = [kind for kind in launch.types if vcpus(kind) and vcpu_quota(kind)]
        if len(known) < len(launch.types) or not launch.types:
            self.unknown.append(f"how many vCPUs an instance of {what} has is not known, and not counted")
        for number, is_spot in ((count - spot, False), (spot, True)):
            quotas = {quota for kind in known if (quota := vcpu_quota(kind, is_spot))}
            for quota in quotas:
                largest = max(vcpus(kind) or 0 for kind in known if vcpu_quota(kind, is_spot) == quota)
                self.takes[quota] += number * largest
        if launch.types:
            self.types[launch.types[0]] += count
        self.takes[INSTANCES] += count
        self.takes["network-interfaces"] += count * launch.interfaces
        for kind, gib in launch.volumes.items():
            self.takes[f"{kind}-gib"] += count * gib
            self.volume_gib += count * gib

    def read_launch(self, properties: Mapping[str, Any], what: str) -> _Launch:
        """What a launch template's data, a launch configuration or an instance says."""
        kind = properties.get("InstanceType")
        volumes: Counter[str] = Counter()
        for mapping in properties.get("BlockDeviceMappings") or []:
            ebs = mapping.get("Ebs") or {}
            volumes[str(ebs.get("VolumeType", "gp2"))] += self.number(ebs.get("VolumeSize"), 8, f"a volume of {what}")
        if not volumes:
            self.unknown.append(f"the root volume of {what} is the image's; 8 GiB of gp3 are reckoned with")
            volumes["gp3"] = 8
        return _Launch(
            (str(kind),) if isinstance(kind, str) else (), volumes, len(properties.get("NetworkInterfaces") or [1])
        )

    def addresses(self, subnets: Any, count: int, what: str) -> None:
        """Counts addresses that a group takes of its subnets, evenly; whether the environment's own have so many."""
        given = subnets if isinstance(subnets, list) else []
        shared = [each for each in given if isinstance(each, str) and each.startswith("subnet-")]
        for subnet in shared:
            self.takes[f"{ADDRESSES}{subnet}"] += -(-count // len(given))
        if given and not shared:
            room = sum(_size(self, each) for each in self.resources.values() if each.get("Type") == "AWS::EC2::Subnet")
            if 0 < room < count:
                self.short.append(f"{what} has {count} instances, but the template's subnets {room} addresses")


def _size(reckoning: _Reckoning, subnet: Mapping[str, Any]) -> int:
    """Addresses of a subnet: AWS keeps 5 of each."""
    try:
        return IPv4Network(str(reckoning.template.value(subnet["Properties"]["CidrBlock"]))).num_addresses - 5
    except (KeyError, ValueError):
        return 1 << 16  # a range that is not known is not what is short


def _one(*keys: str) -> Callable[[_Reckoning, str, Mapping[str, Any]], None]:
    """A resource that takes one of each of these."""

    def count(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
        reckoning.takes.update(keys)

    return count


def _nat_gateway(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    subnet = reckoning.referred((reckoning.resources[name].get("Properties") or {}).get("SubnetId"))
    reckoning.zones[str(reckoning.template.value(subnet.get("AvailabilityZone", "")))] += 1
    reckoning.takes["network-interfaces"] += 1


def _endpoint(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    if properties.get("VpcEndpointType", "Gateway") == "Gateway":
        reckoning.takes["gateway-endpoints"] += 1
    else:
        _in_each_subnet(reckoning, name, properties)


def _in_each_subnet(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    given = properties.get("SubnetIds") or properties.get("Subnets") or properties.get("SubnetMappings")
    reckoning.takes["network-interfaces"] += len(given) if isinstance(given, list) else 2


def _load_balancer(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    kind = str(properties.get("Type", "application"))
    if f"{kind}-load-balancers" in QUOTAS:
        reckoning.takes[f"{kind}-load-balancers"] += 1
    _in_each_subnet(reckoning, name, properties)


def _volume(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    kind, size = (
        str(properties.get("VolumeType", "gp2")),
        reckoning.number(properties.get("Size"), 8, f"size of {name}"),
    )
    reckoning.takes[f"{kind}-gib"] += size
    reckoning.volume_gib += size


def _instance(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    written = reckoning.resources[name].get("Properties") or {}
    from_template = _template_data(reckoning, written.get("LaunchTemplate") or {})
    launch = reckoning.read_launch({**from_template, **properties}, name)
    reckoning.launch(1, launch, 0, name)
    if isinstance(subnet := properties.get("SubnetId"), str):
        reckoning.addresses([subnet], 1, name)


def _template_data(reckoning: _Reckoning, specification: Mapping[str, Any]) -> Mapping[str, Any]:
    given = specification.get("LaunchTemplateId") or specification.get("LaunchTemplateName") or {}
    data = reckoning.template.value(reckoning.referred(given).get("LaunchTemplateData") or {})
    return data if isinstance(data, Mapping) else {}


def _group(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    reckoning.takes["auto-scaling-groups"] += 1
    written = reckoning.resources[name].get("Properties") or {}
    least = reckoning.number(properties.get("MinSize"), 0, f"MinSize of {name}")
    count = max(least, reckoning.number(properties.get("DesiredCapacity"), least, f"DesiredCapacity of {name}"))
    if reckoning.number(properties.get("MaxSize"), count, f"MaxSize of {name}") > count:
        reckoning.unknown.append(f"{name} may grow above its {count} instances, to MaxSize; that is not counted")
    policy = properties.get("MixedInstancesPolicy") or {}
    specification = _specification(reckoning, written)
    if configuration := reckoning.referred(written.get("LaunchConfigurationName")):
        data = reckoning.template.value(configuration)
    else:
        data = _template_data(reckoning, specification)
    launch = reckoning.read_launch(data if isinstance(data, Mapping) else {}, name)
    overrides = (policy.get("LaunchTemplate") or {}).get("Overrides") or []
    if kinds := tuple(str(each["InstanceType"]) for each in overrides if "InstanceType" in each):
        launch = replace(launch, types=kinds)
    reckoning.launch(count, launch, _spot(reckoning, policy.get("InstancesDistribution") or {}, count), name)
    reckoning.addresses(properties.get("VPCZoneIdentifier"), count, name)


def _specification(reckoning: _Reckoning, written: Mapping[str, Any]) -> Mapping[str, Any]:
    """Which launch template a group uses, with references still in it."""
    policy = _chosen(reckoning, written.get("MixedInstancesPolicy"))
    mixed = (policy.get("LaunchTemplate") or {}).get("LaunchTemplateSpecification") or {}
    return mixed or _chosen(reckoning, written.get("LaunchTemplate"))


def _chosen(reckoning: _Reckoning, given: Any) -> Mapping[str, Any]:
    """Returns the branch that CloudFormation takes of `Fn::If`, references unresolved; {} where nothing is given."""
    while isinstance(given, Mapping) and "Fn::If" in given:
        condition, then, otherwise = given["Fn::If"]
        given = then if reckoning.template.holds(condition) else otherwise
    return given if isinstance(given, Mapping) and "Ref" not in given else {}


def _spot(reckoning: _Reckoning, distribution: Mapping[str, Any], count: int) -> int:
    """How many of a group's instances are Spot Instances: those on demand are rounded up, as Auto Scaling does."""
    base = min(count, reckoning.number(distribution.get("OnDemandBaseCapacity"), 0, "OnDemandBaseCapacity"))
    share = reckoning.number(distribution.get("OnDemandPercentageAboveBaseCapacity"), 100, "on-demand percentage")
    return count - base - -(-(count - base) * share // 100)


def _nested(reckoning: _Reckoning, name: str, properties: Mapping[str, Any]) -> None:
    reckoning.takes["stacks"] += 1
    reckoning.unknown.append(f"what the nested stack {name} builds is not known before one has been built")


_COUNTED: Mapping[str, Callable[[_Reckoning, str, Mapping[str, Any]], None]] = {
    "AWS::EC2::VPC": _one("vpcs", "security-groups"),  # its default one
    "AWS::EC2::InternetGateway": _one("internet-gateways"),
    "AWS::EC2::EIP": _one("elastic-ips"),
    "AWS::EC2::NatGateway": _nat_gateway,
    "AWS::EC2::VPCEndpoint": _endpoint,
    "AWS::EC2::TransitGatewayAttachment": _in_each_subnet,
    "AWS::EC2::NetworkInterface": _one("network-interfaces"),
    "AWS::EC2::SecurityGroup": _one("security-groups"),
    "AWS::EC2::Volume": _volume,
    "AWS::EC2::Instance": _instance,
    "AWS::AutoScaling::AutoScalingGroup": _group,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _load_balancer,
    "AWS::ElasticLoadBalancingV2::TargetGroup": _one("target-groups"),
    "AWS::RDS::DBInstance": _one("databases", "network-interfaces"),
    "AWS::IAM::Role": _one("roles"),
    "AWS::IAM::InstanceProfile": _one("instance-profiles"),
    "AWS::CloudFormation::Stack": _nested,
}


def exceeding(takes: Mapping[str, int], limits: Mapping[str, int]) -> Iterable[str]:
    """What can never be built: each quota that has less than one environment takes, with both numbers and its code."""
    for key, count in takes.items():
        if key in limits and count > limits[key]:
            yield f"{described(key)} is {limits[key]}, and it needs {count}"


def described(key: str) -> str:
    """A quota for people: its name, and where to ask for more of it."""
    if key in QUOTAS:
        quota = QUOTAS[key]
        return f"the quota {quota.name} ({quota.service}, {quota.code})"
    return f"the room for {key}"
