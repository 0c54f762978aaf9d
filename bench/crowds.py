"""Simulates crowds that ask for room: the decisions that admission makes, over a simulated clock, and what binds.

python -m bench.crowds
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from mayfly.contract.template import read
from mayfly.domain import room
from mayfly.domain.needs import INSTANCES, QUOTAS, reckon
from mayfly.domain.pace import EVERY, Lane
from mayfly.domain.records import Quotas
from mayfly.domain.room import Bucket, Wanted

SWEEP = 300
"""Seconds between two sweeps."""
BEGIN = datetime(2026, 11, 30, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[1]
PLACE = "222222222222/eu-central-1"
SHARED = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2"}


def fleet(**parameters: str) -> dict[str, int]:
    """What an environment of blueprints/fleet.yaml takes, with parameters of its own."""
    return dict(reckon(read((ROOT / "blueprints" / "fleet.yaml").read_text()), parameters).takes)


@dataclass
class Crowd:
    """A simulated installation: who asks at which second, who is admitted, and when what was admitted is gone.

    Attributes:
        step: seconds within which what ends is decided about at once, as a burst of endings is.
        at: seconds since the beginning. admitted: in order. waited: seconds of each.
        fullest: the most that was ever reserved of each counter, in per cent of its bound.
        full_at: when EC2's buckets of tokens are full again, by target. launches: at which second how many, by target.
    """

    places: dict[str, Quotas]
    lives: timedelta
    step: int
    at: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    clocks: dict[str, int] = field(default_factory=dict)
    queue: dict[str, Wanted] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    admitted: list[Wanted] = field(default_factory=list)
    waited: dict[str, int] = field(default_factory=dict)
    fullest: dict[str, int] = field(default_factory=dict)
    longest: int = 0
    full_at: dict[str, str] = field(default_factory=dict)
    launches: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def run(self, arrivals: dict[int, list[Wanted]]) -> Crowd:
        """Lets everybody ask, and goes on until all that was admitted is gone. Whatever happens in a second is decided
        about once, and a sweep decides while anybody waits."""
        ends: list[tuple[int, int, Wanted, str]] = []
        moments, number = sorted(arrivals, reverse=True), 0
        while moments or ends:
            sweep = [self.at - self.at % SWEEP + SWEEP] if self.queue else []
            self.at = min([*moments[-1:], *(each[0] for each in ends[:1]), *sweep])
            while ends and ends[0][0] == self.at:
                _, _, gone, target = heapq.heappop(ends)
                self.counts.subtract(gone.demand(target))
            for one in arrivals[moments.pop()] if moments and moments[-1] == self.at else ():
                self.queue[one.environment] = replace(one, virtual=self.clocks.get(room.ALL, 0))
                self.asked[one.environment] = self.at
            for each in self.decide():
                number += 1
                begin = self.at + each.after
                self.launches.setdefault(each.target, []).append((begin, each.wanted.takes[INSTANCES]))
                end = begin + int(self.lives.total_seconds() * (0.5 + hash_of(each.wanted.environment)))
                end += -end % self.step
                heapq.heappush(ends, (end, number, each.wanted, each.target))
        return self

    def decide(self) -> tuple[room.Admitted, ...]:
        """Decides once, and keeps what came of it."""
        wanted = list(self.queue.values())
        of = room.of_places(wanted, self.places)
        buckets, at = dict.fromkeys(self.places, room.Bucket()), BEGIN + timedelta(seconds=self.at)
        now = room.Room(self.counts, of.bounds, self.clocks, of.closed, buckets=buckets, launches=self.full_at)
        decision = room.decide_admission(wanted, now, at)
        self.full_at = room.launches_after(now, decision.admitted, at)
        self.clocks = room.clocks_after(self.clocks, decision.admitted, decision.waiting)
        for each in decision.admitted:
            name = each.wanted.environment
            del self.queue[name]
            self.counts.update(each.wanted.demand(each.target))
            self.admitted.append(each.wanted)
            self.waited[name] = self.at + each.after - self.asked[name]
        self.longest = max(self.longest, len(self.queue))
        for counter, most in of.bounds.items():
            self.fullest[counter] = max(self.fullest.get(counter, 0), 100 * self.counts[counter] // most)
        return decision.admitted


def hash_of(name: str) -> float:
    """A number from 0 to 1 that a name always has."""
    return random.Random(name).random()


def wanted(name: str, application: str, second: int, takes: dict[str, int], place: str = PLACE) -> Wanted:
    """An environment that is asked for in this second."""
    since = (BEGIN + timedelta(seconds=second)).isoformat()
    return Wanted(name, application, f"team-{application}", name, (place,), takes, since)


def room_for(count: int, takes: dict[str, int], place: str = PLACE, others: int = 2) -> Quotas:
    """What a place allows that has room for so many environments, and others that use some of each."""
    limits = {key: count * each + others for key, each in takes.items() if key in QUOTAS}
    return Quotas(id=place, limits=limits, used=dict.fromkeys(limits, others))


def thousand() -> Crowd:
    """200 applications want 5 environments each within one minute, where there is room for 60."""
    takes, arrivals = fleet(), dict[int, list[Wanted]]()
    for number in range(1000):
        application, second = f"app-{number % 200:03}", 10 * int(6 * hash_of(f"arrival-{number}"))
        one = wanted(f"{application}-{number:04}", application, second, takes)
        arrivals.setdefault(second, []).append(one)
    return Crowd({PLACE: room_for(60, takes)}, timedelta(minutes=30), 300).run(arrivals)


def day() -> Crowd:
    """10,000 environments of 200 applications in a day, most of them in office hours, over ten targets of 90 each."""
    takes, arrivals = fleet(), dict[int, list[Wanted]]()
    targets = [f"{222222222222 + number}/eu-central-1" for number in range(10)]
    for number in range(10_000):
        application = f"app-{int(200 * hash_of(f'whose-{number}')):03}"
        hours = 8 + 10 * hash_of(f"hour-{number}") if number % 10 else 24 * hash_of(f"hour-{number}")
        second = 60 * int(60 * hours)
        target = targets[int(application.removeprefix("app-")) % len(targets)]
        arrivals.setdefault(second, []).append(wanted(f"{application}-{number:05}", application, second, takes, target))
    places = {target: room_for(90, takes, target) for target in targets}
    return Crowd(places, timedelta(minutes=60), 60).run(arrivals)


def binds() -> Iterator[tuple[str, str, int, int, int]]:
    """Of each quota that an environment of fleet.yaml takes something of: in which network, its name, AWS's default,
    what one environment takes, and at how many environments it binds; the first first."""
    for network, parameters in (("own", {}), ("shared", SHARED)):
        rows = []
        for key, count in fleet(**parameters).items():
            if quota := QUOTAS.get(key):
                rows.append((network, quota.name, quota.default * quota.per, count, quota.default * quota.per // count))
        yield from sorted(rows, key=lambda row: (row[-1], row[1]))


def table() -> str:
    """What binds at which number, as docs/admission.md shows it."""
    lines = [
        "| quota (AWS's default) | one environment takes | own network: binds after | shared network: binds after |"
    ]
    lines.append("| --- | --- | --- | --- |")
    found = list(binds())
    shared = {name: at for network, name, _, _, at in found if network == "shared"}
    for network, name, most, count, at in found:
        if network == "own":
            lines.append(f"| {name} ({most:,}) | {count} | {at:,} | {f'{shared[name]:,}' if name in shared else '—'} |")
    return "\n".join(lines)


def rates() -> str:
    """What binds at which number a day at one target, by the rates that admission and pacing keep; as
    docs/admission.md shows it."""
    tokens = Bucket().a_second / fleet()[INSTANCES]
    found = {
        "EC2's launch rate, after the 22 that a full bucket has": tokens,
        "room for 60 at once, each living for half an hour": 60 / 1800,
        "CloudFormation's turns to end": 1000 / EVERY[Lane.END],
        "CloudFormation's turns to build": 1000 / EVERY[Lane.BUILD],
    }
    lines = ["| at one target | environments an hour | a day | at ten targets a day |", "| --- | --- | --- | --- |"]
    for name, a_second in sorted(found.items(), key=lambda each: each[1]):
        hour, day = round(3600 * a_second), round(86_400 * a_second)
        lines.append(f"| {name} | {hour:,} | {day:,} | {10 * day:,} |")
    return "\n".join(lines)


def main() -> None:
    """Prints both crowds and the tables."""
    for name, crowd in (("1,000 in a minute, room for 60", thousand()), ("10,000 a day, ten targets", day())):
        waits = sorted(crowd.waited.values())
        said = (
            f"{len(crowd.admitted):,} admitted, {crowd.longest} waited at once, half of all {waits[len(waits) // 2]} s"
        )
        fullest = max(crowd.fullest.values())
        print(f"{name}: {said} at most, the last {waits[-1]} s; the fullest quota at {fullest} %")  # noqa: T201
    print(table(), rates(), sep="\n\n")  # noqa: T201


if __name__ == "__main__":
    main()
