"""Admission: reserves room for environments before they are built, lets others wait in a fair queue, and wakes them.

The ledger is one record, and whoever changes it writes it as it was seen: of two that ask at once, the slower decides
again. What was reserved stands in the environment's record as well, so a reservation that outlived whoever made it is
found and freed by a sweep. Who waits has its task token in its own record, and costs nothing until it is woken.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import ConditionBase
from msgspec import Struct
from msgspec.structs import asdict, replace

from mayfly.aws import executions
from mayfly.aws.attempts import going_on
from mayfly.aws.events import announce
from mayfly.aws.records import NEW, Conflict, Records, attr
from mayfly.contract.announcements import EnvironmentQueued, RoomRunningLow
from mayfly.contract.orders import Demand, Order, Place
from mayfly.contract.vocabulary import UNKNOWN, EnvironmentStage, SuiteKind, Wait
from mayfly.domain import room
from mayfly.domain.cost import cost
from mayfly.domain.identity import MOST_RETRIES, environment_id, repetitions
from mayfly.domain.needs import INSTANCES, Needs
from mayfly.domain.records import Entry, Environment, Ledger, Low, Quotas, Waiting
from mayfly.domain.room import Admitted, Bucket, Decision, Room, Wanted
from mayfly.domain.stack import TaskResult
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.prices import list_prices
from mayfly.settings import Settings
from mayfly.workflows import environments

if TYPE_CHECKING:
    from mayfly.contract.configuration import Admission, Application

_LEDGER = "room"
_TRIES = 10
_MOST_WAITING, _MOST_OF_ONE = 3000, 1000
"""Names in a queue, and those of one application among them: the ledger is one item of DynamoDB, and nobody keeps all
others from waiting."""
_WRITTEN = ("counts", "clocks", "queue", "holding", "mean_seconds", "launches", "warned", "unsaid")
_DAY = len("2026-11-24")
_SMOOTH = 9
"""How many of the last environments, and one, how long rooms are held is a mean of, about."""
HOTFIX, ORDINARY = 9, 5
"""Priorities."""


class NeverFits(Exception):
    """An environment takes more than its ceilings or budgets ever allow. The message says which, and by how much."""


class OverCeiling(Exception):
    """An environment does not fit below a ceiling, or into a budget, that refuses then. The message says which."""


class QueueFull(Exception):
    """More environments wait than a queue has room for."""


class LedgerBusy(Exception):
    """Many others ask at the same time. Repeating it a little later gets through."""


class InQueue(Struct, frozen=True):
    """Where an environment stands in the queue.

    Attributes:
        position: from 1. lacks: what it waits for, with both numbers. behind: who is before it; "" for the first.
        about_minutes: how long that takes: until EC2 has its tokens where it lacks nothing else, otherwise by how long
            others have had their room; None where none has ended yet.
    """

    position: int
    lacks: str
    behind: str
    about_minutes: int | None


class _Returned(Struct, frozen=True):
    """What is given back: counters, and for how many seconds they were held, where that is known."""

    holds: Mapping[str, int]
    seconds: int | None = None


class _Asking(Struct, frozen=True):
    """An environment that asks for room, with what its record says."""

    id: str
    release: str
    application: str
    owner: str
    home: tuple[str, str]
    since: str
    virtual: int | None
    demand: Demand
    token: str
    lifetime: timedelta
    ceiling: timedelta

    @property
    def targets(self) -> tuple[str, ...]:
        """Where it may be built, the best first."""
        return tuple(each.target for each in self.demand.places) or ("/".join(self.home),)

    @property
    def buckets(self) -> dict[str, Bucket]:
        """EC2's by target, as they were when its release was planned."""
        if not self.demand.places:
            return {self.targets[0]: Bucket(self.demand.burst, self.demand.launches_a_second)}
        return {each.target: Bucket(each.burst, each.launches_a_second) for each in self.demand.places}

    def at(self, clocks: Mapping[str, int]) -> _Asking:
        """The same, which asks for the first time now, at these clocks."""
        return self if self.virtual is not None else replace(self, virtual=clocks.get(room.ALL, 0))

    def wanted(self, now: datetime) -> Wanted:
        """What is decided about. What it costs counts for the budgets of the day and the month in which it begins."""
        day, month = utc_text(now)[:10], utc_text(now)[:7]
        cents = self.demand.cents
        return Wanted(
            self.id,
            self.application,
            self.owner,
            self.release,
            self.targets,
            self.demand.takes,
            self.since,
            members=self.demand.members,
            priority=self.demand.priority,
            weight=self.demand.weight,
            virtual=self.virtual or 0,
            charges={f"{room.USD}{day}": cents, f"{room.USD}{month}": cents} if cents else {},
        )

    def bounds(self, now: datetime) -> dict[str, int]:
        """The most of each counter that it counts for: ceilings, and the budgets of this day and month."""
        period = {"day": utc_text(now)[:10], "month": utc_text(now)[:7]}
        budgets = (key.rpartition("|") for key in self.demand.budgets)
        return {
            **self.demand.ceilings,
            **{
                f"{scope}|{room.USD}{period[every]}": self.demand.budgets[f"{scope}|{every}"]
                for scope, _, every in budgets
            },
        }


