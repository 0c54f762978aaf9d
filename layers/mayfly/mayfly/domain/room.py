"""Decides which environments CloudFormation builds now, which wait for a quota, and which can never be built.

Everything that is limited is a counter: a quota of a target (``222222222222/eu-central-1|vpcs``), or a ceiling of an
application, an owner or the installation (``application:webshop|environments``). An environment takes so much of each;
it is admitted where every counter stays within its bound.

The order is fair queueing by start tags: each application has a virtual clock that its environments move on by their
size over its weight, and who is behind on it is first. A later one never gets ahead of a tag that was given, so nobody
starves. Who is next and does not fit keeps a claim on what it needs: a later one may take only what no claim is on, and
so goes ahead only where it delays nobody.

EC2 gives out launches at a rate, from a bucket of tokens. Who is admitted takes them ahead, ten minutes at most, and
its stack is created when they are there; whoever lacks them longer than that keeps its place in the queue.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from mayfly.domain.needs import INSTANCES, QUOTAS, described
from mayfly.domain.records import Low, Quotas
from mayfly.domain.timestamp import utc_text

type Counts = Mapping[str, int]
"""By the names of counters."""

ENVIRONMENTS: Final = "environments"
INSTALLATION: Final = "installation:"
LAUNCHES: Final = "launches"
"""Of a target: the tokens that EC2's bucket lacks."""
AHEAD: Final = 600
"""For how many seconds launches are given out ahead: until the next sweep, and some more. Who waits for one that late
can be ended or overtaken by a hotfix no longer."""
ALL: Final = "*"
"""Among the clocks of applications, that of all together."""
USD: Final = "usd "
"""Before a day or a month: US cents that the environments that began then cost at most."""
WHOLE_AFTER: Final = timedelta(minutes=10)
"""After that long a release that is admitted as a whole waits for no more of its environments to ask: one has failed,
or was ended, before it could."""


