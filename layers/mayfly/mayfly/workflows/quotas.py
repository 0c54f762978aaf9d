"""Keeps what AWS allows each account and Region, and what others have of it: what bounds those who ask for room."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from boto3.dynamodb.conditions import ConditionBase
from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws import balancers, clients, databases, groups, instances, networks, roles, stacks
from mayfly.aws import quotas as service_quotas
from mayfly.aws.attempts import side_by_side
from mayfly.aws.instances import Instance, plain
from mayfly.aws.records import Conflict, Records, attr, forget_after
from mayfly.contract.orders import Blueprint, Order
from mayfly.domain import room, tags
from mayfly.domain.identity import environment_of
from mayfly.domain.needs import INSTANCES, QUOTAS, Needs, Use, corrected, fingerprint, of_instances
from mayfly.domain.records import Environment, Had, Quotas
from mayfly.settings import Settings
from mayfly.workflows.discovery import Target

type Lists = Callable[[clients.Workload], Iterator[Use]]

_LISTS: Mapping[str, Lists] = {
    "stacks": stacks.used_stacks,
    "vpcs": networks.used_vpcs,
    "internet-gateways": networks.used_internet_gateways,
    "elastic-ips": networks.used_addresses,
    "nat-gateways": networks.used_nat_gateways,
    "gateway-endpoints": networks.used_endpoints,
    "network-interfaces": networks.used_interfaces,
    "security-groups": networks.used_security_groups,
    "auto-scaling-groups": groups.used_groups,
    "application-load-balancers": balancers.used_balancers,
    "network-load-balancers": balancers.used_balancers,
    "target-groups": balancers.used_target_groups,
    "databases": databases.used_databases,
    "roles": roles.used_of_account,
    "instance-profiles": roles.used_of_account,
}

LOOK_SECONDS = 120.0
FIRST_SECONDS = 25.0
"""For how long an environment that asks for room looks itself."""
_HELD_BY = (
    *(Environment.live, Environment.reserved, Environment.account, Environment.ending),
    *(Environment.stage, Environment.instances_built),
)
"""What says which resources count by a reservation."""
_REFUSED = "AccessDenied"
_A_DAY = 86_400
_BY_ZONE = "nat-gateways"


def keep(settings: Settings, records: Sequence[Environment], unseen: Mapping[str, str]) -> None:
    """Reads again, of every target, the quotas of which its environments have something or want it. Where it is refused
    to look, nothing is built meanwhile.

    Args:
        records: of the environments that live. unseen: targets that a sweep could not look at, with why.
    """
    kept = Records(settings.table, Quotas)
    known = {each.id: each for each in kept.many(["/".join(target) for target in settings.targets])}
    open_ = [target for target in settings.targets if "/".join(target) not in unseen]
    found, _ = side_by_side(lambda target: _read_quotas(settings, target, known, records), open_, LOOK_SECONDS)
    looked = {"/".join(target): each for target, each in found.items()}
    for name, why in unseen.items():
        looked[name] = {"closed": f"nothing can be built in {name}: {why}" if _REFUSED in why else ""}
    for name, facts in looked.items():
        seen = known.get(name) or Quotas(id=name)
        if any(getattr(seen, field) != fact for field, fact in facts.items()):
            with suppress(Conflict):  # somebody has looked first meanwhile: the next sweep reads all of it
                kept.change(name, id=name, version=seen.version + 1, only_if=_as_seen(seen), **facts)


def _as_seen(seen: Quotas) -> ConditionBase:
    return attr(Quotas.version).eq(seen.version) if seen.version else attr(Quotas.version).not_exists()


def look_first(settings: Settings, order: Order) -> None:
    """Reads the quotas of which an order takes something and that nobody has read yet: the first that comes to a target
    does not wait for a sweep. Where the account refuses, or does not answer in time, AWS's defaults stand in their
    place, with the reason, until a sweep has read them."""
    kept = Records(settings.table, Quotas)
    targets = [place.target for place in order.demand.places] or [f"{order.account}/{order.region}"]
    known = {each.id: each for each in kept.many(targets)}
    if unread := room.unread(targets, order.demand.takes, known):
        found, failed = side_by_side(lambda name: _first(settings, name, unread[name]), unread, FIRST_SECONDS)
        for name, keys in unread.items():
            refused = Quotas(
                id=name,
                limits={key: QUOTAS[key].most for key in keys},
                unread=dict.fromkeys(keys, failed.get(name, "")),
            )
            _add(kept, known.get(name) or Quotas(id=name), found.get(name, refused))


def _first(settings: Settings, name: str, keys: Sequence[str]) -> Quotas:
    """What a target allows of some quotas, and what others have of them."""
    account, region = name.split("/")
    workload = clients.workload(account, region, settings.workload_role, None)
    limits, unread = _limits(workload, keys)
    records = Records(settings.table, Environment)
    used, uncounted = _used(settings, workload, keys, lambda: list(records.live(_HELD_BY, late=False)))
    return Quotas(id=name, limits=limits, unread=unread, used=used, uncounted=uncounted)


def _add(kept: Records[Quotas], seen: Quotas, found: Quotas) -> None:
    """Adds what somebody has read first to what is known of a target. What others have read meanwhile stays."""
    while new := found.limits.keys() - seen.limits.keys():
        added: dict[str, Any] = {
            name: {**getattr(seen, name), **{key: fact for key, fact in getattr(found, name).items() if key in new}}
            for name in ("limits", "used", "unread", "uncounted")
        }
        try:
            kept.change(seen.id, id=seen.id, version=seen.version + 1, only_if=_as_seen(seen), **added)
            return
        except Conflict as conflict:
            seen = conflict.found or Quotas(id=seen.id)


def _read_quotas(
    settings: Settings, target: Target, known: Mapping[str, Quotas], records: Sequence[Environment]
) -> dict[str, Any]:
    """What a target allows, and what of it others have: whoever holds no reservation. A quota that was read once is
    read on, for who fails at once on it leaves nothing that wants it, however far it is raised."""
    seen = known.get("/".join(target)) or Quotas(id="")
    needed = _needed(record for record in records if target in _targets(record))
    keys = [key for key in QUOTAS if key in needed]
    read = [key for key in QUOTAS if key in needed or key in seen.limits]
    if not read:
        return {"closed": ""}
    workload = clients.workload(*target, settings.workload_role, None)
    limits, unread = _limits(workload, read)
    used, uncounted = _used(settings, workload, keys, lambda: records)
    return {
        "limits": {**seen.limits, **limits},
        "unread": {**{key: why for key, why in seen.unread.items() if key not in read}, **unread},
        "used": {**seen.used, **used},
        "uncounted": uncounted,
        "closed": "",
    }


def _limits(workload: clients.Workload, keys: Iterable[str]) -> tuple[dict[str, int], dict[str, str]]:
    """The most of each quota, and of which AWS does not say it, with why: its default stands in their place."""
    limits, unread = dict[str, int](), dict[str, str]()
    for key in keys:
        try:
            limits[key] = service_quotas.value(workload, QUOTAS[key])
        except (ClientError, BotoCoreError) as error:
            limits[key], unread[key] = QUOTAS[key].most, str(error)
    return limits, unread


def _needed(records: Iterable[Environment]) -> set[str]:
    """The quotas of which environments have something, or want it."""
    needed = set[str]()
    for record in records:
        needed.update((record.wanted.get("demand") or {}).get("takes", ()))
        needed.update(counter.rpartition("|")[2] for counter in record.reserved)
    return needed


def _targets(record: Environment) -> set[Target]:
    """Where an environment has something, or wants it."""
    return {(record.account, record.region), *((str(at["account"]), str(at["region"])) for at in record.places)}


def _used(
    settings: Settings,
    workload: clients.Workload,
    keys: Collection[str],
    living: Callable[[], Sequence[Environment]],
) -> tuple[dict[str, int], dict[str, str]]:
    """What others have of each quota, and of which nobody could count it. An environment's own resources count by its
    reservation, from before they are there until they are gone.

    Args:
        living: the records of the environments that live. They are read after what there is, or an environment that
            is admitted meanwhile would be somebody else.
    """
    listed, uncounted = dict[str, list[Use]](), dict[str, str]()
    vpcs, zones = dict[str, str](), dict[str, str]()
    with suppress(ClientError, BotoCoreError):
        vpcs = _vpcs(workload, settings.controller)
    for look in dict.fromkeys(map(_lists, keys)):
        mine = [key for key in keys if _lists(key) is look]
        try:
            found = [each for each in (look(workload) if look else ()) if each[0] in mine]
            zones |= networks.zones(workload) if mine == [_BY_ZONE] and found else {}
        except (ClientError, BotoCoreError) as error:
            uncounted |= dict.fromkeys(mine, str(error))
        else:
            listed |= {key: [each for each in found if each[0] == key] for key in mine}
    records = living()
    reserved = {record.id for record in records if record.reserved}
    used = dict[str, int]()
    for key, found in listed.items():
        strange = [each for each in found if _owner(each[2], settings.controller, vpcs) not in reserved]
        if key == _BY_ZONE:
            strange = _of_fullest_zone(zones, strange)
        used[key] = sum(count for _, count, _ in strange)
    for key in {"roles", "instance-profiles"} & used.keys():  # IAM does not say whose they are
        used[key] = max(0, used[key] - sum(_stands(record, key) for record in records))
    return used, uncounted


def _of_fullest_zone(zones: Mapping[str, str], found: Iterable[Use]) -> list[Use]:
    """Those of the Availability Zone that has most of them.

    Args:
        zones: by subnet.
    """
    of_zone = defaultdict[str, list[Use]](list)
    for each in found:
        of_zone[zones.get(str(each[2].get("SubnetId")), "")].append(each)
    return max(of_zone.values(), key=len, default=[])


def _owner(resource: Mapping[str, Any], controller: str, vpcs: Mapping[str, str]) -> str:
    """The environment of this controller that a resource belongs to, by its tags, its stack, or the VPC it lies in; ""
    for anybody else's.

    Args:
        vpcs: environments by the ids of their VPCs.
    """
    if "StackName" in resource:
        return environment_of(resource.get("RootId") or resource["StackName"]) or ""
    labels = plain(resource.get("Tags") or resource.get("TagSet") or resource.get("TagList") or ())
    if labels.get(tags.CONTROLLER) == controller:
        return labels.get(tags.ENVIRONMENT, "")
    of = [resource, *resource.get("Attachments", ())]
    return next((vpcs[each["VpcId"]] for each in of if each.get("VpcId") in vpcs), "")


def _vpcs(workload: clients.Workload, controller: str) -> dict[str, str]:
    """The environments of this controller by the ids of their VPCs."""
    found = {
        vpc["VpcId"]: _owner({"Tags": vpc.get("Tags")}, controller, {}) for _, _, vpc in networks.used_vpcs(workload)
    }
    return {vpc: environment for vpc, environment in found.items() if environment}


def _lists(key: str) -> Lists | None:
    """What lists all that counts for a quota, and for others beside it."""
    if "vcpus-" in key:
        return instances.used_instances
    return instances.used_volumes if key.endswith("-gib") else _LISTS.get(key)


def _stands(record: Environment, key: str) -> int:
    """What an environment has of a quota of its account, once all of it stands and as long as nothing is removed."""
    if not record.was_ready or record.ending:
        return 0
    return record.reserved.get(f"{record.account}|{key}", 0)


# ---- what environments really have ------------------------------------------------------------------------------


def correct(table: str, needs: Needs, building: Mapping[str, Any], parameters: Mapping[str, str]) -> Needs:
    """Replaces what was reckoned by what the last environment of the same order had.

    Args:
        building: what an order says of its blueprint.
    """
    blueprint = Blueprint.read(building["blueprint"])
    had = Records(table, Had).get(_name(blueprint, parameters, building["instance_count"]))
    return corrected(needs, had.takes) if had else needs


def learn(settings: Settings, order: Order, running: Sequence[Instance], now: str) -> None:
    """Remembers which instances an environment really has, where others were reckoned: the next one reserves those."""
    takes = order.demand.takes
    spot = Counter(instance.kind for instance in running if instance.spot)
    had = dict.fromkeys((key for key in takes if key == INSTANCES or "vcpus-" in key), 0)
    had |= of_instances(Counter(instance.kind for instance in running if not instance.spot), {}, spot)
    if takes and any(takes.get(key, 0) != count for key, count in had.items()):
        name, records = _name(order.blueprint, order.told, order.instance_count), Records(settings.table, Had)
        until = forget_after(now, settings.record_days)
        known = records.try_get(name)
        # What is known already is written again once a day, or DynamoDB would drop it.
        if known is None or known.takes != had or known.forget_after < until - _A_DAY:
            records.try_change(name, id=name, takes=had, forget_after=until)


def _name(blueprint: Blueprint, parameters: Mapping[str, str], count: int | None) -> str:
    return fingerprint(blueprint.key, blueprint.version_id, parameters, count or 0)
