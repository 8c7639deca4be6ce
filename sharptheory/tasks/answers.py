"""Reading an answer off a response.

Whatever a model writes, reading takes time linear in its length and raises nothing: patterns leave no choice of how to
split a run of characters (possessive repeats, ``*+``), and numbers are compared as digits, of which there may be many.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable

import regex

from sharptheory.errors import UserError

#: Digits in groups, decimals, an exponent. A sign belongs to a number unless it follows what it would join or subtract
#: from: a digit, a letter, a closing bracket, a unit, another dash ("pages 3-5", "5%-10%", "x-5"). A currency may stand
#: between them ("-$5").
NUMBER = re.compile(
    r"(?P<sign>(?<![^\W_])(?<![)\]}%°-])(?<!\d[$€£¥])[-+−](?:[$€£¥](?=[\d.]))?)?"
    r"(?:(?P<groups>\d++(?:,\d++)*+)(?P<rest>(?:\.\d++)?(?:[eE][-+−]?\d++)?)|(?<!\d)(?P<decimals>\.\d++))"
)
PARTS = re.compile(r"([-+]?)([0-9]*+)(?:\.([0-9]*+))?(?:[eE]([-+]?[0-9]++))?")
#: A repeat in a pattern, for the least that it repeats: ``{3}``, ``{3,}``, ``{3,9}``.
REPEAT = re.compile(r"\{([0-9]++)(?:,[0-9]*+)?\}")
#: Repeats of repeats that a pattern may ask for in all; its compiler writes them out.
MOST_REPEATS = 100_000
#: Characters of a pattern: to prepare a long literal takes time that grows with its cube and heeds no limit.
LONGEST_PATTERN = 1_000
#: Seconds that a user's pattern may take on one response.
SECONDS = 2.0


def last_number(text: str) -> str | None:
    """The last number in a text, without thousands separators and in canonical form; None if there is none.

    A hyphen after a digit, a letter or a closing bracket is no sign: the last number of "pages 3-5" is 5. Commas between
    digits separate thousands, also where they stand wrong ("1,2345" is 12345, as graders read it that delete commas); but
    one or two digits at the end, or more than three at both ends, make a list ("1,2,3" is 3, "1990,1995" is 1995).

    >>> last_number("It costs 1,234.50 dollars")
    '1234.5'
    """
    last = None
    for last in NUMBER.finditer(text):  # noqa: B007
        pass
    if last is None:
        return None
    sign, groups, rest = (last["sign"] or "")[:1], last["groups"] or "", last["rest"] or last["decimals"] or ""
    first, *others = groups.split(",")
    if others and (len(others[-1]) < 3 or min(len(first), len(others[-1])) > 3):
        sign, groups = "", others[-1]
    return canonical_number(sign + groups + rest)


def canonical_number(text: str) -> str | None:
    """A number's digits, exact and without an exponent: ``-0`` is ``0``, ``5.0`` is ``5``, ``1e3`` is ``1000``.

    None if the text is no number, or one with decimals or an exponent that no float can tell from infinity or zero.
    """
    text = text.replace(",", "").replace("−", "-").strip()
    if not text.isascii():  # digits of another script
        text = "".join(str(unicodedata.decimal(character, character)) for character in text)
    found = PARTS.fullmatch(text)
    if not found or not (found[2] or found[3]):
        return None
    sign, whole, fraction, exponent = found[1], found[2], found[3] or "", found[4]
    digits = (whole + fraction).lstrip("0")
    if (fraction.rstrip("0") or exponent) and not _fits_a_float(text, digits):
        return None
    if not digits:
        return "0"
    point = len(digits) - len(fraction) + int(float(exponent or 0))  # digits before the point; more than Python reads
    digits = digits.rstrip("0")
    whole, fraction = digits[: max(point, 0)].ljust(point, "0"), "0" * -point + digits[max(point, 0) :]
    return ("-" if sign == "-" else "") + (whole or "0") + (f".{fraction}" if point < len(digits) else "")


def _fits_a_float(text: str, digits: str) -> bool:
    """Whether a float can tell a number from infinity, and from zero unless it is zero."""
    value = float(text)
    return math.isfinite(value) and (value != 0 or not digits)


def exact(text: str) -> str | None:
    """The whole response, surrounding white space removed; None if nothing is left."""
    return text.strip() or None


def extractor(spec: str) -> Callable[[str], str | None]:
    """An answer extractor by its name.

    Args:
        spec: ``exact``; ``last-number``; or ``regex:PATTERN``, the last match of a pattern, its first group if it has
            one. A pattern may take `SECONDS` per response.

    Raises:
        UserError: unknown name, or a pattern that does not compile; when called, a pattern that takes too long.

    >>> extractor(r"regex:answer is (\\w+)")("So the answer is Paris.")
    'Paris'
    """
    if spec == "exact":
        return exact
    if spec == "last-number":
        return last_number
    kind, _, pattern = spec.partition(":")
    if kind != "regex" or not pattern:
        raise UserError(f"extractor {spec!r} is unknown; expected exact, last-number or regex:PATTERN")
    compiled = _compiled(pattern)

    def match(text: str) -> str | None:
        last = None
        try:
            for last in compiled.finditer(text, timeout=SECONDS):  # noqa: B007
                pass
        except TimeoutError:
            raise UserError(
                f"extractor {spec!r} took more than {SECONDS:g} s on a text of {len(text)} characters; expected a pattern "
                "without a repeat inside a repeat, such as (a+)+"
            ) from None
        except MemoryError:
            raise UserError(f"extractor {spec!r} ran out of memory on a text of {len(text)} characters") from None
        answer = last and last.group(1 if compiled.groups else 0)
        return (answer or "").strip() or None

    return match


def _compiled(pattern: str) -> regex.Pattern:
    """A user's pattern, compiled; a UserError that names it if it cannot be."""
    if len(pattern) > LONGEST_PATTERN:
        raise UserError(
            f"extractor 'regex:{pattern[:200]}' has {len(pattern):,} characters; expected at most {LONGEST_PATTERN:,}"
        )
    if math.prod(max(1, int(n[:9])) for n in REPEAT.findall(pattern)) > MOST_REPEATS:
        raise UserError(
            f"extractor 'regex:{pattern[:200]}' repeats too often; expected at most {MOST_REPEATS:,} in all"
        )
    try:
        return regex.compile(pattern)
    except (regex.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"extractor 'regex:{pattern[:200]}' is not a valid regular expression: {reason}") from None
