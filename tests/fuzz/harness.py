"""Inputs made of random bytes, and what each may lead to."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sharptheory.errors import UserError

#: Inputs of a target of text; binary tables get a tenth, model folders a hundredth. This is the one place that says so.
TEXTS = int(os.environ.get("FUZZ", "200"))
TABLES, FOLDERS = max(1, TEXTS // 10), max(1, TEXTS // 100)
SEED = int(os.environ.get("FUZZ_SEED", "0"))
#: Inputs of one run of hypothesis, which remembers all it tried.
PART = 10_000
#: Seconds of the processor that one input may take: what is linear takes milliseconds, and a second where it is huge.
SECONDS = 10.0
#: Characters of an error that fit a screen.
MESSAGE = 1_100


class Choices:
    """Decisions read off a string of bytes; past its end all are the first option, so that hypothesis can shrink.

    ```python
    >>> choices = Choices(bytes([1, 0, 5]))
    >>> choices.pick("abc"), choices.below(7), choices.below(4), choices.pick("xyz")
    ('b', 0, 1, 'x')

    ```
    """

    def __init__(self, genome: bytes):
        self._genome = iter(genome)
        self.made: object = None  # the input, for the error of a failing one

    def below(self, n: int) -> int:
        """One of ``0 … n-1``."""
        value, reach = 0, 1
        while reach < n:
            value, reach = value << 8 | next(self._genome, 0), reach << 8
        return value % n

    def pick(self, options: Sequence):
        """One of the options."""
        return options[self.below(len(options))]

    def once_in(self, n: int) -> bool:
        """True with probability ``1/n``; false past the end."""
        return self.below(n) == n - 1


class Hang(BaseException):
    """An input took too long; not an Exception, so that nothing on the way takes it for one."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `Hang` when that much of the processor was used, or 12 times as long waited: other work must not count.

    A call into C that does not hear the signal is found when it returns.
    """

    def ring(*_):
        raise Hang(f"no answer within {seconds:g} s")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, 1), (signal.ITIMER_REAL, signal.SIGALRM, 12))
    before, start = [signal.signal(number, ring) for _, number, _ in timers], time.process_time()
    for timer, _, times in timers:
        signal.setitimer(timer, times * seconds)
    try:
        yield
    finally:
        for (timer, number, _), handler in zip(timers, before):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
    if time.process_time() - start > seconds:
        ring()


def fuzz(
    check: Callable[[Choices], object], count: int, *, genome: int = 32, seconds: float = SECONDS
) -> tuple[Counter, float]:
    """Run `check` on `count` inputs.

    Args:
        check: makes an input of choices, asserts what must hold, and returns a word for what became of it.
        count: of inputs. genome: bytes that decide one. seconds: that each may take.

    Returns:
        How often each word was returned, and the seconds of the slowest input.
    """
    outcomes, slowest = Counter(), 0.0

    def each(bytes_: bytes) -> None:
        nonlocal slowest
        choices, start = Choices(bytes_), time.process_time()
        try:
            with time_limit(seconds):
                outcomes[check(choices)] += 1
        except BaseException as error:
            text = repr(choices.made)
            error.add_note(f"input: {text[:2_000]}{f' … ({len(text):,} characters)' * (len(text) > 2_000)}")
            raise
        slowest = max(slowest, time.process_time() - start)

    for part, start in enumerate(range(0, count, PART)):
        limits = settings(
            max_examples=min(PART, count - start),
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            deadline=None,
            database=None,
            report_multiple_bugs=False,
        )

        @seed(SEED * 1_000_003 + part)
        @limits
        @given(st.binary(min_size=genome, max_size=genome))
        def run(bytes_):
            each(bytes_)

        run()
    return outcomes, slowest


def read(reader: Callable[[], object], *names: str, typed: bool = False, silent: type[Warning] | None = None):
    """What a reader returns, or None if it refuses: in one message for a screen, that names the file or the option.

    Args:
        reader: reads one input. names: the error must hold one of them. typed: the input is an option, which the error repeats.
        silent: a kind of warning that may be given.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # a file that the reader of another package leaves open
        if silent is not None:
            warnings.simplefilter("ignore", silent)
        try:
            result = reader()
        except UserError as error:
            message = str(error)
            assert any(name in message for name in names), f"none of {names} is in: {message}"
            assert len(message) < MESSAGE, f"a message of {len(message)} characters: {message[:500]}"
            assert typed or message.encode()
            result = None
    assert not caught, f"warned: {caught[0].message}"
    return result