# ---- what is asked ----------------------------------------------------------------------------------------------


def demand(
    application: Application,
    name: str,
    limits: Admission,
    places: Sequence[tuple[Place, Needs]],
    hotfix: bool = False,
) -> tuple[Demand, Place]:
    """What an order asks of admission, and the best of the places where it may be built. It reserves at each of them
    what it takes where it takes most, and of budgets what it costs where that is most.

    Args:
        places: as its application prefers them, each with what one environment needs there.
    """
    rates = {
        place.target: list_prices().an_hour(place.region, needs.types, needs.volume_gib) for place, needs in places
    }
    if application.prefer == "cheapest":  # a price that nobody knows is the last
        places = sorted(places, key=lambda each: inf if (rate := rates[each[0].target]) is None else rate)
    takes = Counter[str]()
    for _, needs in places:
        takes |= Counter(needs.takes)
    ranked = [_with_rate(place, limits) for place, _ in places]
    ceilings = {
        f"application:{name}": application.ceilings or limits.application,
        f"owner:{application.owner}": limits.owner,
        room.INSTALLATION: limits.installation,
    }
    rate = max(rate or 0.0 for rate in rates.values())
    counted = {
        f"{scope}|{what}": most
        for scope, each in ceilings.items()
        for what, most in ((room.ENVIRONMENTS, each.environments), (INSTANCES, each.instances))
        if most is not None
    }
    budgets = {
        f"{scope}|{every}": 100 * usd
        for scope, each in ceilings.items()
        for every, usd in (("day", each.usd_a_day), ("month", each.usd_a_month))
        if usd is not None
    }
    asked = Demand(
        takes=dict(takes),
        cents=round(100 * rate * application.lifetime_minutes / 60),
        ceilings=counted,
        budgets=budgets,
        refuses=tuple(scope for scope, each in ceilings.items() if each.when_over == "refuse"),
        warns={scope: each.warn_percent for scope, each in ceilings.items()},
        weight=application.weight,
        priority=HOTFIX if hotfix else ORDINARY,
        members=len([suite for suite in application.suites if suite.kind is not SuiteKind.PREVIEW])
        if application.admitted == "together"
        else 1,
        burst=ranked[0].burst,
        launches_a_second=ranked[0].launches_a_second,
        places=tuple(ranked) if len(ranked) > 1 or ranked[0].parameters else (),
    )
    return asked, ranked[0]


def _with_rate(place: Place, limits: Admission) -> Place:
    """A place with EC2's launch rate there."""
    launches = limits.launches.get(place.target)
    return replace(place, burst=launches.burst, launches_a_second=launches.a_second) if launches else place


def _of(order: Order) -> Demand:
    """What an order asks. A repetition and a preview come by themselves, whatever was admitted together before."""
    first = environment_id(order.release, order.suite)
    alone = order.kind is SuiteKind.PREVIEW or order.environment in repetitions(first, MOST_RETRIES)
    return replace(order.demand, members=1) if alone else order.demand


