"""Drift detection, which moto lacks: what a stack's resources are, compared to what the stack last made of them.

As on AWS only what the template says is compared, and resources of other types are left out.
"""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from typing import Any

from moto.autoscaling.models import FakeAutoScalingGroup
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.models.security_groups import SecurityGroup
from moto.elbv2.models import FakeTargetGroup

from local.workload import mixed
from local.workload.alarms import StackAlarm
from local.workload.stacks import Life, Stacks, replace

Json = dict[str, Any]


class Drift:
    """The detections of all stacks."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self._detections: dict[str, Json] = {}
        self._drifts: dict[str, list[Json]] = {}  # stack id -> of its last detection

    def install(self) -> None:
        """Give moto's CloudFormation the four calls."""
        drift = self

        def life_of(response: Any) -> Life:
            stack = response.cloudformation_backend.get_stack(response._get_param("StackName"))
            life = drift._stacks.life(stack.stack_id)
            if life is None:
                raise ValidationError(message=f"Stack:{stack.stack_id} was not created by CreateStack: no drift here")
            return life

        def detect_stack_drift(response: Any) -> ActionResult:
            names = response._get_param("LogicalResourceIds", [])
            return ActionResult({"StackDriftDetectionId": drift.detect(life_of(response), names)})

        def describe_stack_drift_detection_status(response: Any) -> ActionResult:
            return ActionResult(drift._detections[response._get_param("StackDriftDetectionId")])

        def describe_stack_resource_drifts(response: Any) -> ActionResult:
            wanted = response._get_param("StackResourceDriftStatusFilters", [])
            found = drift._drifts.get(life_of(response).stack.stack_id, [])
            shown = [one for one in found if not wanted or one["StackResourceDriftStatus"] in wanted]
            return ActionResult({"StackResourceDrifts": shown})

        def detect_stack_resource_drift(response: Any) -> ActionResult:
            life, name = life_of(response), response._get_param("LogicalResourceId")
            return ActionResult({"StackResourceDrift": drift._compare(life, name)})

        replace(
            CloudFormationResponse,
            detect_stack_drift=detect_stack_drift,
            describe_stack_drift_detection_status=describe_stack_drift_detection_status,
            describe_stack_resource_drifts=describe_stack_resource_drifts,
            detect_stack_resource_drift=detect_stack_resource_drift,
        )

    def detect(self, life: Life, names: list[str]) -> str:
        """Compare a stack's resources; returns the id of the detection."""
        found = [
            drift
            for name in (names or life.properties)
            if (drift := self._compare(life, name))["StackResourceDriftStatus"] != "NOT_CHECKED"
        ]
        self._drifts[life.stack.stack_id] = found
        drifted = sum(one["StackResourceDriftStatus"] != "IN_SYNC" for one in found)
        detection = str(uuid.uuid4())
        self._detections[detection] = {
            "StackId": life.stack.stack_id,
            "StackDriftDetectionId": detection,
            "StackDriftStatus": "DRIFTED" if drifted else "IN_SYNC",
            "DetectionStatus": "DETECTION_COMPLETE",
            "DriftedStackResourceCount": drifted,
            "Timestamp": self._stacks.clock.now(),
        }
        return detection

    def _compare(self, life: Life, name: str) -> Json:
        resource = life.stack.resource_map._parsed_resources.get(name)
        kind = life.stack.template_dict["Resources"][name]["Type"]
        drift: Json = {
            "StackId": life.stack.stack_id,
            "LogicalResourceId": name,
            "PhysicalResourceId": str(getattr(resource, "physical_resource_id", "")),
            "ResourceType": kind,
            "Timestamp": self._stacks.clock.now(),
        }
        look = next((look for type_, look in LOOKS.items() if isinstance(resource, type_)), None)
        expected = copy.deepcopy(life.properties.get(name))
        if look is None or expected is None:
            return drift | {"StackResourceDriftStatus": "NOT_CHECKED"}
        actual = look(resource, expected, life)
        if actual is None:
            return drift | {"StackResourceDriftStatus": "DELETED"}
        expected = {key: expected[key] for key in actual}
        differences = list(_differences("", expected, actual))
        return drift | {
            "StackResourceDriftStatus": "MODIFIED" if differences else "IN_SYNC",
            "ExpectedProperties": json.dumps(expected),
            "ActualProperties": json.dumps(actual),
            "PropertyDifferences": differences,
        }


# ---- what resources are now: the properties that can be compared; None if it is gone -------------------


def _launch_template(template: Any, expected: Json, life: Life) -> Json | None:
    if template.id not in template.ec2_backend.launch_templates:
        return None
    data = dict(template.latest_version().data)
    if data.get("UserData") is not None:
        data["UserData"] = data["UserData"].as_bytes().decode()
    return {"LaunchTemplateData": {key: value for key, value in data.items() if value is not None}}


def _group(group: Any, expected: Json, life: Life) -> Json | None:
    if group.name not in group.autoscaling_backend.autoscaling_groups:
        return None
    actual = {
        "MinSize": group.min_size,
        "MaxSize": group.max_size,
        "DesiredCapacity": group.desired_capacity,
        "VPCZoneIdentifier": (group.vpc_zone_identifier or "").split(","),
        "TargetGroupARNs": group.target_group_arns,
        "HealthCheckType": group.health_check_type,
        "HealthCheckGracePeriod": group.health_check_grace_period,
        "DefaultInstanceWarmup": group.default_instance_warmup,
    }
    if "LaunchTemplate" in expected:
        shown = group.launch_template or {}
        actual["LaunchTemplate"] = {key: shown.get(key) for key in expected["LaunchTemplate"]}
    if "MixedInstancesPolicy" in expected:
        policy = group.mixed_instances_policy or {}
        template = dict(policy.get("LaunchTemplate") or {})
        template["LaunchTemplateSpecification"] = mixed.named(template.get("LaunchTemplateSpecification") or {})
        actual["MixedInstancesPolicy"] = {**policy, "LaunchTemplate": template}
    return {key: value for key, value in actual.items() if key in expected}


