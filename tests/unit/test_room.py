"""Who is built now, who waits, for what and behind whom: decided by pure functions."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mayfly.domain.room import (
    AHEAD,
    ALL,
    Admitted,
    Bucket,
    Room,
    Wanted,
    about_minutes,
    clocks_after,
    decide_admission,
    launches_after,
    never,
    reconciled,
)
from mayfly.domain.timestamp import utc_text

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HERE, THERE = "222222222222/us-east-1", "222222222222/eu-central-1"


def wanted(name: str, application: str = "webshop", **other: Any) -> Wanted:
    """An environment that takes a VPC and 2 instances, and asked in the minute that its name ends with."""
    minute = int("".join(filter(str.isdigit, name)) or 0)
    facts: dict[str, Any] = {
        "environment": name,
        "application": application,
        "owner": "team",
        "release": name,
        "targets": (HERE,),
        "takes": {"vpcs": 1, "instances": 2},
        "since": (NOW - timedelta(minutes=60) + timedelta(minutes=minute)).isoformat(),
    }
    return Wanted(**(facts | other))


def vpcs(most: int, target: str = HERE, **other: int) -> dict[str, int]:
    return {f"{target}|vpcs": most} | other


def built(decision: Any) -> list[str]:
    return [each.wanted.environment for each in decision.admitted]


def test_what_fits_is_built_the_oldest_first_and_the_rest_waits_for_a_named_quota_behind_a_named_one():
    decision = decide_admission([wanted("e3"), wanted("e1"), wanted("e2")], Room({}, vpcs(1)), NOW)
    assert built(decision) == ["e1"]
    [second, third] = decision.waiting
    assert (second.wanted.environment, second.behind, second.position) == ("e2", "", 1)
    assert (third.wanted.environment, third.behind, third.position) == ("e3", "e2", 2)
    assert second.lacks == f"the quota VPCs per Region (vpc, L-F678F1CE) in {HERE}: 1 needed, 0 free"


def test_what_is_reserved_already_counts():
    assert not decide_admission([wanted("e1")], Room({f"{HERE}|vpcs": 5}, vpcs(5)), NOW).admitted
    assert decide_admission([wanted("e1")], Room({f"{HERE}|vpcs": 4}, vpcs(5)), NOW).admitted


def test_one_application_with_many_does_not_keep_another_waiting():
    queue = [wanted(f"many{n}", "many") for n in range(10)] + [wanted(f"few{n}", "few") for n in range(20, 22)]
    assert built(decide_admission(queue, Room({}, vpcs(4)), NOW)) == ["many0", "few20", "many1", "few21"]


def test_an_application_of_twice_the_weight_gets_twice_as_many():
    queue = [wanted(f"a{n}", "a", weight=2) for n in range(10)] + [wanted(f"b{n}", "b") for n in range(10, 20)]
    applications = Counter(each.wanted.application for each in decide_admission(queue, Room({}, vpcs(9)), NOW).admitted)
    assert applications == {"a": 6, "b": 3}


def test_the_higher_priority_is_first_whatever_its_age():
    queue = [wanted("e1"), wanted("hotfix9", "other", priority=9)]
    assert built(decide_admission(queue, Room({}, vpcs(1)), NOW)) == ["hotfix9"]


LARGE = {"vpcs": 1, "instances": 100, "vcpus-standard": 200}
SMALL = {"instances": 1, "vcpus-standard": 2}


def test_a_small_one_does_not_go_ahead_where_it_would_delay_the_large_one_before_it():
    room = Room({f"{HERE}|vcpus-standard": 50}, {f"{HERE}|vcpus-standard": 240})
    queue = [wanted("large1", takes=LARGE), wanted("small2", "other", takes=SMALL)]
    decision = decide_admission(queue, room, NOW)
    assert not decision.admitted
    assert decision.waiting[1].behind == "large1"


def test_a_small_one_goes_ahead_where_it_delays_nobody():
    room = Room({f"{HERE}|vpcs": 5}, vpcs(5) | {f"{HERE}|vcpus-standard": 240})
    queue = [wanted("large1", takes=LARGE), wanted("small2", "other", takes=SMALL)]
    assert built(decide_admission(queue, room, NOW)) == ["small2"], (
        "the large one lacks a VPC, and 40 vCPUs are left besides its own"
    )
    full = Room({f"{HERE}|vpcs": 5}, vpcs(5) | {f"{HERE}|vcpus-standard": 201})
    assert not decide_admission(queue, full, NOW).admitted, "it would take what the large one needs once it has its VPC"


def test_what_waits_for_its_own_ceiling_keeps_nobody_else_waiting():
    bounds = vpcs(1) | {"application:webshop|environments": 0}
    decision = decide_admission([wanted("e1"), wanted("e2", "other")], Room({}, bounds), NOW)
    assert built(decision) == ["e2"]
    assert decision.waiting[0].lacks == "the ceiling of environments of the application webshop: 1 needed, 0 free"


def test_the_next_target_is_taken_where_the_first_has_no_room():
    room = Room({f"{HERE}|vpcs": 5}, vpcs(5) | vpcs(5, THERE))
    [admitted] = decide_admission([wanted("e1", targets=(HERE, THERE))], room, NOW).admitted
    assert admitted.target == THERE


def test_who_waits_waits_for_each_of_its_targets_and_says_so():
    both, full = vpcs(5) | vpcs(5, THERE), {f"{HERE}|vpcs": 5, f"{THERE}|vpcs": 5}
    [waits] = decide_admission([wanted("e1", targets=(HERE, THERE))], Room(full, both), NOW).waiting
    said = "the quota VPCs per Region (vpc, L-F678F1CE) in"
    assert waits.lacks == f"{said} {HERE}: 1 needed, 0 free / {said} {THERE}: 1 needed, 0 free"
    for target in (HERE, THERE):
        [admitted] = decide_admission(
            [wanted("e1", targets=(HERE, THERE))], Room(full | {f"{target}|vpcs": 4}, both), NOW
        ).admitted
        assert admitted.target == target
    closed = Room(full, both, closed={HERE: "the account refuses: AccessDenied"})
    [waits] = decide_admission([wanted("e1", targets=(HERE, THERE))], closed, NOW).waiting
    assert waits.lacks == f"the account refuses: AccessDenied / {said} {THERE}: 1 needed, 0 free"


def test_a_ceiling_that_all_targets_lack_is_said_once():
    [waits] = decide_admission(
        [wanted("e1", targets=(HERE, THERE))], Room({}, {"application:webshop|environments": 0}), NOW
    ).waiting
    assert waits.lacks == "the ceiling of environments of the application webshop: 1 needed, 0 free"


def test_who_never_fits_at_a_target_keeps_nobody_from_it():
    bounds = {f"{HERE}|vcpus-standard": 100, f"{THERE}|vcpus-standard": 240}
    room = Room({f"{THERE}|vcpus-standard": 100}, bounds)
    queue = [wanted("large1", targets=(HERE, THERE), takes=LARGE), wanted("small2", "other", takes=SMALL)]
    assert built(decide_admission(queue, room, NOW)) == ["small2"]
    there = [queue[0], wanted("small2", "other", takes=SMALL, targets=(THERE,))]
    assert not decide_admission(there, Room({f"{THERE}|vcpus-standard": 200}, bounds), NOW).admitted


def test_nothing_is_built_at_a_target_that_is_closed():
    closed = Room({}, vpcs(5), closed={HERE: "the account refuses: AccessDenied"})
    assert [each.lacks for each in decide_admission([wanted("e1")], closed, NOW).waiting] == [
        "the account refuses: AccessDenied"
    ]
    assert decide_admission([wanted("e1", targets=(HERE, THERE))], closed, NOW).admitted[0].target == THERE


def test_a_release_that_is_built_as_a_whole_waits_for_all_of_it_to_fit():
    whole = [wanted(f"suite{n}", release="r", members=2) for n in (1, 2)]
    assert not decide_admission(whole, Room({}, vpcs(1)), NOW).admitted
    assert built(decide_admission(whole, Room({}, vpcs(2)), NOW)) == ["suite1", "suite2"]


def test_it_waits_for_its_other_environments_to_ask_but_not_for_ever():
    one = wanted("suite1", release="r", members=2, since=(NOW - timedelta(minutes=1)).isoformat())
    [waits] = decide_admission([one], Room({}, vpcs(5)), NOW).waiting
    assert waits.lacks == "the other 1 of its release, which is built as a whole"
    assert decide_admission([one], Room({}, vpcs(5)), NOW + timedelta(minutes=10)).admitted


def test_roles_count_for_the_account_whatever_the_region():
    takes = {"roles": 1}
    room = Room({"222222222222|roles": 1000}, {"222222222222|roles": 1000})
    assert not decide_admission([wanted("e1", targets=(HERE, THERE), takes=takes)], room, NOW).admitted


def test_what_can_never_fit_is_said_for_each_of_its_targets():
    limits = vpcs(0) | vpcs(0, THERE)
    assert never(wanted("e1", targets=(HERE, THERE)), 1, limits) == (
        f"{HERE}: the quota VPCs per Region (vpc, L-F678F1CE) in {HERE} is 0, and it needs 1 / "
        f"{THERE}: the quota VPCs per Region (vpc, L-F678F1CE) in {THERE} is 0, and it needs 1"
    )
    assert never(wanted("e1", targets=(HERE, THERE)), 1, vpcs(0) | vpcs(1, THERE)) is None
    assert never(wanted("e1"), 3, vpcs(2)) == (
        f"{HERE}: the quota VPCs per Region (vpc, L-F678F1CE) in {HERE} is 2, and they need 3"
    )


def test_a_budget_counts_for_the_day_and_for_everybody_that_it_is_of():
    one = wanted("e1", charges={"usd 2026-11-28": 1200})
    full = Room({"owner:team|usd 2026-11-28": 9000}, {"owner:team|usd 2026-11-28": 10000})
    assert decide_admission([one], Room({}, {"owner:team|usd 2026-11-28": 1200}), NOW).admitted
    [waits] = decide_admission([one], full, NOW).waiting
    assert waits.lacks == "the budget in US cents for 2026-11-28 of the owner team: 1200 needed, 1000 free"
    [next_day] = decide_admission([wanted("e1", charges={"usd 2026-11-29": 1200})], full, NOW).admitted
    assert next_day.wanted.environment == "e1"


def test_how_long_somebody_waits_is_reckoned_from_how_long_others_lived():
    assert about_minutes(position=3, holding=60, mean_seconds=3600) == 3
    assert about_minutes(position=1, holding=0, mean_seconds=600) == 10


def test_a_reservation_that_was_lost_or_not_given_back_is_found():
    held = [wanted("e1").demand(HERE)]
    counts = {
        "owner:team|usd 2026-11-28": 300,
        f"{HERE}|vpcs": 2, f"{HERE}|instances": 2, f"{THERE}|vpcs": 1, "application:webshop|environments": 1,
        "application:webshop|instances": 2, "owner:team|instances": 2, "installation:|environments": 1,
        "installation:|instances": 2,
    }  # fmt: skip
    assert reconciled(counts, held) == {f"{HERE}|vpcs": -1, f"{THERE}|vpcs": -1, "owner:team|environments": 1}


# ---- EC2's launch rate ------------------------------------------------------------------------------------------


def launching(*counts: int) -> list[Wanted]:
    """Environments that launch so many instances each, in this order."""
    return [wanted(f"e{n}", takes={"instances": count}) for n, count in enumerate(counts)]


def full_in(seconds: int) -> Room:
    """Where EC2's bucket of 100 tokens, and 2 more a second, is full again in so many seconds."""
    return Room({}, {}, buckets={HERE: Bucket(100, 2)}, launches={HERE: utc_text(NOW + timedelta(seconds=seconds))})