def ask(settings: Settings, order: Order, token: str, now: datetime, who: str) -> dict[str, Any]:
    """Asks for an environment's room. Whoever gets it at once has its task completed; whoever does not, waits.

    Returns:
        whether it was `admitted`, and else what it `lacks`.

    Raises:
        NeverFits: no ending of others would ever make room for it. OverCeiling: one of its ceilings refuses it.
        QueueFull, LedgerBusy: repeat it.
        EndedBefore: its life was ended while it waited.
    """
    records = Records(settings.table, Environment)
    record = records.get(order.environment)
    if record is None:
        raise environments.EndedBefore("it has no record, and none is built without one")
    if record.ending:
        raise environments.EndedBefore(f"its record says {record.ending.reason}")
    if record.reserved:  # a repetition
        _tell(token, record, now)
        return {"admitted": True, "lacks": ""}
    order = _without(order, record.no_capacity)
    asking = _asking(order, record, token, now)
    wanted = asking.wanted(now)
    most = asking.bounds(now) | room.limits(wanted, _places(settings.table, [asking]))
    if reason := room.never(wanted, asking.demand.members, most):
        raise NeverFits(reason)
    decision = _settle(settings, now, who, asking)
    mine = next((each for each in decision.waiting if each.wanted.environment == asking.id), None)
    return {"admitted": mine is None, "lacks": mine.lacks if mine else ""}


def _without(order: Order, targets: Collection[str]) -> Order:
    """An order without the places at which EC2 had no capacity for it."""
    places = tuple(each for each in order.demand.places if each.target not in targets)
    return replace(order, demand=replace(order.demand, places=places))


class AtOnce(Struct, frozen=True):
    """Room that was reserved for an environment when it was planned.

    Attributes:
        holds: what is reserved. at: when EC2 has tokens for its launches.
        place: where it is built, as its record says it; nothing where that is only where its order says.
    """

    holds: Mapping[str, int]
    at: datetime
    place: Mapping[str, Any]

    def said(self, now: datetime) -> list[str]:
        """What a history says of it besides its deadline."""
        where = [f"in {self.place['account']}/{self.place['region']}"] if self.place else []
        return [paced(self.at)] * (self.at > now) + where


def reserved_at_once(settings: Settings, order: Order, now: datetime) -> AtOnce | None:
    """Reserves an environment's room where it fits and nobody waits, so that it need not ask; None where it has to."""
    table = settings.table
    for _ in range(_TRIES):
        seen = ledger(table)
        asking = _asking(order, Environment(id=order.environment), "", now).at(seen.clocks)
        if seen.queue or asking.demand.members > 1:
            break
        found = _room(table, [asking], now)
        if found.unread:  # who asks looks first
            break
        counts = _counts(table, seen, found.bounds, {})
        found = replace(found, counts=counts, launches=seen.launches)
        decision = room.decide_admission([asking.wanted(now)], found, now)
        if decision.waiting:
            break
        after = _after(seen, found, decision, None, now)
        if after.unsaid != seen.unsaid:  # who asks is heard in a step that announces
            break
        if _write(settings, seen, after):
            [admitted] = decision.admitted
            return AtOnce(_holds(admitted), now + timedelta(seconds=admitted.after), _placed(asking, admitted.target))
    return None


def let_go(settings: Settings, holds: Mapping[str, int]) -> None:
    """Gives back what was reserved a moment ago for nobody. What cannot be written is found by a sweep."""
    for _ in range(_TRIES):
        seen = ledger(settings.table)
        if _write(settings, seen, replace(seen, counts=_less(seen.counts, holds))):
            break


def count_launches(settings: Settings, target: str, count: int, bucket: Bucket, now: datetime) -> None:
    """Takes EC2's tokens for what is launched besides environments, whether they are there or not: environments wait
    for theirs. Of more than a full bucket only that: a refresh launches the rest no faster than tokens come. What
    cannot be written holds no launch up."""
    with going_on(f"EC2's tokens in {target}"):
        for _ in range(_TRIES):
            seen = ledger(settings.table)
            full = room.full_again(seen.launches.get(target, ""), min(count, bucket.burst), bucket, now)
            if _write(settings, seen, replace(seen, launches={**seen.launches, target: full})):
                return
        raise LedgerBusy("many others ask for room at the same time")


def _asking(order: Order, record: Environment, token: str, now: datetime) -> _Asking:
    return _Asking(
        order.environment,
        order.release,
        order.application,
        order.owner,
        (order.account, order.region),
        record.wanted.get("since") or utc_text(now),
        record.wanted.get("virtual"),
        _of(order),
        token,
        timedelta(minutes=order.lifetime_minutes),
        timedelta(minutes=order.ceiling_minutes),
    )


# ---- the ledger -------------------------------------------------------------------------------------------------


