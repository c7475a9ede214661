"""Virtual time: what is due in the order of time, and of asking where times are equal."""

import random

import pytest

from experiments.simulator.schedule import Schedule


def test_the_order_is_that_of_time_and_of_asking_where_times_are_equal():
    dice, schedule, played = random.Random(1), Schedule(), []
    asked = [(dice.choice((0.5, 0.25, 1.0, 0.75)), number) for number in range(200)]
    for time_s, number in asked:
        schedule.at(time_s, lambda number: played.append((schedule.now, number)), (number,))
    schedule.play(limit_s=10)
    assert played == sorted(asked)


def test_what_is_asked_for_at_this_very_moment_is_played_after_what_was_asked_for_before():
    schedule, played = Schedule(), []

    def first():
        played.append("first")
        schedule.after(0.0, played.append, "asked for meanwhile")
        schedule.after(0.5, played.append, "later")

    schedule.after(1.0, first)
    schedule.after(1.0, played.append, "second")
    schedule.play(limit_s=10)
    assert played == ["first", "second", "asked for meanwhile", "later"] and schedule.now == 1.5


def test_when_it_is_over_nothing_more_is_played_not_even_what_is_due_now():
    schedule, played = Schedule(), []

    def last():
        played.append("last")
        schedule.over = True

    schedule.after(1.0, last)
    for wait_s in (1.0, 2.0):
        schedule.after(wait_s, played.append, "too late")
    schedule.play(limit_s=10)
    assert played == ["last"]


def test_time_without_an_end_is_noticed():
    schedule = Schedule()

    def again():
        schedule.after(1.0, again)

    again()
    with pytest.raises(AssertionError, match="no end after 100 simulated seconds"):
        schedule.play(limit_s=100)