def test_launches_wait_for_ec2_s_tokens_and_take_them_in_order():
    decision = decide_admission(launching(45, 45, 45, 45), full_in(0), NOW)
    assert [each.after for each in decision.admitted] == [0, 0, 18, 40]


def test_tokens_come_back_by_themselves():
    taken = launches_after(full_in(0), decide_admission(launching(45, 45, 45), full_in(0), NOW).admitted, NOW)
    assert taken == {HERE: "2026-11-28T12:01:07.500Z"}
    later = replace(full_in(0), launches=taken)
    assert decide_admission(launching(45), later, NOW + timedelta(seconds=67)).admitted[0].after == 0
    assert launches_after(later, [], NOW + timedelta(seconds=68)) == {}


def test_what_takes_more_than_the_bucket_holds_is_launched_when_it_is_full_and_delays_the_next_by_all_of_it():
    decision = decide_admission(launching(500, 1), full_in(30), NOW)
    assert [each.after for each in decision.admitted] == [30, 231]


def test_so_does_a_release_that_is_built_as_a_whole():
    whole = [wanted(f"suite{n}", release="r", members=3, takes={"instances": 60}) for n in range(3)]
    assert [each.after for each in decide_admission(whole, full_in(0), NOW).admitted] == [0, 10, 40]


