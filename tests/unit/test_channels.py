"""Channels and their reach: where a channel points after any row of moves, and what still runs on what it left."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mayfly.domain.channel import (
    PREVIOUS_KEPT,
    Channel,
    ChannelAction,
    Pointed,
    missing,
    move_id,
    moved,
    needed,
    promotion,
    rollback,
)
from mayfly.domain.reach import Running, measure

START = datetime(2026, 11, 24, tzinfo=UTC)
STABLE = Channel("base", "stable")


def image(number):
    return Pointed(f"ami-{number}", {"us-east-1": f"ami-{number}", "eu-west-1": f"ami-{number}-eu"})


def on(*numbers, channel=STABLE):
    """The channel after promotions to these images, an hour apart."""
    for number in numbers:
        channel = moved(channel, ChannelAction.PROMOTE, image(number), START + timedelta(hours=channel.version))
    return channel


class TestAPromotion:
    def test_moves_the_channel_and_keeps_what_it_left_to_roll_back_to(self):
        after = on(1, 2)
        assert (after.image, after.version) == ("ami-2", 2)
        assert [each.image for each in after.previous] == ["ami-1"]

    def test_to_where_it_points_is_nothing_to_do(self):
        assert promotion(on(1), "ami-1", by_policy=False).action is ChannelAction.NOTHING

    def test_by_a_policy_does_not_undo_a_rollback(self):
        back = moved(on(1, 2), ChannelAction.ROLL_BACK, image(1), START)
        assert promotion(back, "ami-2", by_policy=True).action is ChannelAction.REFUSE
        assert promotion(back, "ami-2", by_policy=False).action is ChannelAction.PROMOTE

    def test_by_a_person_after_a_rollback_lets_the_policy_have_its_way_again(self):
        back = moved(on(1, 2), ChannelAction.ROLL_BACK, image(1), START)
        assert moved(back, ChannelAction.PROMOTE, image(2), START).rolled_back == ()


class TestARollback:
    def test_goes_to_the_image_before(self):
        assert rollback(on(1, 2, 3), None).image == "ami-2"

    def test_does_not_make_the_bad_image_a_previous_one(self):
        back = moved(on(1, 2, 3), ChannelAction.ROLL_BACK, image(2), START)
        assert [each.image for each in back.previous] == ["ami-1"]
        assert rollback(back, None).image == "ami-1"

    def test_without_a_previous_image_is_refused(self):
        assert rollback(on(1), None).action is ChannelAction.REFUSE
        assert rollback(STABLE, None).action is ChannelAction.REFUSE

    def test_that_names_the_bad_image_goes_no_further_the_second_time(self):
        back = moved(on(1, 2, 3), ChannelAction.ROLL_BACK, image(2), START)
        assert rollback(back, "ami-3").action is ChannelAction.NOTHING


@given(st.lists(st.one_of(st.integers(1, 6), st.none()), max_size=40))
def test_after_any_row_of_moves_the_channel_can_be_trusted(moves):
    """None rolls back, a number promotes."""
    channel = STABLE
    for number in moves:
        before = channel
        target = rollback(channel, None) if number is None else promotion(channel, f"ami-{number}", by_policy=False)
        if target.action not in (ChannelAction.PROMOTE, ChannelAction.ROLL_BACK):
            continue
        to = image(target.image.removeprefix("ami-"))
        channel = moved(channel, target.action, to, START)
        assert channel.image == target.image
        assert channel.version == before.version + 1
        previous = [each.image for each in channel.previous]
        assert len(set(previous)) == len(previous) <= PREVIOUS_KEPT
        assert channel.image not in previous
        assert channel.image not in channel.rolled_back
        assert channel.image not in [left.image for left in channel.leaving]
        assert {*previous, channel.image} <= set(needed([channel]))
        if number is None:
            assert before.image in channel.rolled_back
            assert before.image not in previous


class TestWhatIsNeeded:
    def test_is_every_id_of_the_current_and_the_previous_images_in_every_region(self):
        assert set(needed([on(1, 2)])) == {"ami-1", "ami-1-eu", "ami-2", "ami-2-eu"}

    def test_says_that_a_channel_points_to_it_even_where_another_could_only_be_rolled_back(self):
        candidate = on(1, 2, channel=Channel("base", "candidate"))
        assert needed([candidate, on(1)])["ami-1"] == "stable points to it"

    def test_an_image_lacks_in_the_regions_where_it_is_not(self):
        assert missing(["a", "b", "c"], {"b": "ami-1"}) == ["a", "c"]


@pytest.mark.parametrize("length", [1, 40])
def test_the_name_of_a_move_fits_step_functions_and_tells_events_apart(length):
    names = {move_id("f" * length, "c" * length, event) for event in ("1", "2")}
    assert len(names) == 2
    assert all(len(name) <= 80 for name in names)


class TestReach:
    NOW = START + timedelta(hours=10)

    def reach(self, channel, *images, planned=(), follows="base/stable"):
        return measure(
            channel,
            [Running(each, follows) for each in images],
            [Running(each, follows) for each in planned],
            self.NOW,
        )

    def test_of_a_new_image_on_every_instance_is_complete(self):
        reach = self.reach(on(1, 2), "ami-2", "ami-2-eu")
        assert (reach.on_old, reach.hours) == (0, 0.0)
        assert [left.image for left in reach.gone] == ["ami-1"]

    def test_is_as_old_as_the_oldest_image_that_still_runs(self):
        reach = self.reach(on(1, 2, 3), "ami-1-eu", "ami-2", "ami-3")
        assert (reach.on_old, reach.hours) == (2, 9.0)
        assert reach.gone == ()

    def test_counts_only_what_follows_the_channel(self):
        assert self.reach(on(1, 2), "ami-1", follows="base/candidate").on_old == 0

    def test_an_image_that_an_environment_is_planned_with_is_not_gone(self):
        reach = self.reach(on(1, 2), planned=["ami-1"])
        assert (reach.on_old, reach.gone) == (0, ())

    def test_an_image_is_not_gone_while_an_instance_runs_that_nobody_knows_the_channel_of(self):
        assert self.reach(on(1, 2), "ami-1", follows="").gone == ()

    def test_an_older_image_than_is_remembered_is_counted_from_the_last_move(self):
        assert self.reach(on(1, 2), "ami-0").hours == 9.0
