"""What another policy would change: on recorded outcomes, or on the requests of a ledger."""

from router.simulate.compare import Comparison, Figures, Group, compare
from router.simulate.gates import Gate, Limits, judge
from router.simulate.intervals import Interval
from router.simulate.pairs import Pair, Side, Simulated

__all__ = [
    "Comparison",
    "Figures",
    "Gate",
    "Group",
    "Interval",
    "Limits",
    "Pair",
    "Side",
    "Simulated",
    "compare",
    "judge",
]
