"""What a finite number of answers can prove. Only `math` and numpy; the bounds of `router.bounds` are among them."""

from evals.stats.betting import anytime_lower, hoeffding_lower, log_wealth
from evals.stats.bounds import Interval, wilson
from evals.stats.judged import (
    JudgeRecord,
    corrected_lower,
    corrected_rate,
    labels_needed,
    lower_behind,
    part_of_error,
    upper_behind,
)
from evals.stats.paired import (
    anytime_difference,
    anytime_p_above,
    difference_interval,
    holm,
    mcnemar,
    paired_bootstrap,
    sign_flip_p,
)
from evals.stats.power import chance_to_prove, samples_for_power, samples_needed, successes_needed
from evals.stats.spread import Clustered, Variances, clustered, student_t, student_t_quantile, variances
from router.bounds import betting_lower, betting_p, clopper_pearson_lower, clopper_pearson_upper, lower_bound, p_above

__all__ = [
    "Clustered",
    "Interval",
    "JudgeRecord",
    "Variances",
    "anytime_difference",
    "anytime_lower",
    "anytime_p_above",
    "betting_lower",
    "betting_p",
    "chance_to_prove",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "clustered",
    "corrected_lower",
    "corrected_rate",
    "difference_interval",
    "hoeffding_lower",
    "holm",
    "labels_needed",
    "log_wealth",
    "lower_behind",
    "lower_bound",
    "mcnemar",
    "p_above",
    "paired_bootstrap",
    "part_of_error",
    "samples_for_power",
    "samples_needed",
    "sign_flip_p",
    "student_t",
    "student_t_quantile",
    "successes_needed",
    "upper_behind",
    "variances",
    "wilson",
]
