"""Admission: reserves room for environments before they are built, lets others wait in a fair queue, and wakes them.

The ledger is one record, and whoever changes it writes it as it was seen: of two that ask at once, the slower decides
again. What was reserved stands in the environment's record as well, so a reservation that outlived whoever made it is
found and freed by a sweep. Who waits has its task token in its own record, and costs nothing until it is woken.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from boto3.dynamodb.conditions import ConditionBase

from mayfly.aws import executions
from mayfly.aws.attempts import going_on
from mayfly.aws.events import announce
from mayfly.aws.records import NEW, Conflict, Records, attr
from mayfly.contract.announcements import EnvironmentQueued
from mayfly.contract.configuration import Admission, Application
from mayfly.contract.orders import Demand, Order
from mayfly.contract.vocabulary import EnvironmentStage, Wait
from mayfly.domain import room
from mayfly.domain.cost import cost
from mayfly.domain.needs import INSTANCES, Needs
from mayfly.domain.records import Entry, Environment, Ledger, Waiting
from mayfly.domain.room import Admitted, Decision, Room, Wanted
from mayfly.domain.stack import TaskResult
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.prices import list_prices
from mayfly.settings import Settings
from mayfly.workflows import environments

_LEDGER = "room"
_TRIES = 10
_MOST_WAITING = 5000
"""Names in a queue: the ledger is one item of DynamoDB."""
_WRITTEN = ("counts", "clocks", "queue", "holding", "mean_seconds")
_SMOOTH = 9
"""How many of the last environments, and one, how long rooms are held is a mean of, about."""
HOTFIX, ORDINARY = 9, 5
"""Priorities."""


class NeverFits(Exception):
    """An environment takes more than its ceilings or budgets ever allow. The message says which, and by how much."""


class QueueFull(Exception):
    """More environments wait than a queue has room for."""


class LedgerBusy(Exception):
    """Many others ask at the same time. Repeating it a little later gets through."""


@dataclass(frozen=True, slots=True)
class InQueue:
    """Where an environment stands in the queue.

    Attributes:
        position: from 1. lacks: what it waits for, with both numbers. behind: who is before it; "" for the first.
        about_minutes: how long that takes, by how long others have had their room; None where none has ended yet.
    """

    position: int
    lacks: str
    behind: str
    about_minutes: int | None


@dataclass(frozen=True, slots=True)
class _Returned:
    """What is given back: counters, and for how many seconds they were held, where that is known."""

    holds: Mapping[str, int]
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class _Asking:
    """An environment that asks for room, with what its record says."""

    id: str
    release: str
    application: str
    owner: str
    target: str
    since: str
    virtual: int | None
    demand: Demand
    token: str
    lifetime: timedelta
    ceiling: timedelta

    def at(self, clocks: Mapping[str, int]) -> "_Asking":
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
            (self.target,),
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
    application: Application, name: str, limits: Admission, place: tuple[Needs, str], hotfix: bool = False
) -> Demand:
    """What an order asks of admission.

    Args:
        place: what one environment needs, and in which Region.
    """
    needs, region = place
    ceilings = {
        f"application:{name}": application.ceilings or limits.application,
        f"owner:{application.owner}": limits.owner,
        room.INSTALLATION: limits.installation,
    }
    rate = list_prices().an_hour(region, needs.types, needs.volume_gib) or 0.0
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
    return Demand(
        takes=dict(needs.takes),
        cents=round(100 * rate * application.lifetime_minutes / 60),
        ceilings=counted,
        budgets=budgets,
        weight=application.weight,
        priority=HOTFIX if hotfix else ORDINARY,
        members=len(application.suites) if application.admitted == "together" else 1,
    )


def ask(settings: Settings, order: Order, token: str, now: datetime, who: str) -> dict[str, Any]:
    """Asks for an environment's room. Whoever gets it at once has its task completed; whoever does not, waits.

    Returns:
        whether it was `admitted`, and else what it `lacks`.

    Raises:
        NeverFits: no ending of others would ever make room for it. QueueFull, LedgerBusy: repeat it.
        EndedBefore: its life was ended while it waited.
    """
    records = Records(settings.table, Environment)
    record = records.get(order.environment)
    if record is None:
        raise environments.EndedBefore("it has no record: what nobody would remember is not built")
    if record.ending:
        raise environments.EndedBefore(f"its record says {record.ending.reason}")
    if record.reserved:  # a repetition
        executions.complete_task(token, TaskResult(None, ""), {"deadline": record.deadline})
        return {"admitted": True, "lacks": ""}
    asking = _Asking(
        order.environment,
        order.release,
        order.application,
        order.owner,
        f"{order.account}/{order.region}",
        record.wanted.get("since") or utc_text(now),
        record.wanted.get("virtual"),
        order.demand,
        token,
        timedelta(minutes=order.lifetime_minutes),
        timedelta(minutes=order.ceiling_minutes),
    )
    if reason := room.never(asking.wanted(now), order.demand.members, asking.bounds(now)):
        raise NeverFits(reason)
    decision = _settle(settings, now, who, asking)
    mine = next((each for each in decision.waiting if each.wanted.environment == asking.id), None)
    return {"admitted": mine is None, "lacks": mine.lacks if mine else ""}


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
        counts = _counts(settings.table, seen, waiting.values(), returned.holds if returned else {}, now)
        decision = _decide(seen, counts, waiting.values(), now)
        if asking and not queued and asking.id in {each.wanted.environment for each in decision.waiting}:
            # Before the ledger says so: who admits it next finds its token.
            _enqueue(settings, asking, decision, seen, (now, who))
            queued = True
            continue
        if _write(settings, seen, _after(replace(seen, counts=counts), decision, returned, now)):
            for each in decision.admitted:
                one = waiting[each.wanted.environment]
                if one is asking:
                    _grant(settings, one, each, now, who)  # what fails is repeated with its task
                else:
                    with going_on(one.id):
                        _grant(settings, one, each, now, who)
            return decision
    raise LedgerBusy("many others ask for room at the same time")


def _counts(
    table: str, seen: Ledger, waiting: Iterable[_Asking], returned: Mapping[str, int], now: datetime
) -> dict[str, int]:
    """What is reserved of each counter that has a bound: the ledger keeps no other. One that has just got its bound is
    counted in the records, once."""
    counts = {counter: max(0, count - returned.get(counter, 0)) for counter, count in seen.counts.items()}
    bounded = {counter for each in waiting for counter in each.bounds(now)}
    if new := {counter for counter in bounded - counts.keys() if not room.is_money(counter)}:
        held = Counter[str]()
        for record in Records(table, Environment).live((Environment.reserved,)):
            held.update(record.reserved)
        counts |= {counter: held[counter] for counter in new}
    return dict.fromkeys(bounded, 0) | counts


def _decide(seen: Ledger, counts: Mapping[str, int], waiting: Iterable[_Asking], now: datetime) -> Decision:
    there = list(waiting)
    bounds = {counter: most for each in there for counter, most in each.bounds(now).items()}
    return room.decide([each.wanted(now) for each in there], Room(counts, bounds, seen.clocks), now)


def _after(seen: Ledger, decision: Decision, returned: _Returned | None, now: datetime) -> Ledger:
    """The ledger after a decision."""
    counts = dict(seen.counts)
    for each in decision.admitted:
        for counter, count in each.wanted.demand(each.target).items():
            if counter in counts:
                counts[counter] += count
    held = returned.seconds if returned else None
    mean = seen.mean_seconds
    return replace(
        seen,
        counts={counter: count for counter, count in counts.items() if _lasts(counter, now)},
        clocks=room.clocks_after(seen.clocks, decision.admitted) if decision.admitted else seen.clocks,
        queue=tuple(each.wanted.environment for each in decision.waiting),
        holding=max(0, seen.holding + len(decision.admitted) - (held is not None)),
        mean_seconds=mean if held is None else (_SMOOTH * mean + held) // (_SMOOTH + 1) if mean else held,
    )


def _write(settings: Settings, seen: Ledger, after: Ledger) -> bool:
    """Writes the ledger; False where somebody else wrote it meanwhile. Where nothing is bounded there is nothing to
    write: what only says how long rooms are held can wait."""
    if (after.counts, after.queue) == (seen.counts, seen.queue):
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
    """Whether a counter is still of interest: a budget's is until two months after its time."""
    if not room.is_money(counter):
        return True
    period = counter.rpartition(room.USD)[2]
    return period >= utc_text(now - timedelta(days=62))[: len(period)]


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
            f"{record.account}/{record.region}",
            str(said["since"]),
            int(said["virtual"]),
            Demand.model_validate(said["demand"]),
            record.waiting.token,
            timedelta(minutes=int(said["lifetime_minutes"])),
            timedelta(minutes=int(said["ceiling_minutes"])),
        )


