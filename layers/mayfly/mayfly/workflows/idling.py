"""Ends environments that nobody uses: no request to a load balancer of theirs, no session on an instance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from msgspec import Struct

from mayfly import contract
from mayfly.aws import clients, instances, kill_switch, measurements, sessions, tagging
from mayfly.aws.attempts import going_on
from mayfly.aws.measurements import Measured, Metric
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.vocabulary import EndingCause, Outcome, Wait
from mayfly.domain import tags
from mayfly.domain.idle import IdleAction, IdleDecision, IdlePolicy, Usage, counts_from, decide_idle, is_due
from mayfly.domain.records import Ending, Entry, Environment
from mayfly.domain.timestamp import utc_text
from mayfly.observability import metrics
from mayfly.settings import Settings
from mayfly.workflows import environments, expiry

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload

_WHO = "idle ending"
_FRESH = timedelta(hours=1)
"""A load balancer that CloudWatch has not measured for so long is not known to have had no request."""
_METRICS = {
    "app": (("AWS/ApplicationELB", "RequestCount"), ("AWS/ApplicationELB", "ConsumedLCUs")),
    "net": (("AWS/NetworkELB", "NewFlowCount"), ("AWS/NetworkELB", "ConsumedLCUs")),
}
"""By the kind of a load balancer, what counts as its use, its health checks not among it; and what CloudWatch has of
every one, whether anybody uses it or not."""


class Case(Struct, frozen=True):
    """An environment that may be idle, since when, and by which policy."""

    record: Environment
    since: datetime
    policy: IdlePolicy

    @property
    def target(self) -> tuple[str, str]:
        """Its account and Region."""
        return self.record.account, self.record.region


def end_idle(
    settings: Settings, now: datetime, applications: Mapping[str, object], used: Iterable[Environment]
) -> list[dict[str, str]]:
    """Looks at those that may be idle, and warns of it or ends them. Nothing is asked of AWS before that is due.

    Args:
        applications: as they are configured, by name. used: what people use, as far as shelves show it.
    """
    done: list[dict[str, str]] = []
    cases = sorted(due(now, applications, used), key=lambda case: case.target)
    for (account, region), here in groupby(cases, key=lambda case: case.target):
        with going_on(f"{account}/{region}"):
            done += end_idle_at(settings, now, clients.workload(account, region, settings.workload_role, None), [*here])
    return done


def due(now: datetime, applications: Mapping[str, object], used: Iterable[Environment]) -> Iterator[Case]:
    """Returns those that have been idle for almost as long as their application says, as far as their records know."""
    for record in used:
        application, since = applications.get(record.application), counts_from(record)
        if isinstance(application, contract.configuration.Application) and application.end_when_idle_minutes and since:
            warning = timedelta(minutes=min(application.warn_minutes_before, default=_WARN_MINUTES))
            policy = IdlePolicy(timedelta(minutes=application.end_when_idle_minutes), warning)
            if is_due(now, since, policy):
                yield Case(record, since, policy)


_WARN_MINUTES = 30


def end_idle_at(settings: Settings, now: datetime, workload: Workload, cases: Sequence[Case]) -> list[dict[str, str]]:
    """Looks at those of one account and Region, in few calls."""
    names = [case.record.id for case in cases]
    metrics.add_metric(name="IdleLooks", unit="Count", value=len(names))
    usages = usage_of(workload, settings.controller, names, min(case.since for case in cases), now)
    done = []
    for case in cases:
        with going_on(case.record.id):
            warned = case.record.idle_warned_at
            warned_at = datetime.fromisoformat(warned) if warned else None
            decision = decide_idle(now, case.since, warned_at, usages[case.record.id], case.policy)
            carry_out(settings, now, case.record.id, decision)
            done.append({"environment": case.record.id, "action": decision.action.value, "reason": decision.reason})
    return done


def usage_of(
    workload: Workload, controller: str, names: Collection[str], since: datetime, now: datetime
) -> dict[str, Usage]:
    """Tells when each environment was used last, by CloudWatch's and Systems Manager's word."""
    balancers = _balancers(workload, controller, names)
    asked = [metric for named in balancers.values() for one in named for metric in _metrics_of(one)]
    measured = measurements.measured(workload, asked, since, now)
    opened = sessions.last_used(workload, since, now)
    tagged = instances.named(workload, names) if opened else {}
    return {
        name: _usage(
            balancers.get(name, []), measured, now, [opened[one] for one in tagged.get(name, ()) if one in opened]
        )
        for name in names
    }


def _usage(
    balancers: Sequence[str], measured: Mapping[Metric, Measured], now: datetime, opened: Sequence[datetime]
) -> Usage:
    if not balancers:
        return Usage(unknown="it has no load balancer: AWS does not say whether anybody uses it")
    used = [*opened]
    for each in balancers:
        known = [measured[metric] for metric in _metrics_of(each) if metric in measured]
        if not known or now - max(one.last for one in known) > _FRESH:
            return Usage(unknown=f"CloudWatch has no measurements of {each}")
        requests = measured.get(_metrics_of(each)[0])
        used += [requests.above_zero] if requests and requests.above_zero else []
    return Usage(max(used, default=None))


def _metrics_of(balancer: str) -> list[Metric]:
    """Returns the metrics of a load balancer, its requests first; none of a kind that has others."""
    dimensions = (("LoadBalancer", balancer),)
    return [Metric(*named, dimensions) for named in _METRICS.get(balancer.partition("/")[0], ())]


def _balancers(workload: Workload, controller: str, names: Collection[str]) -> dict[str, list[str]]:
    """Returns the load balancers of each environment, as metrics name them: ``app/web/50dc6c495c0c9188``."""
    found: dict[str, list[str]] = {}
    tagged = tagging.of_environments(workload, controller, names, ["elasticloadbalancing:loadbalancer"])
    for arn, labels in tagged.items():
        found.setdefault(labels[tags.ENVIRONMENT], []).append(arn.partition(":loadbalancer/")[2])
    return found


def carry_out(settings: Settings, now: datetime, environment: str, decision: IdleDecision) -> None:
    """Does what is decided, unless it has been extended, put to sleep or ended in the meantime: who extends it wins."""
    records = Records(settings.table, Environment)
    record = records.get(environment)
    if record is None or record.ending or counts_from(record) is None or not record.waits_for(Wait.TESTS):
        return
    match decision.action:
        case IdleAction.NOTE:
            records.change(environment, used_at=utc_text(decision.at), only_if=environments.NOT_ENDED)
        case IdleAction.WARN:
            expiry.warn_idle(settings, now, record, decision)
        case IdleAction.END if kill_switch.read(settings.parameters) == kill_switch.OFF:
            _end(records, now, record, decision)


def _end(records: Records[Environment], now: datetime, record: Environment, decision: IdleDecision) -> None:
    ending = Ending(EndingCause.IDLE, Outcome.EXPIRED, decision.reason, utc_text(now))
    entry = Entry(utc_text(now), _WHO, "ended", decision.reason)
    only_if = environments.NOT_ENDED & attr(Environment.extensions).not_exists()
    try:
        ended = records.change(record.id, entry, ending=ending, only_if=only_if)
    except Conflict:
        return
    if ended:
        metrics.add_metric(name="IdleEnded", unit="Count", value=1)
        environments.wake(ended, ending)
