"""Records what is seen of each permanent environment, and compares it with what is wanted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mayfly import contract
from mayfly.aws import clients, kill_switch, stacks
from mayfly.aws.events import announce
from mayfly.aws.records import Records, forget_after
from mayfly.contract.announcements import ServiceDrifted
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import UNKNOWN, ServiceStage
from mayfly.domain import tags
from mayfly.domain.identity import service_id
from mayfly.domain.records import Entry, plain
from mayfly.domain.records import Service as ServiceRecord
from mayfly.domain.rollout import RolloutRules, Setup, Standing, odd
from mayfly.domain.timestamp import utc_text
from mayfly.settings import Settings
from mayfly.workflows import catalogue, services
from mayfly.workflows.services import Seen

if TYPE_CHECKING:
    from mayfly.contract.configuration import Application, ImageChoice, Permanent, RolloutPolicy

_DRIFT_EVERY = timedelta(hours=6)
"""Between two comparisons of a service with its blueprint."""

_DRIFTS_KEPT = 100
"""Lines of what differs that a record has room for."""


class Service(Struct, frozen=True):
    """A permanent environment as it is configured, and its target."""

    application: str
    owner: Application
    own: Permanent
    target: tuple[str, str]

    @property
    def id(self) -> str:
        """Its name everywhere."""
        return service_id(self.application, self.own.name)

    @property
    def image(self) -> ImageChoice:
        """Names the channel that the service follows. Whoever configures permanent environments names an image."""
        family = self.owner.image.family if self.owner.image else UNKNOWN
        return contract.configuration.ImageChoice(family=family, channel=self.own.channel)


def of(settings: Settings, name: str, application: Application, own: Permanent) -> Service:
    """Returns a configured service.

    Raises:
        Refused: its target is none that is configured.
    """
    target = catalogue.target(settings, own.account or application.account, own.region or application.region)
    return Service(name, application, own, target)


def forget(settings: Settings, record: ServiceRecord, now: datetime) -> bool:
    """Ends the record of a service that is not configured any more, once a person has deleted its stack."""
    if record.account is None or record.region is None:
        return False
    workload = clients.workload(record.account, record.region, settings.workload_role, record.id, tags.SERVICE)
    if services.describe_service(workload, record.id, settings.controller):
        return False
    entry = Entry(utc_text(now), "plan", ServiceStage.REMOVED, "it is not configured any more, and its stack is gone")
    until = forget_after(utc_text(now), settings.record_days)
    Records(settings.table, ServiceRecord).change(
        record.id, entry, stage=ServiceStage.REMOVED, forget_after=until, drop=(ServiceRecord.live,)
    )
    return True


def remember(settings: Settings, service: Service, now: datetime) -> tuple[Seen | None, ServiceRecord]:
    """Looks at a service, and writes down what was seen of it."""
    workload = clients.workload(*service.target, settings.workload_role, service.id, tags.SERVICE)
    seen = services.describe_service(workload, service.id, settings.controller)
    records = Records(settings.table, ServiceRecord)
    facts: dict[str, Any] = {
        "application": service.application,
        "name": service.own.name,
        "account": service.target[0],
        "region": service.target[1],
        "channel": f"{service.image.family}/{service.image.channel}",
        "seen_at": utc_text(now),
        "may_sleep": service.own.kind == "staging",
    }
    facts |= _facts(seen)
    born: dict[str, Any] = {"id": service.id, "live": ServiceRecord.kind.value, "stage": ServiceStage.PLANNED}
    record = records.change(service.id, once=born | {"drift": ()}, **facts)
    if record is None:
        raise RuntimeError("the table is lost: nothing is rolled out without a record")
    if seen and not record.rollout and not record.sleep:  # asleep, its groups differ from the blueprint
        record = _compare(settings, workload, seen, record, now) or record
    return seen, record


def _facts(seen: Seen | None) -> dict[str, Any]:
    if seen is None or not seen.group:
        return {"instance_count": 0, "odd": []}
    oldest = min((member.launched_at for member in seen.members), default=None)
    return {
        "instance_count": len(seen.members),
        "odd": odd(seen.members, seen.pinned, seen.group_template)[:_DRIFTS_KEPT],
        "url": seen.stack.outputs.get("Url", ""),
    } | ({"oldest_instance_at": utc_text(oldest)} if oldest else {})


def _compare(
    settings: Settings, workload: clients.Workload, seen: Seen, record: ServiceRecord, now: datetime
) -> ServiceRecord | None:
    """Reads what CloudFormation has found to differ since it was asked, and asks anew from time to time."""
    records, changes = Records(settings.table, ServiceRecord), dict[str, Any]()
    if record.detection:
        found = stacks.drift(workload, seen.stack.id, record.detection)
        if found is None:
            return record
        changes = {"drift": found[:_DRIFTS_KEPT], "drift_at": record.detected_at}
        if found and tuple(found[:_DRIFTS_KEPT]) != record.drift:
            announce(settings.facts, ServiceDrifted(service=record.id, drift=tuple(found)))
    at = record.detected_at
    due = at is None or now >= datetime.fromisoformat(at) + _DRIFT_EVERY
    if due and seen.group and seen.stack.status in services.READY:
        asked = stacks.detect_drift(workload, seen.stack.id)
        return records.change(record.id, **changes | {"detection": asked, "detected_at": utc_text(now)})
    return records.change(record.id, drop=(ServiceRecord.detection,), **changes) if changes else record


def standing(settings: Settings, service: Service, seen: Seen | None, record: ServiceRecord) -> Standing:
    """Returns a service as it stands, for the decision about it."""
    wanted, lacking = _wanted(settings, service, record)
    current, otherwise = services.stands(seen, record) if seen else (None, "")
    oldest, pending = record.oldest_instance_at, record.pending
    return Standing(
        current=current,
        previous=record.previous,
        wanted=wanted,
        lacking=lacking,
        running=record.rollout,
        pending=pending.to if pending else None,
        approved=pending is not None and record.approved == pending.id,
        refused=record.refused,
        held=record.held or otherwise or ("its stack is gone" if record.setup and not seen else ""),
        asked=record.asked.to if record.asked else None,
        oldest=datetime.fromisoformat(oldest) if oldest and seen and not record.sleep else None,
        odd=record.odd,
        failed_at=datetime.fromisoformat(record.failed_at) if record.failed_at else None,
        firing=seen.firing if seen else (),
        asleep=record.sleep is not None,
    )


def _wanted(settings: Settings, service: Service, record: ServiceRecord) -> tuple[Setup | None, str]:
    """Returns the setup that a service should have, or what is missing for it."""
    passed = plain(record.passed) or record.setup
    if not passed:
        return None, f"no release of {service.application} has passed yet"
    try:
        image = catalogue.image(settings, service.image, service.target[1])
        blueprint = catalogue.pin(settings.blueprints, service.own.blueprint).plain()
    except Refused as refusal:
        return None, str(refusal)
    return {
        "image": image,
        "version": passed["version"],
        "artifact": passed["artifact"],
        "blueprint": blueprint,
        "parameters": service.own.parameters,
        "instance_count": service.own.instance_count,
    }, ""


def rules(settings: Settings, configured: RolloutPolicy) -> RolloutRules:
    """Tells how a service is rolled out, in the words of the domain, and whether the kill switch is on."""
    said = kill_switch.read(settings.parameters)
    return RolloutRules(
        configured.when == "approved",
        configured.window.hours() if configured.window else None,
        timedelta(days=configured.max_days),
        configured.drift == "replace",
        "" if said == kill_switch.OFF else f"the kill switch is on: {said}",
    )
