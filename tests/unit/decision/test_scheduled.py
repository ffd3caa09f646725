from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import span_due, with_objective
from reconfigure_policies.decision.scheduled import CLOCK_TOLERANCE_S
from reconfigure_policies.domain.configuration import Configuration
from reconfigure_policies.domain.history import ControllerState
from reconfigure_policies.domain.objective import Objective
from reconfigure_policies.domain.schedule import ScheduledSpan

START = ControllerState(Objective.THROUGHPUT)
ANY = Configuration({"max_num_seqs": 64})
DAY = ScheduledSpan("day", Objective.THROUGHPUT, 1_000.0)
NIGHT = ScheduledSpan("night", Objective.ENERGY, 5_000.0, 9_000.0)


def under(span):
    """The state in which a span was followed."""
    return replace(with_objective(START, span.objective, span.ends_at, ANY), scheduled=span)


def test_a_span_is_followed_once():
    """Whatever an operator says after it, the span itself does not speak again."""
    assert span_due(NIGHT, None, START, 5_000.0) is NIGHT
    assert span_due(NIGHT, NIGHT, under(NIGHT), 6_000.0) is None


def test_the_end_of_a_span_is_no_beginning_of_what_it_covered():
    """What a temporary span covered comes back by itself, with whatever an operator made of it."""
    assert span_due(DAY, NIGHT, under(NIGHT), 9_000.0) is None


def test_an_operator_s_temporary_objective_is_waited_for():
    """The calendar's change comes when `--for` is over, not before."""
    state = with_objective(under(DAY), Objective.BALANCED, 6_000.0, ANY)
    assert span_due(NIGHT, DAY, state, 5_500.0) is None
    assert span_due(NIGHT, DAY, state, 6_000.0) is NIGHT


def test_a_temporary_objective_of_the_calendar_is_not_waited_for():
    """Between schedules the one that begins last holds."""
    later = ScheduledSpan("early", Objective.BALANCED, 8_000.0)
    assert span_due(later, NIGHT, under(NIGHT), 8_000.0) is later


def test_a_clock_that_is_set_back_a_little_undoes_nothing():
    """A correction by seconds just after a change is no reason to go back and come again."""
    state = under(NIGHT)
    assert span_due(DAY, NIGHT, state, NIGHT.begins_at - CLOCK_TOLERANCE_S) is None
    assert span_due(DAY, NIGHT, state, NIGHT.begins_at - CLOCK_TOLERANCE_S - 1) is DAY


@given(st.floats(0, 20_000))
def test_nothing_is_due_outside_every_schedule(now):
    """An empty calendar asks for nothing, whatever held before."""
    assert span_due(None, NIGHT, under(NIGHT), now) is None