class Bucket(Struct, frozen=True):
    """EC2's bucket of tokens for an account and Region: each launch takes one of RunInstances. AWS's own, where it
    raised none."""

    burst: int = 1000
    a_second: int = 2

    @property
    def most(self) -> int:
        """How many tokens may be lacking, those that are given out ahead among them."""
        return self.burst + AHEAD * self.a_second

    def lacking(self, full_at: str, now: datetime) -> int:
        """How many tokens it lacks now.

        Args:
            full_at: when it is full again; "" where it is.
        """
        left = datetime.fromisoformat(full_at) - now if full_at else timedelta()
        return max(0, -(-left * self.a_second // timedelta(seconds=1)))

    def after(self, lacking: int, count: int) -> int:
        """In how many seconds it has tokens for so many launches. For more than it ever holds that is when it is full:
        Auto Scaling goes on with the rest as tokens come."""
        return max(0, -(-(lacking + min(count, self.burst) - self.burst) // self.a_second))


class Wanted(Struct, frozen=True):
    """An environment that asks for room.

    Attributes:
        targets: where it may be built, the best first: ``account/Region``.
        takes: of the quotas, by the keys of `needs.QUOTAS`.
        since: when it asked. members: how many of its release are admitted together; 1 for one that is by itself.
        priority: the higher is first. weight: its application's. virtual: the clock of all when it asked.
        charges: what it costs at most, in US cents, by the day and the month whose budgets it counts for.
    """

    environment: str
    application: str
    owner: str
    release: str
    targets: tuple[str, ...]
    takes: Mapping[str, int]
    since: str
    members: int = 1
    priority: int = 5
    weight: int = 1
    virtual: int = 0
    charges: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """What it counts for in the fair order: its instances, at least one."""
        return max(1, self.takes.get(INSTANCES, 0))

    @property
    def scopes(self) -> tuple[str, ...]:
        """Whose ceilings it counts for."""
        return (f"application:{self.application}", f"owner:{self.owner}", INSTALLATION)

    def demand(self, target: str) -> Counter[str]:
        """What it takes of each counter, built at this target. IAM's quotas are an account's, whatever the Region."""
        counts = Counter({counter_of(target, key): count for key, count in self.takes.items()})
        for scope in self.scopes:
            counts[f"{scope}|{ENVIRONMENTS}"] = 1
            counts[f"{scope}|{INSTANCES}"] = self.takes.get(INSTANCES, 0)
            counts.update({f"{scope}|{period}": cents for period, cents in self.charges.items()})
        return counts


def is_money(counter: str) -> bool:
    """Whether a counter is a budget's: what was spent of it stays spent."""
    return counter.rpartition("|")[2].startswith(USD)


def counter_of(target: str, key: str) -> str:
    """What counts a quota at a target. IAM's are an account's, whatever the Region."""
    is_global = key in QUOTAS and QUOTAS[key].service == "iam"
    return f"{target.partition('/')[0] if is_global else target}|{key}"


class Room(Struct, frozen=True):
    """All that a decision is made from.

    Attributes:
        counts: what is reserved of each counter.
        bounds: the most of each, with what others use taken off. A counter without one is not limited.
        clocks: the virtual clock of each application, and under ALL that of all.
        closed: targets where nothing is built now, with why.
        assumed: of which counters AWS does not say the most, so that its default stands there.
        buckets: EC2's, by target. launches: when each is full again, where it is not.
        warns: from how many per cent of ceilings and budgets on people are warned, by scope.
        unread: whether nobody has read yet what AWS allows somebody who asks: it bounds nothing.
    """

    counts: Counts
    bounds: Counts
    clocks: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    assumed: Collection[str] = ()
    buckets: Mapping[str, Bucket] = field(default_factory=dict)
    launches: Mapping[str, str] = field(default_factory=dict)
    warns: Mapping[str, int] = field(default_factory=dict)
    unread: bool = False


def unread(targets: Iterable[str], takes: Iterable[str], places: Mapping[str, Quotas]) -> dict[str, list[str]]:
    """The quotas of which something is taken and that nobody has read yet, by target. Of one that is closed none:
    nothing is built there before a sweep has read them."""
    known = {target: places.get(target) or Quotas(id=target) for target in targets}
    found = {
        target: [key for key in takes if key in QUOTAS and key not in of.limits]
        for target, of in known.items()
        if not of.closed
    }
    return {target: keys for target, keys in found.items() if keys}


def of_places(asking: Collection[Wanted], places: Mapping[str, Quotas]) -> Room:
    """What AWS's quotas leave for those who ask, at the targets that have been looked at. A default that one of them
    alone exceeds is not what AWS allows there: it bounds nothing.

    Args:
        places: by target.
    """
    largest: dict[tuple[str, str], int] = {}
    for one in asking:
        for place in ((target, key) for target in one.targets if target in places for key in one.takes):
            largest[place] = max(largest.get(place, 0), one.takes[place[1]])
    bounds, assumed = dict[str, int](), set[str]()
    for (target, key), most in largest.items():
        of = places[target]
        if key not in of.limits or (key in of.unread and most > of.limits[key]):
            continue
        counter = counter_of(target, key)
        bounds[counter] = of.limits[key] - of.used.get(key, 0)
        assumed.update([counter] if key in of.unread else [])
    return Room(
        {},
        bounds,
        closed={name: of.closed for name, of in places.items() if of.closed},
        assumed=assumed,
        unread=any(unread(one.targets, one.takes, places) for one in asking),
    )


def limits(wanted: Wanted, places: Mapping[str, Quotas]) -> dict[str, int]:
    """The quotas of which an environment takes something at its targets, as AWS says them, with nothing taken off."""
    return {
        counter_of(target, key): most
        for target in wanted.targets
        if target in places
        for key, most in places[target].limits.items()
        if key in wanted.takes and key not in places[target].unread
    }


class Admitted(Struct, frozen=True):
    """An environment that is built now, and where. Its start tag moves the clocks.

    Attributes:
        after: in how many seconds EC2 has tokens for its launches.
    """

    wanted: Wanted
    target: str
    tag: int
    after: int = 0


class Waiting(Struct, frozen=True):
    """An environment that waits: for what, behind whom, and as which one in the order.

    Attributes:
        seconds: after how many EC2 has tokens for it; None where it waits for anything else.
    """

    wanted: Wanted
    lacks: str
    behind: str
    position: int
    seconds: int | None = None


class Decision(Struct, frozen=True):
    """What becomes of everybody who waits."""

    admitted: tuple[Admitted, ...]
    waiting: tuple[Waiting, ...]


def decide_admission(queue: Iterable[Wanted], room: Room, now: datetime) -> Decision:
    """Decides about everybody who waits, in their fair order."""
    room = _paced(room, now)
    counts, claims = Counter(dict(room.counts)), Counter[str]()
    admitted: list[Admitted] = []
    waiting: list[Waiting] = []
    for group, tag in _ordered(_grouped(queue), room.clocks):
        said = _incomplete(group, now)
        target, lacks = ("", said) if said else _choose(group, room, counts, claims)
        for one in group if target else ():
            after = _take(one, target, counts, room)
            admitted.append(Admitted(one, target, tag, after))
            counts.update(one.demand(target))
        if not target:
            behind = waiting[-1].wanted.environment if waiting else ""
            seconds = None if _incomplete(group, now) else _for_tokens(group, counts, claims, room)
            waiting += [Waiting(one, lacks, behind, len(waiting) + n, seconds) for n, one in enumerate(group, 1)]
            claims.update(_claims(group, counts, claims, room))
    return Decision(tuple(admitted), tuple(waiting))


def never(wanted: Wanted, members: int, limits: Counts) -> str | None:
    """Why an environment can never be built anywhere, whatever ends: at each of its targets a quota is smaller than
    what it takes. None where that is not so.

    Args:
        members: how many like it are admitted together. limits: of each counter, with nothing taken off.
    """
    reasons = []
    for target in wanted.targets:
        over = [
            f"{_said(counter)} is {limits[counter]}, and {'they need' if members > 1 else 'it needs'} {count * members}"
            for counter, count in wanted.demand(target).items()
            if counter in limits and count * members > limits[counter]
        ]
        if not over:
            return None
        reasons.append(f"{target}: {'; '.join(over)}")
    return " / ".join(reasons)


def refused(wanted: Wanted, scopes: Collection[str], room: Room) -> str:
    """What an environment lacks of ceilings and budgets that refuse what does not fit; "" where it lacks nothing.

    Args:
        scopes: whose refuse.
    """
    demand = wanted.demand(wanted.targets[0])
    return _lack(
        {counter: n for counter, n in demand.items() if counter.rpartition("|")[0] in scopes}, room.counts, room
    )


def about_minutes(position: int, holding: int, mean_seconds: int) -> int:
    """About how many minutes somebody waits: so many are to end before, of so many that live that long."""
    return -(-position * mean_seconds // max(1, holding) // 60)


def running_low(admitted: Iterable[Admitted], counts: Counts, room: Room, marks: Mapping[str, str]) -> list[Low]:
    """The ceilings and budgets of which these take so much that people are warned, each once by its mark. Of a ceiling
    so small that the share is all of it nobody is: those who wait say that.

    Args:
        counts: with what these take. marks: of what people were warned before: `mark` of each counter.
    """
    taken = {counter: each.wanted.environment for each in admitted for counter in each.wanted.demand(each.target)}
    found = (
        (Low(counter, counts.get(counter, 0), room.bounds[counter], environment), room.warns.get(_scope(counter), 100))
        for counter, environment in sorted(taken.items())
        if counter in room.bounds
    )
    return [
        low
        for low, percent in found
        if 100 * low.count >= percent * low.most
        and 100 * (low.most - 1) >= percent * low.most
        and marks.get(low.counter, "").partition(" ")[0] != str(low.most)
    ]


def mark(low: Low, day: str) -> str:
    """What is kept of a warning: it is given again where the bound is another one, of a ceiling on another day too. A
    budget's counter is that of one day or month."""
    return str(low.most) if is_money(low.counter) else f"{low.most} {day}"


def low_facts(counter: str, count: int, most: int) -> dict[str, Any]:
    """How much is left of a ceiling or a budget, as it is announced and shown."""
    scope, _, key = counter.rpartition("|")
    of, _, name = scope.partition(":")
    period = key.removeprefix(USD) if is_money(counter) else ""
    said = f"US$ {count / 100:,.2f} of {most / 100:,.0f} for {period}" if period else f"{count} of {most} {key} at once"
    return {
        "of": of,
        "name": name,
        "what": "usd" if period else key,
        "period": period,
        "used": count / 100 if period else count,
        "most": most / 100 if period else most,
        "percent": 100 * count // most,
        "reason": f"the {of} {name} has {said}".replace("  ", " "),
    }


def _scope(counter: str) -> str:
    return counter.rpartition("|")[0]


def launches_after(room: Room, admitted: Iterable[Admitted], now: datetime) -> dict[str, str]:
    """When EC2's buckets are full again, by target, once these have taken their tokens; none that is full."""
    full = dict(room.launches)
    for each in admitted:
        for counter, count in _launches(each.wanted, each.target, room).items():
            target = counter.rpartition("|")[0]
            at = now + timedelta(seconds=each.after)
            full[target] = full_again(full.get(target, ""), count, room.buckets[target], at)
    return {target: at for target, at in full.items() if at > utc_text(now)}


def full_again(full_at: str, count: int, bucket: Bucket, at: datetime) -> str:
    """When EC2's bucket is full again, once so many tokens more are taken at a moment.

    Args:
        full_at: when it was to be full before; "" where it is.
    """
    before = datetime.fromisoformat(full_at) if full_at else at
    return utc_text(max(at, before) + timedelta(milliseconds=-(-1000 * count // bucket.a_second)))


def reconciled(counts: Counts, held: Iterable[Counts]) -> dict[str, int]:
    """By how much counters differ from what is really held: by what a reservation that was lost, or counted and not
    kept, has left. What was spent of a budget is not held."""
    real = Counter[str]()
    for each in held:
        real.update(each)
    differing = {counter: real[counter] - counts.get(counter, 0) for counter in {*real, *counts}}
    return {counter: by for counter, by in differing.items() if by and not is_money(counter)}


# ---- the fair order ---------------------------------------------------------------------------------------------


def _grouped(queue: Iterable[Wanted]) -> list[tuple[Wanted, ...]]:
    """What is decided about at once: an environment, or all of a release that is admitted as a whole."""
    groups: dict[str, list[Wanted]] = defaultdict(list)
    for one in sorted(queue, key=lambda one: (one.since, one.environment)):
        groups[one.release if one.members > 1 else one.environment].append(one)
    return [tuple(group) for group in groups.values()]


def _ordered(groups: Sequence[tuple[Wanted, ...]], clocks: Mapping[str, int]) -> list[tuple[tuple[Wanted, ...], int]]:
    """Groups with their start tags, the first to be built first."""
    own = dict(clocks)
    tagged = []
    # Within an application the order is by priority and age; its clock moves on in that order.
    for group in sorted(groups, key=lambda group: (-group[0].priority, group[0].since, group[0].environment)):
        first = group[0]
        start = max(own.get(first.application, 0), first.virtual)
        own[first.application] = start + cost(group)
        tagged.append((group, start))
    return sorted(tagged, key=lambda each: (-each[0][0].priority, each[1], each[0][0].since, each[0][0].environment))


def cost(group: Sequence[Wanted]) -> int:
    """How far a group moves its application's clock on."""
    return sum(1000 * one.size for one in group) // group[0].weight


def clocks_after(
    clocks: Mapping[str, int], admitted: Collection[Admitted], waiting: Collection[Waiting] = ()
) -> dict[str, int]:
    """The virtual clocks once these were admitted. An application's is forgotten once that of all has passed it, but
    not while one of it waits: that would begin anew from when it asked, ahead of everybody."""
    waits = {ALL, *(each.wanted.application for each in waiting)}
    after = dict(clocks)
    for each in admitted:
        application = each.wanted.application
        after[application] = max(after.get(application, 0), each.tag) + cost([each.wanted])
        after[ALL] = max(after.get(ALL, 0), each.tag)
    return {name: clock for name, clock in after.items() if name in waits or clock > after.get(ALL, 0)}


# ---- what fits --------------------------------------------------------------------------------------------------


def _open(group: Sequence[Wanted], room: Room) -> list[str]:
    return [target for target in group[0].targets if target not in room.closed]


def _choose(group: Sequence[Wanted], room: Room, counts: Counter[str], claims: Counter[str]) -> tuple[str, str]:
    """The best target that has room for a group; "" where none has, with what it lacks at each."""
    lacks = [room.closed[target] for target in group[0].targets if target in room.closed]
    for target in _open(group, room):
        demand = _together(group, target, room)
        if not (lack := _lack(demand, _taken(demand, counts, claims), room)):
            return target, ""
        lacks.append(lack)
    return "", " / ".join(dict.fromkeys(lacks))


def _together(group: Sequence[Wanted], target: str, room: Room) -> Counter[str]:
    """What a group has to find free: of EC2's tokens never more than a full bucket has."""
    demand = Counter[str]()
    for one in group:
        demand.update(one.demand(target))
        demand.update(_launches(one, target, room))
    if (counter := counter_of(target, LAUNCHES)) in demand:
        demand[counter] = min(demand[counter], room.buckets[target].burst)
    return demand


def _paced(room: Room, now: datetime) -> Room:
    """The same room, with EC2's tokens as counters."""
    lacking = {
        counter_of(target, LAUNCHES): bucket.lacking(room.launches.get(target, ""), now)
        for target, bucket in room.buckets.items()
    }
    most = {counter_of(target, LAUNCHES): bucket.most for target, bucket in room.buckets.items()}
    return replace(room, counts={**room.counts, **lacking}, bounds={**room.bounds, **most})


def _launches(one: Wanted, target: str, room: Room) -> dict[str, int]:
    """The tokens that an environment takes of EC2's bucket at a target."""
    count = one.takes.get(INSTANCES, 0)
    return {counter_of(target, LAUNCHES): count} if count and target in room.buckets else {}


def _take(one: Wanted, target: str, counts: Counter[str], room: Room) -> int:
    """Takes EC2's tokens for an environment that is admitted. Returns in how many seconds they are there: a bucket that
    is full before that gets no fuller."""
    after = 0
    for counter, count in _launches(one, target, room).items():
        bucket = room.buckets[target]
        after = bucket.after(counts[counter], count)
        counts[counter] = max(counts[counter], after * bucket.a_second) + count
    return after


def _for_tokens(group: Sequence[Wanted], counts: Counter[str], claims: Counter[str], room: Room) -> int | None:
    """In how many seconds EC2 has tokens for a group that lacks nothing else, after those for whoever is before it;
    None where it lacks something else everywhere."""
    found = []
    for target in _open(group, room):
        demand, tokens = _together(group, target, room), counter_of(target, LAUNCHES)
        taken = _taken(demand, counts, claims)
        if _short(demand, taken, room.bounds).keys() == {tokens}:
            found.append(room.buckets[target].after(taken[tokens], demand[tokens]))
    return min(found, default=None)


def _incomplete(group: Sequence[Wanted], now: datetime) -> str:
    missing = group[0].members - len(group)
    if missing <= 0 or now >= datetime.fromisoformat(group[0].since) + WHOLE_AFTER:
        return ""
    return f"the other {missing} of its release, which is built as a whole"


def _lack(demand: Counts, taken: Counts, room: Room) -> str:
    """What is lacking of a demand, for people; "" where it fits."""
    short = _short(demand, taken, room.bounds)
    return "; ".join(
        f"{_said(counter)}: {needed} needed, {max(0, room.bounds[counter] - taken.get(counter, 0))} free"
        + (" of AWS's default, because the quota could not be read" if counter in room.assumed else "")
        for counter, needed in short.items()
    )


def _taken(demand: Counts, counts: Counter[str], claims: Counter[str]) -> dict[str, int]:
    """What is reserved or claimed of what is demanded."""
    return {counter: counts[counter] + claims[counter] for counter in demand}


def _short(demand: Counts, taken: Counts, bounds: Counts) -> dict[str, int]:
    return {
        counter: count
        for counter, count in demand.items()
        if count and counter in bounds and taken.get(counter, 0) + count > bounds[counter]
    }


def _claims(group: Sequence[Wanted], counts: Counter[str], claimed: Counter[str], room: Room) -> Counter[str]:
    """What a group that waits keeps later ones from taking. Who waits for a ceiling of its own keeps nobody from a
    target, nor from a ceiling that is wider. EC2's tokens come by themselves: who lacks nothing else claims them."""
    targets = _open(group, room) or group[0].targets[:1]
    demand = _together(group, targets[0], room)
    short = _short(demand, counts, room.bounds)
    scopes = [f"{scope}|" for scope in group[0].scopes]
    for n, scope in enumerate(scopes):
        if any(counter.startswith(scope) for counter in short):
            kept = tuple(scopes[: n + 1])
            return Counter({counter: count for counter, count in demand.items() if counter.startswith(kept)})
    claims = Counter[str]()
    # Where it fits only once others than Mayfly's have gone it keeps nobody away, as long as there is another target.
    fits = [one for one in targets if not _short(_together(group, one, room), {}, room.bounds)]
    for target in fits or targets:
        demand, tokens = _together(group, target, room), counter_of(target, LAUNCHES)
        if _short(demand, _taken(demand, counts, claimed), room.bounds).keys() - {tokens}:
            del demand[tokens]
        claims |= demand
    return claims


@cache
def _said(counter: str) -> str:
    """A counter for people."""
    scope, _, key = counter.rpartition("|")
    if key.startswith(USD):
        kind, _, name = scope.partition(":")
        return f"the budget in US cents for {key.removeprefix(USD)} of the {kind} {name}".rstrip()
    if scope.startswith(("application:", "owner:", INSTALLATION)):
        kind, _, name = scope.partition(":")
        return f"the ceiling of {key} of the {kind} {name}".rstrip()
    if key == LAUNCHES:
        return f"EC2's launches of the next {AHEAD // 60} minutes in {scope}"
    return f"{described(key)} in {scope}"