def _settle(
    settings: Settings,
    now: datetime,
    who: str,
    asking: _Asking | None = None,
    returned: _Returned | None = None,
) -> Decision:
    """Decides about everybody who waits, writes the ledger, and tells whoever is admitted.

    Args:
        asking: who asks now. returned: what is given back now.
    """
    queued = False
    for _ in range(_TRIES):
        seen = ledger(settings.table)
        waiting = {each.id: each for each in _waiting(settings.table, seen.queue)}
        if asking:
            waiting[asking.id] = asking = asking.at(seen.clocks)
        found = _room(settings.table, waiting.values(), now)
        counts = _counts(settings.table, seen, found.bounds, returned.holds if returned else {})
        wanted = [each.wanted(now) for each in waiting.values()]
        found = replace(found, counts=counts, clocks=seen.clocks, launches=seen.launches)
        decision = room.decide_admission(wanted, found, now)
        if asking and not queued and asking.id in {each.wanted.environment for each in decision.waiting}:
            if over := room.refused(asking.wanted(now), asking.demand.refuses, found):
                raise OverCeiling(over)
            # Before the ledger says so: who admits it next finds its token.
            _enqueue(settings, asking, decision, seen, (now, who))
            queued = True
            continue
        after = _after(seen, found, decision, returned, now)
        if _write(settings, seen, after):
            for each in decision.admitted:
                one = waiting[each.wanted.environment]
                if one is asking:
                    _grant(settings, one, each, now, who)  # what fails is repeated with its task
                else:
                    with going_on(one.id):
                        _grant(settings, one, each, now, who)
            _say_low(settings, after.unsaid[len(seen.unsaid) :], now)
            return decision
    raise LedgerBusy("many others ask for room at the same time")


def _say_low(settings: Settings, unsaid: Sequence[Low], now: datetime) -> None:
    """Announces which ceilings and budgets are running low, and that it was done. Who dies in between is repeated by a
    sweep, with the same words."""
    if not unsaid:
        return
    with going_on("what is running low"):
        for low in unsaid:
            detail = room.low_facts(low.counter, low.count, low.most) | {"at": utc_text(now)}
            # Of the installation it concerns nobody's environment.
            whose = {"environment": low.environment} if detail["name"] else {}
            announce(settings.facts, RoomRunningLow(**detail | whose))
        _said_low(settings, unsaid)


def _said_low(settings: Settings, said: Sequence[Low]) -> None:
    for _ in range(_TRIES):
        seen = ledger(settings.table)
        left = tuple(low for low in seen.unsaid if low not in said)
        if left == seen.unsaid:
            break
        with suppress(Conflict):
            as_seen = _as_seen(seen)
            Records(settings.table, Ledger).change(_LEDGER, version=seen.version + 1, unsaid=left, only_if=as_seen)
            break


def _counts(table: str, seen: Ledger, bounded: Collection[str], returned: Mapping[str, int]) -> dict[str, int]:
    """What is reserved of each counter that has a bound: the ledger keeps no other. One that has just got its bound is
    counted in the records, once."""
    counts = _less(seen.counts, returned)
    if new := {counter for counter in bounded if counter not in counts and not room.is_money(counter)}:
        held = Counter[str]()
        for record in Records(table, Environment).live((Environment.reserved,)):
            held.update(record.reserved)
        counts |= {counter: held[counter] for counter in new}
    return dict.fromkeys(bounded, 0) | counts


def _less(counts: Mapping[str, int], returned: Mapping[str, int]) -> dict[str, int]:
    return {counter: max(0, count - returned.get(counter, 0)) for counter, count in counts.items()}


def _room(table: str, waiting: Collection[_Asking], now: datetime) -> Room:
    """What bounds those who ask: quotas, ceilings and budgets. What is reserved of it is not in it yet."""
    found = room.of_places([each.wanted(now) for each in waiting], _places(table, waiting))
    own = {counter: most for each in waiting for counter, most in each.bounds(now).items()}
    buckets = dict[str, Bucket]()
    for each in sorted(waiting, key=lambda each: each.since):
        buckets |= each.buckets  # the newest are right
    warns = {scope: percent for each in waiting for scope, percent in each.demand.warns.items()}
    return replace(found, bounds={**found.bounds, **own}, buckets=buckets, warns=warns)


def _places(table: str, waiting: Collection[_Asking]) -> dict[str, Quotas]:
    """What was read of the targets."""
    targets = sorted({target for each in waiting for target in each.targets})
    return {each.id: each for each in Records(table, Quotas).many(targets)}