def _target_group(group: Any, expected: Json, life: Life) -> Json | None:
    from moto.elbv2.models import elbv2_backends

    if group.arn not in elbv2_backends[group.account_id][group.region_name].target_groups:
        return None
    actual = {
        "Port": group.port,
        "Protocol": group.protocol,
        "HealthCheckPath": group.health_check_path,
        "HealthCheckIntervalSeconds": group.health_check_interval_seconds,
        "HealthCheckTimeoutSeconds": group.health_check_timeout_seconds,
        "HealthyThresholdCount": group.healthy_threshold_count,
        "UnhealthyThresholdCount": group.unhealthy_threshold_count,
        "TargetGroupAttributes": [
            {"Key": one["Key"], "Value": group.attributes.get(one["Key"])}
            for one in expected.get("TargetGroupAttributes", [])
        ],
    }
    return {key: value for key, value in actual.items() if key in expected}


def _security_group(group: Any, expected: Json, life: Life) -> Json | None:
    """Rules that separate resources of the same stack add are no drift; without egress rules AWS makes one."""
    if ec2_backends[life.stack.account_id][life.stack.region_name].get_security_group_from_id(group.id) is None:
        return None
    definitions = life.stack.template_dict["Resources"]
    separate = [
        _rule(own)
        for name, own in life.properties.items()
        if own and definitions[name]["Type"] in SEPARATE_RULES and own.get("GroupId") == group.id
    ]
    actual: Json = {}
    for key, rules in (("SecurityGroupIngress", group.ingress_rules), ("SecurityGroupEgress", group.egress_rules)):
        declared = expected.setdefault(key, []) if key == "SecurityGroupIngress" else expected.get(key)
        if declared is None:
            continue
        found = [one for rule in rules if (one := _found_rule(rule)) not in separate]
        # In the template's words and order as far as they agree, so that only what differs shows.
        actual[key] = [rule for rule in declared if _rule(rule) in found]
        actual[key] += [one for one in found if one not in [_rule(rule) for rule in declared]]
    return actual


def _rule(rule: Json) -> Json:
    """What makes a rule in a template, descriptions aside."""
    peer = next((rule[key] for key in PEERS if rule.get(key)), None)
    ports = {key: None if rule.get(key) is None else int(rule[key]) for key in ("FromPort", "ToPort")}
    return {"IpProtocol": str(rule["IpProtocol"]), **ports, "Peer": peer}


def _found_rule(rule: Any) -> Json:
    peer = rule.cidr_ipv4 or rule.cidr_ipv6 or rule.source_group.get("GroupId")
    return {
        "IpProtocol": str(rule.ip_protocol),
        "FromPort": rule.from_port,
        "ToPort": rule.to_port,
        "Peer": peer,
    }


SEPARATE_RULES = ("AWS::EC2::SecurityGroupIngress", "AWS::EC2::SecurityGroupEgress")
PEERS = ("CidrIp", "CidrIpv6", "SourceSecurityGroupId", "DestinationSecurityGroupId")


def _alarm(resource: Any, expected: Json, life: Life) -> Json | None:
    alarm = resource.alarm
    if alarm is None:
        return None
    actual = {
        "MetricName": alarm.metric_name,
        "Namespace": alarm.namespace,
        "ComparisonOperator": alarm.comparison_operator,
        "EvaluationPeriods": alarm.evaluation_periods,
        "Period": alarm.period,
        "Statistic": alarm.statistic,
        "Threshold": alarm.threshold,
        "TreatMissingData": alarm.treat_missing_data,
    }
    return {key: value for key, value in actual.items() if key in expected}


LOOKS: dict[type, Callable[[Any, Json, Life], Json | None]] = {
    LaunchTemplate: _launch_template,
    FakeAutoScalingGroup: _group,
    FakeTargetGroup: _target_group,
    SecurityGroup: _security_group,
    StackAlarm: _alarm,
}


def _differences(path: str, expected: Any, actual: Any) -> list[Json]:
    """Leaf by leaf; numbers and texts are the same if they look the same, as in a template."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        keys = [*expected, *(key for key in actual if key not in expected)]
        return [one for key in keys for one in _differences(f"{path}/{key}", expected.get(key), actual.get(key))]
    if isinstance(expected, list) and isinstance(actual, list):
        places = range(max(len(expected), len(actual)))
        pairs = [(_at(expected, place), _at(actual, place)) for place in places]
        return [one for place, pair in enumerate(pairs) for one in _differences(f"{path}/{place}", *pair)]
    if _text(expected) == _text(actual):
        return []
    kind = "ADD" if expected is None else "REMOVE" if actual is None else "NOT_EQUAL"
    return [
        {
            "PropertyPath": path,
            "ExpectedValue": _text(expected) or "null",
            "ActualValue": _text(actual) or "null",
            "DifferenceType": kind,
        }
    ]


def _at(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool | str):
        return str(value).lower() if isinstance(value, bool) or value in ("True", "False") else value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else json.dumps(value)
