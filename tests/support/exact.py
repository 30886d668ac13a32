"""Correctly rounded sums and quotients by Python's fractions, the slow and certain way."""
import math
from fractions import Fraction

import numpy as np


def rounded(number):
    """The double nearest to a Fraction, ties to even; infinite beyond the largest."""
    try:
        return number.numerator / number.denominator
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def exact_sum(terms):
    """The exact sum of finite doubles."""
    # One denominator for all: a Fraction an element would spend its time on common divisors.
    total = 0
    for term in np.asarray(terms, np.float64).ravel().tolist():
        numerator, denominator = term.as_integer_ratio()
        total += numerator << (1074 - (denominator.bit_length() - 1))
    return Fraction(total, 1 << 1074)


def terms_of(items, weight=None):
    """f64(item * weight), the terms that a sum is made of."""
    items = np.asarray(items, np.float64)
    return items if weight is None else items * np.asarray(weight, np.float64)


def special_sum(terms):
    """The sum of terms of which some are not finite: NaN, or the one infinity."""
    if np.isnan(terms).any():
        return math.nan
    signs = {math.copysign(1, t) for t in terms if math.isinf(t)}
    return math.nan if len(signs) == 2 else signs.pop() * math.inf


def report(terms, denominators):
    """(sum, sum of weights, mean), each correctly rounded, as lossd reports them."""
    terms, denominators = np.ravel(terms), np.ravel(denominators)
    weight = exact_sum(denominators)
    if not np.isfinite(terms).all():
        total = special_sum(terms)
        return total, rounded(weight), total if weight else math.nan
    total = exact_sum(terms)
    return rounded(total), rounded(weight), rounded(total / weight) if weight else math.nan


def same(first, second):
    """Equal as bits, but any NaN is any NaN."""
    first, second = np.float64(first), np.float64(second)
    return first.tobytes() == second.tobytes() or bool(np.isnan(first) and np.isnan(second))