def _enqueue(settings: Settings, asking: _Asking, decision: Decision, seen: Ledger, by: tuple[datetime, str]) -> None:
    """Writes down that an environment waits, and for what; says so once."""
    now, who = by
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
                "demand": asking.demand.model_dump(),
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
        raise environments.EndedBefore("the table is lost: what nobody would remember is not built")
    metrics.add_metric(name="EnvironmentsQueued", unit="Count", value=1)
    said = asdict(_in_queue(at, seen)) | {"deadline": record.deadline, "waiting": len(decision.waiting)}
    detail = environments.facts(record) | said
    announce(settings.facts, EnvironmentQueued.model_validate(detail))


def _grant(settings: Settings, asking: _Asking, admitted: Admitted, now: datetime, who: str) -> None:
    """Writes an environment's reservation into its record, and completes its task. Its lifetime begins now, if it has
    waited. What cannot be written is found by a sweep."""
    holds = {counter: count for counter, count in admitted.wanted.demand(admitted.target).items() if count}
    waited: dict[str, Any] = {}
    entry = None
    if utc_text(now) != asking.since:
        entry = Entry(utc_text(now), who, "admitted", f"it waited since {asking.since}")
        waited = {"deadline": utc_text(now + asking.lifetime), "ceiling": utc_text(now + asking.ceiling)}
    try:
        record = Records(settings.table, Environment).change(
            asking.id,
            entry,
            reserved=holds,
            **waited,
            drop=(Environment.wanted,),
            only_if=environments.NOT_ENDED & attr(Environment.reserved).not_exists(),
        )
    except Conflict as conflict:
        # It was ended meanwhile, or admitted twice: what was reserved just now is nobody's.
        _settle(settings, now, who, returned=_Returned(holds))
        found: Environment | None = conflict.found
        if found and found.ending is None:
            executions.complete_task(asking.token, TaskResult(None, ""), {"deadline": found.deadline})
        else:
            said = found.ending.reason if found and found.ending else "nothing: there is none"
            executions.complete_task(asking.token, TaskResult("EndedBefore", f"its record says {said}"), {})
        return
    if record is None:
        raise environments.EndedBefore("the table is lost: what nobody would remember is not built")
    executions.complete_task(asking.token, TaskResult(None, ""), {"deadline": record.deadline})