def test_who_would_get_its_tokens_too_late_keeps_its_place_and_says_for_what():
    decision = decide_admission(launching(45, 45, 45), full_in(AHEAD), NOW)
    assert built(decision) == ["e0", "e1"]
    [waits] = decision.waiting
    assert waits.lacks == f"EC2's launches of the next 10 minutes in {HERE}: 45 needed, 10 free"


def test_who_lacks_tokens_is_not_overtaken_by_one_that_needs_fewer():
    [large, small] = launching(100, 1)
    decision = decide_admission([large, small], full_in(AHEAD + 25), NOW)
    assert not decision.admitted
    assert decision.waiting[1].behind == "e0"


def test_who_lacks_something_else_keeps_nobody_from_ec2_s_tokens():
    room = replace(full_in(AHEAD), bounds=vpcs(1), counts=vpcs(1))
    lacking = [wanted(f"e{n}", takes={"vpcs": 1, "instances": 100}) for n in range(3)]
    assert built(decide_admission([*lacking, wanted("other9", "other", takes={"instances": 60})], room, NOW)) == [
        "other9"
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.lists(st.integers(1, 160), max_size=6)), max_size=12))
def test_no_launch_finds_ec2_s_bucket_without_its_tokens(rounds):
    """As EC2 counts, to the second: 100 tokens at most, 2 more a second."""
    room, now, waiting, launches, n = full_in(0), NOW, list[Wanted](), list[tuple[datetime, int]](), 0
    for seconds, counts in [*rounds, *[(AHEAD, [])] * 30]:
        now += timedelta(seconds=seconds)
        for count in counts:
            n += 1
            waiting.append(wanted(f"e{n}", takes={"instances": count}))
        decision = decide_admission(waiting, room, now)
        launches += [
            (now + timedelta(seconds=each.after), each.wanted.takes["instances"]) for each in decision.admitted
        ]
        assert all(each.after <= AHEAD for each in decision.admitted)
        waiting = [each.wanted for each in decision.waiting]
        room = replace(room, launches=launches_after(room, decision.admitted, now))
    assert not waiting, "everybody is built in the end, however large"
    tokens, at = 100.0, NOW
    for when, count in launches:
        assert when >= at, "in the order in which they were admitted"
        tokens, at = min(100.0, tokens + 2 * (when - at).total_seconds()), when
        assert tokens >= min(count, 100)
        tokens -= count