def _after(seen: Ledger, found: Room, decision: Decision, returned: _Returned | None, now: datetime) -> Ledger:
    """The ledger after a decision from the room that was found."""
    counts = dict(found.counts)
    for each in decision.admitted:
        for counter, count in each.wanted.demand(each.target).items():
            if counter in counts:
                counts[counter] += count
    held = returned.seconds if returned else None
    mean, day = seen.mean_seconds, utc_text(now)[:_DAY]
    marks = {
        counter: mark
        for counter, mark in seen.warned.items()
        if _lasts(counter, now) and (room.is_money(counter) or mark.endswith(day))
    }
    low = room.running_low(decision.admitted, counts, found, marks)
    return replace(
        seen,
        counts={counter: count for counter, count in counts.items() if _lasts(counter, now)},
        clocks=room.clocks_after(seen.clocks, decision.admitted, decision.waiting)
        if decision.admitted
        else seen.clocks,
        queue=tuple(each.wanted.environment for each in decision.waiting),
        holding=max(0, seen.holding + len(decision.admitted) - (held is not None)),
        mean_seconds=mean if held is None else (_SMOOTH * mean + held) // (_SMOOTH + 1) if mean else held,
        launches=room.launches_after(found, decision.admitted, now) if decision.admitted else seen.launches,
        warned=marks | {each.counter: room.mark(each, day) for each in low},
        unsaid=(*seen.unsaid, *low),
    )


def _write(settings: Settings, seen: Ledger, after: Ledger) -> bool:
    """Writes the ledger; False where somebody else wrote it meanwhile. Where nothing is bounded there is nothing to
    write: what only says how long rooms are held can wait."""
    if (after.counts, after.queue, after.launches) == (seen.counts, seen.queue, seen.launches):
        return True
    if len(after.queue) > _MOST_WAITING:
        raise QueueFull(f"{_MOST_WAITING} environments wait already")
    facts = {name: getattr(after, name) for name in _WRITTEN}
    try:
        Records(settings.table, Ledger).change(_LEDGER, version=seen.version + 1, only_if=_as_seen(seen), **facts)
    except Conflict:
        return False
    return True


def _as_seen(seen: Ledger) -> ConditionBase:
    return attr(Ledger.version).eq(seen.version) if seen.version else NEW


def _lasts(counter: str, now: datetime) -> bool:
    """Whether a counter is still of interest: a budget's is until two days after its day, or two months after its
    month."""
    if not room.is_money(counter):
        return True
    period = counter.rpartition(room.USD)[2]
    since = utc_text(now - timedelta(days=2 if len(period) == _DAY else 62))
    return period >= since[: len(period)]


def _waiting(table: str, queue: tuple[str, ...]) -> Iterator[_Asking]:
    """Those of the queue that still wait: none that was ended meanwhile, or admitted."""
    if not queue:
        return
    for record in Records(table, Environment).many(queue):
        if record.ending or record.reserved or not record.wanted:
            continue
        if record.waiting is None or not record.waits_for(Wait.ROOM):
            continue
        said = record.wanted
        yield _Asking(
            record.id,
            record.release,
            record.application,
            record.owner,
            (record.account, record.region),
            str(said["since"]),
            int(said["virtual"]),
            Demand.read(said["demand"]),
            record.waiting.token,
            timedelta(minutes=int(said["lifetime_minutes"])),
            timedelta(minutes=int(said["ceiling_minutes"])),
        )


