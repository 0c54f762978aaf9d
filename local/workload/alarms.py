"""CloudWatch alarms on what load balancers and Auto Scaling groups measure. moto stores alarms, knows none in
CloudFormation, and never changes the state of one.

An alarm is judged at the end of each minute, one minute after the other, also those that a jump of the clock skips.
A metric that only appears when it is not zero (all but the host counts) is missing otherwise, as on AWS.
"""

from __future__ import annotations

import threading
from typing import Any

from moto.cloudwatch.models import Alarm, cloudwatch_backends
from moto.core.common_models import CloudFormationModel

from local.workload.delivery import Say, ServiceEvent
from local.workload.traffic import PERIOD, Periods, Stat, Wire

BALANCERS, GROUPS = "AWS/ApplicationELB", "AWS/AutoScaling"
COMPARISONS = {
    "GreaterThanOrEqualToThreshold": float.__ge__,
    "GreaterThanThreshold": float.__gt__,
    "LessThanThreshold": float.__lt__,
    "LessThanOrEqualToThreshold": float.__le__,
}
ALARM, OK, NO_DATA = "ALARM", "OK", "INSUFFICIENT_DATA"


class StackAlarm(CloudFormationModel):
    """`AWS::CloudWatch::Alarm` of a template."""

    def __init__(self, name: str, properties: dict[str, Any], account: str, region: str) -> None:
        self.name = name
        self._backend = cloudwatch_backends[account][region]
        self.put(properties)

    def put(self, properties: dict[str, Any]) -> None:
        """Make the alarm what the properties say; a new one has no data yet."""
        before = self._backend.alarms.get(self.name)
        alarm = self._backend.put_metric_alarm(
            name=self.name,
            namespace=properties.get("Namespace", ""),
            metric_name=properties.get("MetricName", ""),
            comparison_operator=properties["ComparisonOperator"],
            evaluation_periods=int(properties["EvaluationPeriods"]),
            datapoints_to_alarm=int(properties.get("DatapointsToAlarm", properties["EvaluationPeriods"])),
            period=int(properties.get("Period", PERIOD)),
            threshold=float(properties.get("Threshold", 0)),
            statistic=properties.get("Statistic", ""),
            description=properties.get("AlarmDescription", ""),
            dimensions=properties.get("Dimensions", []),
            alarm_actions=properties.get("AlarmActions", []),
            treat_missing_data=properties.get("TreatMissingData"),
            tags=properties.get("Tags"),
        )
        alarm.state_value = before.state_value if before else NO_DATA

    @property
    def alarm(self) -> Alarm | None:
        """As it is now; None if somebody deleted it."""
        return self._backend.alarms.get(self.name)

    @property
    def physical_resource_id(self) -> str:
        return self.name

    @staticmethod
    def cloudformation_name_type() -> str:
        return "AlarmName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudWatch::Alarm"

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "Arn"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return str(self._backend.alarms[self.name].alarm_arn)

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any
    ) -> StackAlarm:
        return cls(resource_name, cloudformation_json["Properties"], account_id, region_name)

    @classmethod
    def update_from_cloudformation_json(  # type: ignore[override]
        cls, original_resource: StackAlarm, cloudformation_json: Any, **_: Any
    ) -> StackAlarm:
        original_resource.put(cloudformation_json["Properties"])
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        """With the stack."""
        self._backend.delete_alarms([self.name])


class Alarms:
    """Judges the alarms of all accounts."""

    def __init__(self, wire: Wire, lock: threading.RLock, say: Say) -> None:
        self._wire, self._lock, self._say = wire, lock, say
        self._judged = int(wire.clock.time() // PERIOD)

    def tick(self, now: float) -> None:
        """Judge the minutes that have ended since the last look."""
        current = int(now // PERIOD)
        if current == self._judged:
            return
        with self._lock:
            watched = [
                (account, region, alarm)
                for account, regions in cloudwatch_backends.items()
                for region, backend in regions.items()
                for alarm in backend.alarms.values()
                if alarm.namespace in (BALANCERS, GROUPS)
            ]
            for minute in range(max(self._judged + 1, current - 24 * 60), current + 1):
                for account, region, alarm in watched:
                    self._judge(account, region, alarm, minute)
        self._judged = current

    def _judge(self, account: str, region: str, alarm: Alarm, minute: int) -> None:
        values = self._values(alarm, minute)
        state = _state(alarm, values)
        if state == alarm.state_value:
            return
        known = [value for value in values if value is not None]
        reason = (
            f"Threshold Crossed: datapoints {known} were judged with {alarm.comparison_operator} {alarm.threshold}."
        )
        before = alarm.state_value
        alarm.update_state(reason, "{}", state)
        self._say(
            ServiceEvent(
                source="aws.cloudwatch",
                detail_type="CloudWatch Alarm State Change",
                account=account,
                region=region,
                resource=alarm.alarm_arn,
                detail={
                    "alarmName": alarm.name,
                    "state": {"value": state, "reason": reason, "timestamp": self._wire.clock.iso()},
                    "previousState": {"value": before},
                },
                status=state,
                environment=None,
            )
        )

    def _values(self, alarm: Alarm, minute: int) -> list[float | None]:
        """The datapoints that count, the oldest first; None for one that is missing."""
        minutes = max(1, int(alarm.period) // PERIOD)
        statistic = alarm.statistic or "Average"
        dimensions = {str(one.name): str(one.value) for one in alarm.dimensions}
        periods = [self._wire.groups[dimensions["AutoScalingGroupName"]]] if alarm.namespace == GROUPS else []
        periods = periods or self._periods(dimensions)
        values: list[float | None] = []
        for back in range(int(alarm.evaluation_periods), 0, -1):
            merged = Stat()
            for number in range(minute - back * minutes, minute - (back - 1) * minutes):
                for balancer in periods:
                    _merge(merged, balancer.get(number, {}).get(alarm.metric_name))
            values.append(merged.value(statistic) if merged.count else None)
        return values

    def _periods(self, dimensions: dict[str, str]) -> list[Periods]:
        group, balancer = dimensions.get("TargetGroup"), dimensions.get("LoadBalancer")
        return [
            one.periods
            for arn, one in list(self._wire.balancers.items())
            if (group is None or arn.endswith(f":{group}")) and (balancer is None or one.name == balancer)
        ]


def _merge(into: Stat, other: Stat | None) -> None:
    if other:
        into.total, into.count = into.total + other.total, into.count + other.count
        into.least, into.most = min(into.least, other.least), max(into.most, other.most)


def _state(alarm: Alarm, values: list[float | None]) -> str:
    """What CloudWatch says of these datapoints."""
    missing = alarm.treat_missing_data or "missing"
    compare, needed = COMPARISONS[alarm.comparison_operator], int(alarm.datapoints_to_alarm or alarm.evaluation_periods)
    if all(value is None for value in values) and missing in ("missing", "ignore"):
        return NO_DATA if missing == "missing" else alarm.state_value
    breaching = sum(
        missing == "breaching" if value is None else compare(float(value), float(alarm.threshold)) for value in values
    )
    return ALARM if breaching >= needed else OK