APPLICATIONS = ("a", "b", "c")


@st.composite
def queues(draw: st.DrawFn) -> list[Wanted]:
    """Up to 12 environments of three applications, alone or as whole releases, of all sizes, for one or two targets."""
    queue = []
    for n in range(draw(st.integers(1, 8))):
        application = draw(st.sampled_from(APPLICATIONS))
        members = draw(st.sampled_from([1, 1, 1, 2]))
        takes = {"vpcs": draw(st.integers(0, 2)), "vcpus-standard": draw(st.integers(0, 8)), "instances": 1}
        targets = draw(st.sampled_from([(HERE,), (THERE,), (HERE, THERE), (THERE, HERE)]))
        priority, weight = draw(st.sampled_from([5, 5, 9])), draw(st.integers(1, 3))
        for m in range(members):
            queue.append(
                wanted(
                    f"{application}-{m}-{n}",
                    application,
                    takes=takes,
                    targets=targets,
                    release=f"{application}-{n}",
                    members=members,
                    priority=priority,
                    weight=weight,
                )
            )
    return queue


@st.composite
def rooms(draw: st.DrawFn) -> Room:
    bounds = {
        f"{target}|{key}": draw(st.integers(0, 12)) for target in (HERE, THERE) for key in ("vpcs", "vcpus-standard")
    } | {f"application:{name}|environments": draw(st.integers(0, 5)) for name in APPLICATIONS}
    counts = {counter: draw(st.integers(0, 13)) for counter in bounds}  # a quota may be lowered below what is reserved
    return Room(counts, bounds)


