"""What a finite number of answers can prove. Only `math` and numpy."""

from evals.stats.betting import anytime_lower, betting_lower, hoeffding_lower, log_wealth, lower_bound
from evals.stats.bounds import Interval, clopper_pearson_lower, clopper_pearson_upper, wilson
from evals.stats.paired import paired_bootstrap
from evals.stats.power import samples_needed

__all__ = [
    "Interval",
    "anytime_lower",
    "betting_lower",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "hoeffding_lower",
    "log_wealth",
    "lower_bound",
    "paired_bootstrap",
    "samples_needed",
    "wilson",
]
