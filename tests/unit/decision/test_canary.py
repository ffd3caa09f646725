"""A redeploy that falls short of its forecast is undone; one that holds stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_policies.decision import DecisionTerms
from reconfigure_policies.decision.canary import Verdict, judge
from reconfigure_policies.decision.own_changes import after_canary, after_decision, after_window
from reconfigure_policies.decision.redeciding import after_canary_decision
from reconfigure_policies.decision.slow_loop import end_canary
from reconfigure_policies.domain.decision import Author, Decision, DecisionKind, Outcome, OutcomeKind
from reconfigure_policies.domain.history import Canary, DecisionRecord, OwnChanges
from reconfigure_policies.domain.objective import ServiceLevelObjective
from reconfigure_policies.domain.workload import WorkloadWindow
from tests.unit.decision.forecasts import CONTEXT, NOW, SLO, SPACE, block, estimate, forecast, snapshot

TERMS = DecisionTerms(canary_s=90)
EXPECTED = {"energy_per_output_token_j": estimate(0.2)}
CANARY = Canary(7, NOW - 100, block(32), block(16), EXPECTED)


def window(finished=100, met=100, energy_j=200.0, tokens=1000, aborted=0):
    return WorkloadWindow(0, 30, finished, finished, met, 500, 0, tokens, 0, 1, 0, energy_j=energy_j, aborted=aborted)


def judged(*windows, slo=SLO, expected=EXPECTED):
    return judge(CANARY, windows, expected, slo, TERMS)


def record(kind=DecisionKind.REDEPLOY, outcome=OutcomeKind.APPLIED, author=Author.PLANNER, expected=EXPECTED):
    decision = Decision(kind, "r", block(32), {}, {"block_size": 32}, author=author, expected=expected)
    return DecisionRecord(7, NOW, decision, block(16), Outcome(outcome, "", block(32), 1.0), NOW + 10)


def test_it_is_watched_for_its_time():
    """Before that nothing is said of it."""
    assert judged(window(), window()).verdict is Verdict.WATCHING
    assert judged(window(), window(), window()).verdict is Verdict.HELD


def test_more_joules_than_the_interval_allows_fall_short():
    """With what was measured beside what was forecast."""
    judgement = judged(*[window(energy_j=220)] * 3)
    assert judgement.verdict is Verdict.FELL_SHORT
    assert judgement.words == ("0.22 J per output token measured over 90 s, 0.2 (0.19 to 0.21) were forecast")
    assert judged(*[window(energy_j=209)] * 3).verdict is Verdict.HELD


def test_a_missed_slo_falls_short():
    """One request in ten, where one in a hundred may."""
    judgement = judged(*[window(met=90)] * 3)
    assert judgement.verdict is Verdict.FELL_SHORT
    assert judgement.words == "30 of 300 requests missed the SLO in 90 s"


def test_bad_luck_is_no_reason():
    """Eight of three hundred, where three are usual, happens by chance."""
    assert judged(window(met=97), window(met=98), window(met=97)).verdict is Verdict.HELD


def test_a_disaster_is_not_watched_to_its_end():
    """Half of the requests outside the SLO in the first window are enough."""
    assert judged(window(met=50)).verdict is Verdict.FELL_SHORT


def test_without_limits_nothing_is_missed():
    """An SLO that demands nothing is always met; failed requests are not the canary's to judge."""
    assert judged(*[window(met=95)] * 3, slo=ServiceLevelObjective()).verdict is Verdict.HELD
    assert judged(*[window(met=10)] * 3, slo=ServiceLevelObjective()).verdict is Verdict.HELD


def test_what_clients_gave_up_is_not_held_against_it():
    """Neither a few in a hundred nor half of them are misses; those that were missed besides still are."""
    assert judged(*[window(met=94, aborted=6)] * 3).verdict is Verdict.HELD
    assert judged(*[window(met=50, aborted=50)] * 3).verdict is Verdict.HELD
    judgement = judged(*[window(met=84, aborted=6)] * 3)
    assert judgement.verdict is Verdict.FELL_SHORT
    assert judgement.words == "30 of 282 requests missed the SLO in 90 s"


def test_too_little_traffic_is_waited_for_and_then_let_pass():
    """Nothing can be said of five requests."""
    assert judged(*[window(finished=2, met=2)] * 4).verdict is Verdict.WATCHING
    judgement = judged(*[window(finished=2, met=2)] * 9)
    assert judgement.verdict is Verdict.HELD
    assert "too few to judge it by" in judgement.words


def test_joules_that_nobody_measured_are_not_judged():
    """The SLO alone decides then, and the words say so."""
    assert "no joules were forecast or measured" in judged(*[window(energy_j=None)] * 3).words


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1), st.floats(0, 1e4)), max_size=12))
def test_it_always_ends(figures):
    """Whatever comes, a canary is over after three times its length."""
    windows = [window(n, int(n * share), energy_j) for n, share, energy_j in figures]
    verdict = judged(*windows).verdict
    assert verdict is not Verdict.WATCHING or len(windows) * 30 < 3 * TERMS.canary_s


