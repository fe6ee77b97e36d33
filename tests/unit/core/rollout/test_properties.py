"""What holds of every rollout, whatever the cluster does: checked by letting simulated clusters do it."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.rollout.simulation import Simulation, Trouble

SEEDS = st.integers(min_value=0, max_value=2**32)
SIZES = st.integers(min_value=1, max_value=4)
LONG = 120  # seconds


@given(SEEDS, SIZES, st.booleans(), st.booleans(), st.integers(min_value=0, max_value=5))
def test_never_two_in_flight(seed: int, size: int, refuses: bool, scales: bool, lag: int) -> None:  # drawn
    """No eviction before the workload is whole again after the one before, however late we see it and whoever else acts.

    The simulation asserts as well that no pod goes that is withheld, and none while the webhook is not ready.
    """
    trouble = Trouble(refuses=refuses, flaps=True, scales=scales, lag=lag)
    simulation = Simulation(seed, size, trouble)
    simulation.run(LONG)
    assert simulation.most_at_once <= 1


@given(SEEDS, SIZES)
def test_a_leader_that_forgets_everything_keeps_the_pace(seed: int, size: int) -> None:
    """Pace is read from the cluster: leaders may be killed at any moment."""
    simulation = Simulation(seed, size, Trouble(forgets=True))
    simulation.run(LONG)
    assert simulation.most_at_once <= 1


@given(SEEDS, SIZES, st.booleans(), st.integers(min_value=0, max_value=5))
def test_every_pod_that_may_go_goes_once(seed: int, size: int, flaps: bool, lag: int) -> None:  # drawn
    """It ends, with nothing left to do and no pod evicted for nothing."""
    simulation = Simulation(seed, size, Trouble(flaps=flaps, lag=lag))
    due = simulation.due
    simulation.run(LONG)
    assert set(simulation.evicted) == due
    assert len(simulation.evicted) == len(due)
    assert simulation.due == set()


@given(SEEDS, SIZES, st.booleans(), st.integers(min_value=0, max_value=5))
def test_a_webhook_that_is_not_called_costs_one_pod(seed: int, size: int, refuses: bool, lag: int) -> None:  # drawn
    """The first replacement that comes up bare is the last."""
    simulation = Simulation(seed, size, Trouble(injects=False, refuses=refuses, lag=lag))
    simulation.run(LONG)
    assert len(simulation.evicted) <= 1
    over = simulation.memory.given_up is not None
    assert over or simulation.memory.attempt is not None or not simulation.evicted  # refusals may last to the end
