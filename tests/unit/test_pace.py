"""Turns to call CloudFormation."""

from mayfly.domain.pace import EVERY, QUIET, SHARE, Lane, is_quiet, taken

NOW = 1_795_968_562_347


def test_nobody_waits_while_few_turns_are_given_out():
    assert is_quiet(0, NOW)
    assert is_quiet(NOW + QUIET, NOW)
    assert not is_quiet(NOW + QUIET + 1, NOW)


def test_while_nobody_waits_one_of_four_takes_the_turns_of_all_of_them():
    took = [taken(Lane.END, f"web-{number}", 0, NOW) for number in range(400)]
    assert 60 <= sum(each is not None for each in took) <= 140
    assert {each for each in took if each} == {NOW + SHARE * EVERY[Lane.END]}


def test_what_is_taken_follows_what_was():
    someone = next(each for each in map(str, range(99)) if taken(Lane.BUILD, each, 0, NOW))
    assert taken(Lane.BUILD, someone, NOW + 700, NOW) == NOW + 700 + SHARE * EVERY[Lane.BUILD]


def test_the_rates_leave_a_call_a_second_to_sweeps():
    deletions, creations = (1000 / EVERY[lane] for lane in (Lane.END, Lane.BUILD))
    assert 2 * deletions <= 4
    assert creations <= 4