@settings(max_examples=100, deadline=None)
@given(queues(), rooms())
def test_no_counter_gets_above_its_bound_nobody_is_lost_and_nobody_admitted_twice(queue, room):
    decision = decide_admission(queue, room, NOW)
    added = Counter[str]()
    for each in decision.admitted:
        added.update(each.wanted.demand(each.target))
    for counter, count in added.items():
        if count and counter in room.bounds:
            assert room.counts.get(counter, 0) + count <= room.bounds[counter]
    names = built(decision) + [each.wanted.environment for each in decision.waiting]
    assert sorted(names) == sorted(one.environment for one in queue)


@settings(max_examples=100, deadline=None)
@given(queues(), rooms())
def test_whole_releases_are_admitted_as_a_whole_and_at_one_target(queue, room):
    targets: dict[str, set[str]] = {}
    for each in decide_admission(queue, room, NOW).admitted:
        targets.setdefault(each.wanted.release, set()).add(each.target)
    admitted = {each.wanted.environment for each in decide_admission(queue, room, NOW).admitted}
    for one in queue:
        if one.members > 1 and one.release in targets:
            assert one.environment in admitted
            assert len(targets[one.release]) == 1


@settings(max_examples=100, deadline=None)
@given(queues(), rooms())
def test_who_goes_ahead_delays_nobody(queue, room):
    """Of what the first that waits needs, those behind it in the order take only what is left besides."""
    order = built(decide_admission(queue, Room({}, {}), NOW))
    decision = decide_admission(queue, room, NOW)
    if not decision.waiting or "the ceiling" in decision.waiting[0].lacks:
        return
    first = decision.waiting[0].wanted
    behind = [
        each for each in decision.admitted if order.index(each.wanted.environment) > order.index(first.environment)
    ]
    taken = Counter(dict(room.counts))
    for each in decision.admitted:
        taken.update(each.wanted.demand(each.target))
    for target in first.targets:
        for counter, count in first.demand(target).items():
            if count and counter in room.bounds and any(each.wanted.demand(each.target)[counter] for each in behind):
                assert taken[counter] + count <= room.bounds[counter]


@settings(max_examples=100, deadline=None)
@given(queues(), st.integers(1, 3))
def test_everybody_is_built_in_the_end_whoever_comes_meanwhile(queue, newcomers):
    """One environment ends a round, and newcomers of every application ask in each: who was there first is built."""
    bounds = {f"{target}|{key}": 24 for target in (HERE, THERE) for key in ("vpcs", "vcpus-standard")}
    waiting, held, clocks, n = list(queue), [], {}, 100
    there = {one.environment for one in queue}
    for _ in range(400):
        counts = Counter[str]()
        for one, target in held:
            counts.update(one.demand(target))
        decision = decide_admission(waiting, Room(counts, bounds, clocks=clocks), NOW)
        assert all(counts[c] <= b for c, b in bounds.items())
        clocks = clocks_after(clocks, decision.admitted)
        held += [(each.wanted, each.target) for each in decision.admitted]
        waiting = [each.wanted for each in decision.waiting]
        there -= {each.wanted.environment for each in decision.admitted}
        if not there:
            return
        held = held[1:]
        for k in range(newcomers):
            n += 1
            takes = {"vpcs": 1, "vcpus-standard": 4, "instances": 1}
            waiting.append(
                wanted(f"new{n}", APPLICATIONS[k], takes=takes, virtual=clocks.get(ALL, 0), priority=9 if not k else 5)
            )
    high = [one for one in queue if one.environment in there and one.priority < 9]
    assert len(high) == len(there), "only a higher priority may keep somebody waiting"


def test_a_clock_that_all_have_passed_is_forgotten():
    after = clocks_after({"old": 10}, [Admitted(wanted("e1"), HERE, 5000)])
    assert after == {"webshop": 7000, ALL: 5000}
