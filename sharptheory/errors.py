"""What a user can mend, told apart from what only we can."""

import math
from numbers import Integral

#: Characters of the longest message: a screenful.
LONGEST = 1_000


class UserError(ValueError):
    """Something that was given is wrong: the message names it, what was found and what was expected.

    The command line prints it as one line and ends with exit code 2. Any other exception is a bug and shows its traceback.

    A message that repeats something long of the user's keeps its beginning and its end.

    >>> str(UserError("found " + 10_000 * "a" + "; expected a word"))[-40:]
    'aaaaaaaaaaaaaaaaaaaaaaa; expected a word'
    """

    def __init__(self, message: str):
        if len(message) > LONGEST:
            message = f"{message[:700]} […] {message[-250:]}"
        super().__init__(message)


def expect_integers(low: int, high: float = math.inf, /, **values) -> None:
    """Refuse values that are not integers from `low` to `high`: ``expect_integers(1, budget=budget)``.

    Raises:
        UserError: naming the first such value.
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
            limits = f"≥ {low:,}" if high == math.inf else f"from {low:,} to {high:,}"
            raise UserError(f"{name}={value!r}; expected an integer {limits}")


def expect_numbers(interval: str, /, **values) -> None:
    """Refuse values that are not one number in an interval: ``expect_numbers("(0, 1]", delta=delta)``.

    >>> expect_numbers("[0, inf)", beta=float("inf"))
    Traceback (most recent call last):
    sharptheory.errors.UserError: beta=inf; expected a number in [0, inf)

    Raises:
        UserError: naming the first such value; NaN is in no interval.
    """
    low, high = map(float, interval[1:-1].split(","))
    for name, value in values.items():
        try:
            number = math.nan if isinstance(value, (str, bool)) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        above = low <= number if interval[0] == "[" else low < number
        below = number <= high if interval[-1] == "]" else number < high
        if not (above and below):
            raise UserError(f"{name}={value}; expected a number in {interval}")
