"""Many are looked at side by side: one that fails or hangs keeps none of the others."""

from threading import Barrier, Event

import pytest

from mayfly.aws.attempts import going_on, side_by_side


def test_all_are_looked_at_at_once() -> None:
    together = Barrier(8, timeout=600)
    results, failed = side_by_side(lambda one: (together.wait(), one)[1], range(8), 600)
    assert (results, failed) == ({one: one for one in range(8)}, {})


@pytest.mark.parametrize("error", [ValueError("<html>Bad Gateway</html>"), KeyError("CreationTime"), OSError("reset")])
def test_one_that_fails_is_said_and_the_others_are_seen(error: Exception) -> None:
    def look(one: int) -> int:
        if one == 1:
            raise error
        return one

    results, failed = side_by_side(look, range(3), 600)
    assert results == {0: 0, 2: 2}
    assert failed == {1: f"{type(error).__name__}: {error}"}


def test_one_that_hangs_is_left_to_itself_and_said() -> None:
    hangs = Event()
    try:
        results, failed = side_by_side(lambda one: hangs.wait(600) if one else one, range(2), 3)
    finally:
        hangs.set()
    assert results == {0: 0}
    assert failed == {1: "there was no answer within 3 seconds"}


def test_what_goes_on_goes_on_after_any_error() -> None:
    done = []
    for one in range(3):
        with going_on(str(one)):
            assert one != 1
            done.append(one)
    assert done == [0, 2]
