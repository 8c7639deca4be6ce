"""Deciding by votes: how many prompts until more than half of a prompt's visits returned its hidden response.

Each of n prompts is a given one with probability p, ``K ~ Bin(n, p)`` visits, and each visit is a vote that is right with
probability h. The risk ``E[f(K)]``, ``f(k) = P[Bin(k, h) ≤ k/2]``, is what tabular maximum likelihood pays; docs/theory.md
proves where it falls in n, which is what the search below rests on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import bdtr
from scipy.stats import binom

from sharptheory.errors import expect_numbers

#: Visits of a prompt beyond which a search gives up. Only votes that are right hardly more often than not need as many.
MOST_VISITS = 1e7
#: The same for votes that are right as often as not, whose risk creeps towards 1/2 without end.
MOST_VISITS_OF_A_COIN = 1e5


def outvoted(k: np.ndarray, hit: float) -> np.ndarray:
    """``P[Bin(k, hit) ≤ k/2]``: k votes do not give the response more than half; 1 without votes.

    Args:
        k: whole numbers ≥ 0, any shape. hit: probability h of a right vote.
    """
    votes = np.asarray(k).astype(int)
    return bdtr(votes // 2, votes, hit)


def binomial_mean(f: Callable[[np.ndarray], np.ndarray], n: float, p: float) -> float:
    """``E f(K)``, ``K ~ Bin(n, p)``, over all k within 14 standard deviations (all of them where that is near 0).

    Args:
        f: of whole numbers ``[K]``. n: a whole number ≥ 0. p: in (0, 1].
    """
    mean, spread = n * p, np.sqrt(n * p * (1 - p))
    low, high = max(0.0, np.floor(mean - 14 * spread - 40)), min(n, np.ceil(mean + 14 * spread + 40))
    k = np.arange(low, high + 1)
    return float(np.dot(binom.pmf(k, n, p), f(k)))


def smallest(
    risk: Callable[[float], float],
    eps: float,
    *,
    hopeless: Callable[[float], bool] = lambda n: False,
    at_least: float = 0.0,
    limit: float = 1e5,
) -> float:
    """Smallest integer n with ``risk(n) ≤ ε``, whatever the shape of the risk: every n is tried in turn.

    Args:
        risk: of n = 0, 1, 2, …; for one that never rises `crossing` is faster. eps: ε in (0, 1].
        hopeless: of n; whether no larger n reaches ε.
        at_least: the first n tried. limit: the last one.

    Returns:
        n; inf if there is none up to `limit`.

    Raises:
        UserError: ε is out of range.
    """
    expect_numbers("(0, 1]", eps=eps)
    n = at_least
    while n <= limit:
        if risk(n) <= eps:
            return n
        if hopeless(n):
            break
        n += 1
    return float("inf")


def crossing(risk: Callable[[float], float], eps: float, *, at_least: float = 0.0, limit: float = 1e15) -> float:
    """Smallest integer n with ``risk(n) ≤ ε`` for a risk that never rises.

    By doubling from `at_least`, then by interpolation, and by bisection where that does not halve what is left.

    Args:
        risk: of n = 0, 1, 2, … eps: ε. at_least: a lower bound on the answer.
        limit: inf is returned if ``risk(limit)`` is still above ε.
    """
    low, at_low = at_least, risk(at_least)
    if at_low <= eps:
        return low
    step = 1.0
    while (at_high := risk(high := min(low + step, limit))) > eps:
        if high >= limit:
            return float("inf")
        low, at_low, step = high, at_high, 4 * step
    halved = True
    while high - low > 1:
        width = high - low
        share = (at_low - eps) / (at_low - at_high) if halved else 0.5
        middle = min(max(np.round(low + share * width), low + 1), high - 1)
        at_middle = risk(middle)
        if at_middle <= eps:
            high, at_high = middle, at_middle
        else:
            low, at_low = middle, at_middle
        halved = high - low <= width / 2
    return float(high)


def fewest_prompts(eps: float, hit: float, visit: float, *, at_least: float = 0.0) -> float:
    """Smallest integer n with ``E[f(K)] ≤ ε``, ``K ~ Bin(n, p)``; inf if there is none (or only beyond `MOST_VISITS`).

    For ``p ≤ 1/2`` the risk falls in n if ``h ≥ 1/2``, and falls, then rises, if not. For larger p an even n can be worse
    than the odd one before it: even n fall among themselves, and so do odd ones from `_odd_fall` on; votes that are
    more often wrong than right are tried one by one, until even an odd number of them is too many.

    Args:
        eps: ε > 0. hit: h in [0, 1]. visit: p in (0, 1]. at_least: a lower bound on the answer.

    Source: docs/theory.md.
    """

    def risk(n: float) -> float:
        return binomial_mean(lambda k: outvoted(k, hit), n, visit)

    if eps >= 1:
        return 0.0
    if hit <= 0.5 and eps < 1 - hit:  # one vote is as good as it gets
        return float("inf")
    if hit < 0.5 and visit <= 0.5:
        turn = crossing(lambda n: _slope(n, hit, visit), 0.0)
        return crossing(risk, eps, at_least=min(at_least, turn), limit=turn)
    if hit < 0.5:
        # f is least at odd k from here on, where it rises.
        rising = lambda n: binomial_mean(lambda k: outvoted(2 * np.floor(k / 2) + 1, hit), n, visit) > eps  # noqa: E731
        return smallest(risk, eps, hopeless=rising, at_least=at_least, limit=np.inf)
    most = _enough(eps, hit, visit)
    if visit <= 0.5:
        return crossing(risk, eps, at_least=at_least, limit=most)
    even = 2 * crossing(lambda j: risk(2 * j), eps, at_least=np.floor(at_least / 2), limit=most)
    # The odd ones below it: one by one, then by bisection.
    start = 2 * np.floor(at_least / 2) + 1
    falling = max(start, min(_odd_fall(hit, visit), even))
    for n in np.arange(start, falling, 2):
        if risk(n) <= eps:
            return float(n)
    odd = falling + 2 * crossing(lambda j: risk(falling + 2 * j), eps, limit=most)
    return min(even, odd)


def _slope(n: float, hit: float, visit: float) -> float:
    """``(E f(K_n) - E f(K_{n+1}))/p``, ``h E[t(K); K even] - ½ E[t(K+1); K odd]`` with ``t(2j) = C(2j, j) (h(1-h))^j``."""

    def fall(k: np.ndarray) -> np.ndarray:
        j = np.ceil(k / 2)
        return np.where(k % 2 == 0, hit, -0.5) * binom.pmf(j, 2 * j, hit)

    return binomial_mean(fall, n, visit)


def _enough(eps: float, hit: float, visit: float) -> float:
    """An n that is enough for ``h > 1/2``: ``f(k) ≤ (4h(1-h))^{k/2}``, so ``E f(K) ≤ (1 - p(1 - 2√(h(1-h))))^n``."""
    gain = 1 - 2 * np.sqrt(hit * (1 - hit))
    if gain <= 0:
        return float(np.ceil(MOST_VISITS_OF_A_COIN / visit))
    with np.errstate(divide="ignore"):
        return float(np.ceil(min(np.log(eps) / np.log1p(-visit * gain), MOST_VISITS / visit))) + 2


def _odd_fall(hit: float, visit: float) -> float:
    """An odd n from which on the risk falls over odd n, for ``h ≥ 1/2``, up to rounding."""
    if visit == 1 or visit <= 0.5:
        return 1.0
    root = np.sqrt(hit * (1 - hit))
    ratio = (hit + root) / max(hit - root, 1e-17)
    return 2 * np.ceil(np.log(ratio) / -np.log(2 * visit - 1) / 2) + 1