def give_back(settings: Settings, record: Environment, now: datetime, who: str) -> None:
    """Gives back what is reserved for an environment of which nothing is left, and admits whoever fits now. Where that
    cannot be written, a sweep makes up for it: ending depends on nobody's room."""
    if not record.reserved:
        return
    with going_on(record.id):
        try:
            # First off the record: who dies in between has reserved too much, never too little. A sweep finds it.
            Records(settings.table, Environment).change(
                record.id, drop=(Environment.reserved,), only_if=attr(Environment.reserved).exists()
            )
        except Conflict:  # a repetition
            return
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
            executions.complete_task(record.waiting.token, TaskResult(None, ""), {"deadline": record.deadline})
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


def ledger(table: str) -> Ledger:
    """The ledger as it is: what is reserved, and who waits."""
    return Records(table, Ledger).get(_LEDGER) or Ledger(id=_LEDGER)


def queue(table: str, now: datetime) -> dict[str, InQueue]:
    """Who waits, in order: for what, behind whom, and about how long, as it would be decided now."""
    seen = ledger(table)
    waiting = list(_waiting(table, seen.queue))
    decision = _decide(seen, _counts(table, seen, waiting, {}, now), waiting, now)
    return {each.wanted.environment: _in_queue(each, seen) for each in decision.waiting}


def _in_queue(waits: room.Waiting, seen: Ledger) -> InQueue:
    minutes = room.about_minutes(waits.position, seen.holding, seen.mean_seconds)
    return InQueue(waits.position, waits.lacks, waits.behind, minutes if seen.mean_seconds else None)