def _enqueue(settings: Settings, asking: _Asking, decision: Decision, seen: Ledger, by: tuple[datetime, str]) -> None:
    """Writes down that an environment waits, and for what; says so once."""
    now, who = by
    if sum(each.wanted.application == asking.application for each in decision.waiting) > _MOST_OF_ONE:
        raise QueueFull(f"{_MOST_OF_ONE} environments of {asking.application} wait already")
    at = next(each for each in decision.waiting if each.wanted.environment == asking.id)
    behind = f", behind {at.behind}" if at.behind else ""
    records = Records(settings.table, Environment)
    try:
        record = records.change(
            asking.id,
            Entry(utc_text(now), who, EnvironmentStage.QUEUED, f"{at.lacks}{behind}"),
            stage=EnvironmentStage.QUEUED,
            waiting=Waiting(Wait.ROOM, asking.token),
            wanted={
                "since": asking.since,
                "virtual": asking.virtual,
                "demand": asking.demand.plain(),
                "lifetime_minutes": int(asking.lifetime.total_seconds() // 60),
                "ceiling_minutes": int(asking.ceiling.total_seconds() // 60),
            },
            only_if=environments.NOT_ENDED & attr(Environment.reserved).not_exists(),
        )
    except Conflict as conflict:
        if conflict.found and conflict.found.reserved:
            raise LedgerBusy("somebody else has just admitted it") from None  # asked again, it is told so
        raise environments.EndedBefore("it was ended while it asked for room") from None
    if record is None:
        raise environments.EndedBefore("the table is lost: no environment is built without a record")
    metrics.add_metric(name="EnvironmentsQueued", unit="Count", value=1)
    said = asdict(_in_queue(at, seen)) | {"deadline": record.deadline, "waiting": len(decision.waiting)}
    detail = environments.facts(record) | said
    announce(settings.facts, EnvironmentQueued(**detail))


def _grant(settings: Settings, asking: _Asking, admitted: Admitted, now: datetime, who: str) -> None:
    """Writes an environment's reservation and where it is built into its record, and completes its task. Its lifetime
    begins now, if it has waited. What cannot be written is found by a sweep."""
    holds = _holds(admitted)
    waited: dict[str, Any] = {}
    at = now + timedelta(seconds=admitted.after)
    why = [f"it waited since {asking.since}"] * (utc_text(now) != asking.since) + [paced(at)] * (at > now)
    why += [f"in {admitted.target}"] * bool(asking.demand.places)
    entry = Entry(utc_text(now), who, "admitted", "; ".join(why)) if why else None
    if utc_text(at) != asking.since:
        waited = {"deadline": utc_text(at + asking.lifetime), "ceiling": utc_text(at + asking.ceiling)}
        waited |= {"launch_from": utc_text(at)} if at > now else {}
    try:
        record = Records(settings.table, Environment).change(
            asking.id,
            entry,
            reserved=holds,
            **waited,
            **_placed(asking, admitted.target),
            drop=(Environment.wanted,),
            only_if=environments.NOT_ENDED & attr(Environment.reserved).not_exists(),
        )
    except Conflict as conflict:
        # It was ended meanwhile, or admitted twice: what was reserved just now is nobody's.
        _settle(settings, now, who, returned=_Returned(holds))
        found: Environment | None = conflict.found
        if found and found.ending is None:
            _tell(asking.token, found, now)
        else:
            said = found.ending.reason if found and found.ending else "nothing: there is none"
            executions.complete_task(asking.token, TaskResult("EndedBefore", f"its record says {said}"), {})
        return
    if record is None:
        raise environments.EndedBefore("the table is lost: no environment is built without a record")
    _tell(asking.token, record, now)


def paced(at: datetime) -> str:
    """Why an environment that has its room is built later."""
    return f"EC2's launch rate: its stack is created from {utc_text(at)} on"


def _tell(token: str, record: Environment, now: datetime) -> None:
    """Tells the execution of an environment that has its room where it goes on: at once, or when EC2 has tokens."""
    answer = TaskResult(None, "")
    said = {"deadline": record.deadline, "place": place_of(record)}
    if record.launch_from > utc_text(now):
        answer = TaskResult("NotYet", json.dumps(said | {"launch": record.launch_from}))
    executions.complete_task(token, answer, said)


def place_of(record: Environment) -> dict[str, str]:
    """Where an environment is built and on which image, as its order says it. Its record knows, and nobody else."""
    said = {"account": record.account, "region": record.region, "image": record.image}
    return {name: value for name, value in said.items() if value and value != UNKNOWN}


def _placed(asking: _Asking, target: str) -> dict[str, Any]:
    """What a record says of the place where its environment is admitted."""
    found = next((each for each in asking.demand.places if each.target == target), None)
    return found.only("account", "region", "image") if found else {}


def _holds(admitted: Admitted) -> dict[str, int]:
    """What an environment that is admitted has reserved."""
    return {counter: count for counter, count in admitted.wanted.demand(admitted.target).items() if count}


def give_back(settings: Settings, record: Environment, now: datetime, who: str) -> None:
    """Gives back what was reserved for an environment of which nothing is left, as its record was before that was taken
    off, and admits whoever fits now. Whoever dies in between has reserved too much, never too little. A sweep finds
    it: ending depends on nobody's room."""
    with going_on(record.id):
        _settle(settings, now, who, returned=_Returned(_unspent(record, now), _held(record, now)))


def _unspent(record: Environment, now: datetime) -> dict[str, int]:
    """What an environment gives back: of its budgets what it has not cost."""
    spent = cost(record, now, list_prices()).usd
    cents = round(100 * spent) if spent is not None else 0
    return {
        counter: max(0, count - cents) if room.is_money(counter) and spent is not None else count
        for counter, count in record.reserved.items()
        if spent is not None or not room.is_money(counter)
    }


def _held(record: Environment, now: datetime) -> int:
    """For how many seconds an environment has had its room."""
    since = record.launched_at or record.planned_at
    return max(1, int((now - datetime.fromisoformat(since)).total_seconds())) if since else 1


# ---- what a sweep makes up for ----------------------------------------------------------------------------------


def make_up(settings: Settings, seen: Ledger, live: Sequence[Environment], now: datetime, who: str) -> None:
    """Makes up for whoever died: frees reservations that nobody holds, tells those that were admitted and not told,
    puts back into the queue who was lost from it, and admits whoever fits.

    Args:
        seen: the ledger before the records were read. live: all of environments.
    """
    waiting = [record for record in live if record.waits_for(Wait.ROOM) and not record.ending]
    for record in waiting:
        if record.waiting and record.reserved:
            _tell(record.waiting.token, record, now)
    differing = room.reconciled(seen.counts, (record.reserved for record in live))
    differing = {counter: by for counter, by in differing.items() if counter in seen.counts}  # others have no bound
    # What was admitted a moment ago may be missing in a list: less is believed only where two sweeps found it.
    certain = {counter: by if by > 0 else max(by, seen.suspected.get(counter, 0)) for counter, by in differing.items()}
    lost = [record.id for record in waiting if record.wanted and record.id not in seen.queue]
    if lost or any(certain.values()) or differing != seen.suspected:
        logger.info("the ledger differs", extra={"differing": differing, "certain": certain, "lost": lost})
        with suppress(Conflict):  # somebody was admitted, or gave back, meanwhile: the next sweep sees to it
            Records(settings.table, Ledger).change(
                _LEDGER,
                version=seen.version + 1,
                counts={counter: count + certain.get(counter, 0) for counter, count in seen.counts.items()},
                suspected={counter: by for counter, by in differing.items() if by != certain[counter]},
                queue=(*seen.queue, *lost),
                only_if=_as_seen(seen),
            )
    if seen.queue or lost:
        _settle(settings, now, who)
    # What was unsaid before the records were read and is so still, somebody who died has left.
    if left := [low for low in seen.unsaid if low in ledger(settings.table).unsaid]:
        _say_low(settings, left, now)


def ledger(table: str) -> Ledger:
    """The ledger as it is: what is reserved, and who waits."""
    return Records(table, Ledger).get(_LEDGER) or Ledger(id=_LEDGER)


def low(table: str, now: datetime) -> list[dict[str, Any]]:
    """The ceilings and budgets of which people were warned today, or this month, with what is reserved of each now."""
    seen, at = ledger(table), utc_text(now)
    found = ((counter, mark.partition(" ")) for counter, mark in sorted(seen.warned.items()))
    return [
        room.low_facts(counter, seen.counts.get(counter, 0), int(most))
        for counter, (most, _, day) in found
        if at.startswith(day or counter.rpartition(room.USD)[2])
    ]


def queue(table: str, now: datetime) -> dict[str, InQueue]:
    """Who waits, in order: for what, behind whom, and about how long, as it would be decided now."""
    seen = ledger(table)
    waiting = list(_waiting(table, seen.queue))
    found = _room(table, waiting, now)
    counts = _counts(table, seen, found.bounds, {})
    found = replace(found, counts=counts, clocks=seen.clocks, launches=seen.launches)
    decision = room.decide_admission([each.wanted(now) for each in waiting], found, now)
    return {each.wanted.environment: _in_queue(each, seen) for each in decision.waiting}


def _in_queue(waits: room.Waiting, seen: Ledger) -> InQueue:
    minutes: int | None = room.about_minutes(waits.position, seen.holding, seen.mean_seconds)
    if not seen.mean_seconds:
        minutes = None
    if waits.seconds is not None:
        minutes = -(-waits.seconds // 60)
    return InQueue(waits.position, waits.lacks, waits.behind, minutes)
