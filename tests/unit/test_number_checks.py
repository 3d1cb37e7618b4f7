"""Ranges at their edges, and what is no number."""

import math
from fractions import Fraction

import numpy as np
import pytest

from tracer import number_checks
from tracer.errors import UserError
from tracer.number_checks import number, numbers, real, whole_number

TINY = 1e-300
EDGES = {  # what is just inside, and just outside
    "FINITE": ([-1e308, 0.0, 1e308], []),
    "POSITIVE": ([TINY, 1e308], [0.0, -TINY]),
    "NOT_NEGATIVE": ([0.0, 1e308], [-TINY]),
    "SHARE": ([0.0, 1.0], [-TINY, 1 + 1e-15]),
    "BELOW_ONE": ([0.0, 1 - 1e-15], [-TINY, 1.0]),
    "PROPER_SHARE": ([TINY, 1 - 1e-15], [0.0, 1.0]),
    "LEADING_SHARE": ([TINY, 1.0], [0.0, 1 + 1e-15]),
    "WHOLE": ([0.0, 1.0, 1e6], [-1.0, 0.5]),
    "COUNT": ([1.0, 2.0, 1e6], [0.0, 1.5, -1.0]),
}
NO_NUMBERS = [math.nan, math.inf, -math.inf, True, np.True_, 1j, "1", None, [1.0], np.array(1.0), 10**400]


def test_every_range_is_tried():
    assert EDGES.keys() == {name for name, found in vars(number_checks).items() if isinstance(found, number_checks.Range)}


@pytest.mark.parametrize("name", EDGES)
def test_ranges_end_where_they_say(name):
    within, (inside, outside) = getattr(number_checks, name), EDGES[name]
    for value in inside:
        assert number("x", value, within) == value
        assert numbers("x", [[value]], within).tolist() == [[value]]
    for value in outside:
        with pytest.raises(UserError, match="x must"):
            number("x", value, within)
        with pytest.raises(UserError, match="x must"):
            numbers("x", [inside[0], value], within)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("within", ["FINITE", "NOT_NEGATIVE"])
def test_what_is_no_number_is_refused(value, within):
    with pytest.raises(UserError, match=r"^x must be finite[^\n]{,200}$"):
        number("x", value, getattr(number_checks, within))


@pytest.mark.filterwarnings("error")
def test_numbers_of_other_types_are_numbers():
    for value in (1, Fraction(1, 2), np.float32(0.5), np.int8(3)):
        found = number("x", value, number_checks.FINITE)
        assert (type(found), found) == (float, value)
    assert real("x", [1, 2]).dtype == numbers("x", np.float32([1]), number_checks.FINITE).dtype == np.float64


@pytest.mark.parametrize(
    ("value", "words"), [(0, "at least 1, not 0"), (1.0, "a whole number, not 1.0"), (True, "a whole number, not True")]
)
def test_counts_are_whole(value, words):
    with pytest.raises(UserError, match=f"^n must be {words}$"):
        whole_number("n", value)


def test_the_least_count_may_be_told():
    assert [whole_number("n", 1), whole_number("n", np.int64(0), least=0), whole_number("n", 2, least=2)] == [1, 0, 2]
    with pytest.raises(UserError, match="at least 2, not 1"):
        whole_number("n", 1, least=2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "x must hold at least one number, and has shape (0,)"),
        ([1.0, math.nan, -1.0], "x must be finite and not negative, not nan"),
        ([1.0, -2.0, math.nan], "x must be finite and not negative, not -2"),
        ([True], "x must be made of real numbers, not list of type bool"),
        (["1"], "x must be made of real numbers, not list of type <U1"),
        ([[1.0], [1.0, 2.0]], "x must be made of real numbers, not list of type object"),
    ],
    ids=repr,
)
def test_arrays_are_refused_by_what_is_wrong_in_them(values, words):
    with pytest.raises(UserError) as refused:
        numbers("x", values, number_checks.NOT_NEGATIVE)
    assert str(refused.value) == words


def test_real_arrays_may_be_infinite_or_empty():
    assert np.isnan(real("x", [math.nan])).all()
    assert real("x", []).shape == (0,)