def test_falling_short_goes_back_whatever_dwell_and_caps_say():
    """To where it came from, with what was measured."""
    own = OwnChanges(CANARY, redeploys_at=(NOW - 100,) * 9)
    decision = after_canary_decision(judged(*[window(energy_j=300)] * 3), snapshot(enforced=block(32)), SPACE, own)
    assert decision.kind is DecisionKind.REDEPLOY
    assert decision.target == block(16)
    assert "back to what held before: the canary fell short, 0.3 J per output token" in decision.reason
    assert not decision.expected  # what held before is not watched again


def test_nobody_goes_back_to_what_would_not_hold():
    """A canary that inherited a queue falls short, and what was before would only let it grow."""
    own = OwnChanges(CANARY)
    judgement = judged(window(met=0))
    decision = after_canary_decision(judgement, snapshot(enforced=block(32)), SPACE, own, "TTFT has no end")
    assert decision.kind is DecisionKind.KEEP
    assert "what was before would not hold now, TTFT has no end" in decision.reason
    assert after_canary(own, True, NOW, TERMS) == OwnChanges()


@pytest.mark.parametrize(("most_tps", "goes_back"), [(1200, True), (1050, False)])
def test_nobody_goes_back_to_what_the_load_would_fill(most_tps, goes_back):
    """Its tails may be foretold to hold; what has queued up has to be served as well."""
    own = OwnChanges(CANARY)
    assert CONTEXT.arrival_rate_rps * CONTEXT.output_tokens == 1000
    foretold = forecast(block(32)), forecast(block(16), tps=most_tps)
    end = end_canary(CANARY, [window(met=0)], foretold, snapshot(enforced=block(32)), SPACE, TERMS, own)
    assert (end.decision.kind is DecisionKind.REDEPLOY) == goes_back
    assert ("1000 output tokens/s are asked for of 1050" in end.decision.reason) != goes_back
    assert end.own.trusts(block(32), NOW) != goes_back


def test_holding_is_a_decision_to_keep():
    """Stored with its numbers, like every decision."""
    decision = after_canary_decision(judged(*[window()] * 3), snapshot(enforced=block(32)), SPACE, OwnChanges(CANARY))
    assert decision.kind is DecisionKind.KEEP
    assert "its canary held, 0.2 J per output token measured over 90 s" in decision.reason


@pytest.mark.parametrize(
    ("given_record", "watched"),
    [
        (record(), True),
        (record(DecisionKind.EXPLORE), True),
        (record(author=Author.OPERATOR), True),
        (record(expected={}), False),
        (record(DecisionKind.ADJUST), False),
        (record(outcome=OutcomeKind.ROLLED_BACK), False),
        (record(outcome=OutcomeKind.UNKNOWN), False),
    ],
)
def test_a_redeploy_that_rests_on_a_forecast_is_watched(given_record, watched):
    """And nothing else: what failed is not there, and what an operator names needs no proof."""
    canary = after_decision(OwnChanges(), given_record).canary
    assert (canary is not None) == watched
    assert canary is None or (canary.configuration, canary.before, canary.since) == (block(32), block(16), NOW + 10)


def test_a_change_ends_what_was_watched():
    """But what failed to change it does not, nor what the governor does within its core."""
    own = OwnChanges(CANARY)
    assert after_decision(own, record(expected={})).canary is None
    assert after_decision(own, record(outcome=OutcomeKind.FAILED)) == own
    assert after_decision(own, record(DecisionKind.ADJUST, author=Author.GOVERNOR)) == own


def test_only_its_own_redeploys_count_towards_the_cap():
    """An operator's are the operator's."""
    assert after_decision(OwnChanges(), record()).redeploys_at == (NOW + 10,)
    assert after_decision(OwnChanges(), record(author=Author.OPERATOR)).redeploys_at == ()


def test_what_fell_short_is_not_trusted_for_a_while():
    """And then it may prove itself again."""
    own = after_canary(OwnChanges(CANARY), False, NOW, TERMS)
    assert own.canary is None
    assert not own.trusts(block(32), NOW + TERMS.distrust_s - 1)
    assert own.trusts(block(32), NOW + TERMS.distrust_s)
    assert own.trusts(block(64), NOW)


def test_what_held_is_trusted_as_before():
    """Nothing is watched any more, and nothing is held against it."""
    own = after_canary(OwnChanges(CANARY), True, NOW, TERMS)
    assert own == OwnChanges()
    assert own.trusts(block(32), NOW)


def test_exploring_spends_its_own_budget():
    """Joules count towards it, those while exploring also against it."""
    own = after_window(OwnChanges(), window(energy_j=300))
    exploring = OwnChanges(Canary(7, NOW, block(32), block(16), exploring=True), used_j=300)
    assert (own.used_j, own.explored_j) == (300, 0)
    assert (
        after_window(exploring, window(energy_j=50)).used_j,
        after_window(exploring, window(energy_j=50)).explored_j,
    ) == (350, 50)
    assert after_window(own, window(energy_j=None)) == own
