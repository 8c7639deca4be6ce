"""Self-consistency is sharpening of the answer policy: its argmax, its coverage, its limit, and its law, from a pool.

As the majority vote over N samples is to the likeliest answer, so is best-of-N to the likeliest response: what
`sharptheory.measure.certificate` proves of responses is here proved, or tested, of answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import gammaln

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.measure.answers import AnswerPolicy, answer_policy, answers_of
from sharptheory.measure.best_of_n import checked_n, doubling_grid
from sharptheory.measure.bootstrap import CONFIDENCE, DIFFERENCE, PROPORTION, Estimate, mean_over_prompts
from sharptheory.measure.certificate import mean_at_least
from sharptheory.measure.pool import Pool, as_pool
from sharptheory.measure.responses import Distinct, distinct, has_likelihoods, inclusion_weights, unidentified
from sharptheory.theory.majority import log_choose, win_probability

#: The law of a vote is worked out on at most so many prompts, evenly among those that qualify, and for N up to this.
LAW_PROMPTS, LAW_N = 100, 32
#: Share of the mass that has to be seen for a table of answers to be taken as known.
KNOWN = 0.95
#: Orders of a pool that are tried take no more memory and time than this many samples.
SHUFFLED = 10**7


# The likeliest answer -------------------------------------------------------------------------------------------------


def answer_certificate(
    pool: Pool | pd.DataFrame | AnswerPolicy, *, noise: float = 0.0, confidence: float = CONFIDENCE
) -> pd.DataFrame:
    """What a pool proves, and what its votes show, about the likeliest answer ``max_a π_A(a|x)`` of each prompt.

    *Proved, by likelihoods.* With ``S_a`` and S the probability of the distinct sampled responses with answer a, and of
    all, scores within τ nats: ``e^{-τ} S_a ≤ π_A(a) ≤ 1 - e^{-τ}(S - S_a)``, since all other responses have at least
    ``e^{-τ}(S - S_a)``. So answer a is likelier than every other, seen or unseen, when ``S_a + S - S_b > e^τ`` for the b
    of second largest ``S_b`` (0 if there is none): at ``τ = 0``, ``S_a > S_b + U`` and ``S_a > U`` with ``U = 1 - S``.

    *Shown, by votes.* Given that ``n_1 + n_2`` votes went to the two most frequent answers, the binomial test of equal
    odds, two-sided, is a valid test that the first is the mode, whatever other answers there are. It needs no likelihood,
    and errs with probability `1 - confidence` per prompt.

    Args:
        noise: as in `coverage_certificate`. confidence: of the test.

    Returns:
        One row per prompt, indexed by prompt_id. `likeliest` (answer with the largest ``S_a``), `log_p_low`,
        `log_p_high` (bounds of ``log max_a π_A(a)``, nats), `certified`, `margin_low`, `margin_high` (bounds of ``γ``,
        by which the likeliest has ``1 + γ`` times the mass of the second; 0 and ∞ where nothing is proved): None, -inf, 0,
        False without likelihoods. `mode` (most votes), `p_value`, `shown`. `n_samples`, `n_votes`.

    Raises:
        UserError: as `answer_policy`; a confidence outside (0, 1).

    Source: [S12], docs/theory.md; Hung and Fithian, *Rank verification for exponential families*, Annals of Statistics
    2019 (arXiv 1610.03944).

    ```python
    >>> pool = pd.DataFrame({"prompt_id": 0, "answer": 9 * ["4"] + ["5"], "response": 9 * ["four"] + ["five"],
    ...                      "log_likelihood": np.log(9 * [0.6] + [0.1])})
    >>> answer_certificate(pool)[["mode", "p_value", "likeliest", "certified"]].values.tolist()
    [['4', 0.021484375, '4', True]]

    ```
    """
    expect_numbers("(0, 1)", confidence=confidence)
    policy = _policy(pool, noise)
    mode, first, second = policy.two_largest(policy.votes)
    p_value = np.where(mode >= 0, np.minimum(2 * stats.binom.sf(first - 1, first + second, 0.5), 1.0), 1.0)
    n_votes = np.bincount(policy.prompt, policy.votes, minlength=len(policy.samples)).astype(int)
    table = pd.DataFrame(
        {**_proved(policy), "mode": _named(policy, mode), "p_value": p_value, "shown": p_value <= 1 - confidence},
        index=policy.prompt_ids,
    )
    return table.assign(n_samples=policy.samples, n_votes=n_votes)


def _policy(pool: Pool | pd.DataFrame | AnswerPolicy, noise: float = 0.0) -> AnswerPolicy:
    """Of a policy that is given already, with the noise that is stated here if that is more than its own."""
    expect_numbers("[0, inf)", noise=noise)
    if not isinstance(pool, AnswerPolicy):
        return answer_policy(pool, noise=noise)
    return pool if pool.error is None else replace(pool, error=np.maximum(pool.error, noise))


def _named(policy: AnswerPolicy, which: np.ndarray) -> pd.Series:
    """Answers by their position, None for -1, ``[X]``."""
    return pd.Series(np.append(policy.answer, None)[which], index=policy.prompt_ids, dtype=object)


def _proved(policy: AnswerPolicy) -> dict[str, pd.Series | np.ndarray]:
    n_prompts = len(policy.samples)
    if policy.seen is None:
        return {"likeliest": _named(policy, np.full(n_prompts, -1)), "log_p_low": np.full(n_prompts, -np.inf),
                "log_p_high": np.zeros(n_prompts), "certified": np.zeros(n_prompts, dtype=bool),
                "margin_low": np.zeros(n_prompts), "margin_high": np.full(n_prompts, np.inf)}  # fmt: skip
    best, first, second = policy.two_largest(policy.seen)
    scale = np.exp(-policy.error)
    low, high = scale * first, _at_most(policy, first)
    with np.errstate(divide="ignore", invalid="ignore"):
        margin_low = np.maximum(low / _at_most(policy, second) - 1, 0.0)
        margin_high = np.maximum(np.where(second > 0, high / (scale * second), np.inf) - 1, margin_low)
        bounds = np.log(low), np.log(high)
    certified = (best >= 0) & (low > _at_most(policy, second))
    return {"likeliest": _named(policy, best), "log_p_low": bounds[0], "log_p_high": bounds[1], "certified": certified,
            "margin_low": np.where(certified, margin_low, 0.0), "margin_high": margin_high}  # fmt: skip


def _at_most(policy: AnswerPolicy, seen: np.ndarray) -> np.ndarray:
    """Upper bound on the probability of an answer of which `seen` has been sampled, per prompt, ``[X]``."""
    return np.clip(1 - np.exp(-policy.error) * (policy.total - seen), 0.0, 1.0)


# Its coverage ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountedCoverage:
    """What votes alone say of ``C̄_cov^A = E_x[1/max_a π_A(a|x)]``, the coverage coefficient over answers.

    The share of the most frequent answer overestimates the probability of the likeliest: it is the largest of several.

    Attributes:
        at_least: lower 95 % confidence bound on the coefficient of the population of prompts, for every law.
        low: mean of ``(M+1)/(n_max+1)``, whose expectation is at most the coefficient.
        high: mean of ``(m+1)/(n+1)``, n votes among m samples of one half for the answer that leads in the other (for the
            mean over those that do); its
            expectation is at least the coefficient, less what answers have that m samples hardly ever show.
        unrepeated: share of prompts that gave no answer twice: their likeliest answer may be as rare as one likes, and
            `high` does not know.
    """

    at_least: float
    low: Estimate
    high: Estimate
    unrepeated: float


def counted_coverage(pool: Pool | pd.DataFrame) -> CountedCoverage:
    """The coverage coefficient over answers from votes alone, from below and from above.

    Args:
        pool: with `answer`.

    Raises:
        UserError: no column `answer`.

    Source: docs/theory.md.
    """
    pool = as_pool(pool)
    policy = answer_policy(pool, likelihoods=False)
    largest = policy.two_largest(policy.votes)[1]
    low = (policy.samples + 1) / (largest + 1)
    ends = (1.0, np.inf)
    high = Estimate.unknown()
    if policy.samples.min() > 1:
        high = mean_over_prompts(_of_the_other_half(pool), ends=ends)
    return CountedCoverage(mean_at_least(low), mean_over_prompts(low, ends=ends), high, float(np.mean(largest <= 1)))


def _of_the_other_half(pool: Pool) -> np.ndarray:
    """``(m+1)/(n+1)`` per prompt, the mean over both ways to take halves, ``[X]``."""
    policy, even = answer_policy(pool, likelihoods=False), _turn(pool) % 2 == 0
    voting = policy.of_sample >= 0
    halves = [half for half in (even, ~even)]
    votes = [np.bincount(policy.of_sample[voting & half], minlength=len(policy.votes)) for half in halves]
    sizes = [np.bincount(pool.prompt[half], minlength=len(policy.samples)) for half in halves]
    values = []
    for leading, counting in ((0, 1), (1, 0)):
        # Which of several leaders is the first may hang on the half that counts: their mean does not.
        most = policy.two_largest(votes[leading])[1]
        leads = (votes[leading] > 0) & (votes[leading] == most[policy.prompt])
        inverse, leaders = (
            np.bincount(policy.prompt, np.where(leads, each, 0), minlength=len(most))
            for each in (1 / (votes[counting] + 1), 1)
        )
        values.append((sizes[counting] + 1) * np.where(most > 0, inverse / np.maximum(leaders, 1), 1.0))
    return np.mean(values, axis=0)


def _turn(pool: Pool) -> np.ndarray:
    """Position of each sample among those of its prompt, from 0."""
    return np.arange(len(pool.samples)) - pool.starts[pool.prompt]


# Its accuracy ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LimitAccuracy:
    """Accuracy of the majority vote over ever more samples, ``N → ∞``: that of the likeliest answer.

    Attributes:
        low, high: bounds on these prompts. By likelihoods they hold with certainty, by votes with 95 %, all prompts
            together.
        low_estimate, high_estimate: the same as estimates for the population of prompts, with intervals.
        known: share of prompts whose limit is known.
        by: ``"likelihood"`` or ``"votes"``.
    """

    low: float
    high: float
    low_estimate: Estimate
    high_estimate: Estimate
    known: float
    by: str


def limit_accuracy(pool: Pool | pd.DataFrame | AnswerPolicy, *, by: str, noise: float = 0.0) -> LimitAccuracy:
    """The limit of self-consistency: exact on certified prompts, bounded on the others.

    By likelihoods the likeliest answer is one of those that the certificate does not exclude, and may be one that was never
    sampled, unless that is excluded too: the limit lies between the least and the most correct of them. By votes it is
    correctness of the mode where the test shows it, with `CONFIDENCE` for all prompts together, anything elsewhere.

    Args:
        pool: prompts of which correctness is not known throughout are left out.
        by: ``"likelihood"`` or ``"votes"``. noise: as in `coverage_certificate`.

    Raises:
        UserError: another `by`; no likelihoods or no text to go by; nothing is graded.
    """
    policy = pool
    if not isinstance(pool, AnswerPolicy):
        policy = answer_policy(as_pool(pool).graded(), likelihoods=by == "likelihood", noise=noise)
    policy = _policy(policy, noise)
    if by == "likelihood" and policy.seen is not None:
        low, high = _limits_proved(policy)
    elif by == "votes":
        table = answer_certificate(policy, confidence=1 - (1 - CONFIDENCE) / len(policy.samples))
        mode = policy.two_largest(policy.votes)[0]
        right, shown = np.append(policy.correct, 0.0)[mode], table["shown"].to_numpy()
        low, high = np.where(shown, right, 0.0), np.where(shown, right, 1.0)
    else:
        raise UserError(
            f"by={by!r}; expected 'votes', or 'likelihood' for a pool with likelihoods and text or token ids"
        )
    estimates = [mean_over_prompts(side, ends=PROPORTION) for side in (low, high)]
    return LimitAccuracy(float(low.mean()), float(high.mean()), *estimates, float(np.mean(low == high)), by)


def _limits_proved(policy: AnswerPolicy) -> tuple[np.ndarray, np.ndarray]:
    first = policy.two_largest(policy.seen)[1]
    reach = np.exp(-policy.error) * first
    at_most = np.clip(1 - np.exp(-policy.error)[policy.prompt] * (policy.total[policy.prompt] - policy.seen), 0.0, 1.0)
    possible = (at_most >= reach[policy.prompt]) | (policy.seen == first[policy.prompt])
    unseen = _at_most(policy, 0.0) >= reach
    low, high = np.where(unseen, 0.0, 1.0), np.where(unseen, 1.0, 0.0)
    np.minimum.at(low, policy.prompt[possible], policy.correct[possible])
    np.maximum.at(high, policy.prompt[possible], policy.correct[possible])
    return low, high


# Its law --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PluralityRates:
    """How often the majority of N samples is the likeliest answer: its law against held-out samples.

    Attributes:
        n: values of N, ``[K]``.
        predicted: by the law of the plurality, mean over prompts, ``[K]``.
        measured: on held-out samples, with intervals over prompts, ``[K]``.
        difference: measured minus predicted, paired over prompts, ``[K]``.
        n_samples: held-out samples behind it. by: ``"likelihood"`` or ``"votes"``: what certified and predicted.
    """

    n: np.ndarray
    predicted: np.ndarray
    measured: Estimate
    difference: Estimate
    n_samples: int
    by: str

    def disagreements(self) -> int:
        """How many of the N have an interval of the difference without 0."""
        return int(np.sum((self.difference.low > 0) | (self.difference.high < 0)))


def plurality_rates(
    pool: Pool | pd.DataFrame,
    n: np.ndarray | None = None,
    *,
    by: str,
    confidence: float = CONFIDENCE,
) -> PluralityRates | None:
    """The law of the plurality of N samples against the rate at which fresh samples' majority is the likeliest answer.

    The odd samples of each prompt measure. By likelihoods the even ones give the table, on the prompts where they certify
    the likeliest answer and have seen `KNOWN` of the mass, and the law is that of independent votes. By votes one quarter
    of the samples shows the mode and another predicts, by the law of drawing from a pool without replacement: a quarter
    that did both would take its own luck for the policy's, as prompts are chosen because it was lucky, and independent
    votes from its shares would be too few answers, as rare ones are not among them.

    Args:
        pool: with `answer`. n: values of N; default 1, 2, 4, … up to `LAW_N`. by: ``"likelihood"`` or ``"votes"``.
        confidence: of the test, and of the intervals.

    Returns:
        Over at most `LAW_PROMPTS` prompts; None if there is none to certify, or too few samples.

    Raises:
        UserError: an N out of range, another `by`; no likelihoods or no text to go by.
    """
    pool = as_pool(pool)
    turn, smallest = _turn(pool), int(pool.sizes.min())
    n = None if n is None else checked_n(n, smallest)
    likely = by == "likelihood"
    if by not in ("likelihood", "votes"):
        raise UserError(f"by={by!r}; expected 'likelihood' or 'votes'")
    if smallest < (2 if likely else 4):
        return None
    policy = answer_policy(pool.take(turn % (2 if likely else 4) == 0), likelihoods=likely)
    predicting = policy if likely else answer_policy(pool.take(turn % 4 == 2), likelihoods=False)
    measuring = answer_policy(pool.take(turn % 2 == 1), likelihoods=False)
    if by not in ("likelihood", "votes") or (likely and policy.seen is None):
        raise UserError(
            f"by={by!r}; expected 'votes', or 'likelihood' for a pool with likelihoods and text or token ids"
        )
    table = answer_certificate(policy, confidence=confidence)
    rows = np.flatnonzero(table["certified"] & (policy.total >= KNOWN) if likely else table["shown"])
    if len(rows) == 0:
        return None
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), LAW_PROMPTS)).astype(int)]
    targets = table["likeliest" if likely else "mode"].iloc[rows]
    largest = int((measuring if likely else predicting).samples.min())
    n = doubling_grid(min(largest, LAW_N)) if n is None else checked_n(n, largest)
    predicted = np.array([_law(predicting, row, target, n) for row, target in zip(rows, targets)])
    measured = np.array([_law(measuring, row, target, n) for row, target in zip(rows, targets)])
    return PluralityRates(
        n,
        predicted.mean(axis=0),
        mean_over_prompts(measured, ends=PROPORTION, confidence=confidence),
        mean_over_prompts(measured - predicted, ends=DIFFERENCE, confidence=confidence),
        int(measuring.samples[rows].sum()),
        by,
    )


def _law(policy: AnswerPolicy, row: int, target: str, n: np.ndarray) -> np.ndarray:
    """Probability that `target` has most of N samples of one prompt, ties split, ``[K]``: independent ones by the masses
    where they are known, else ones drawn from its pool without replacement."""
    of = slice(*np.searchsorted(policy.prompt, [row, row + 1]))
    at = np.flatnonzero(policy.answer[of] == target)
    if len(at) == 0:
        return np.zeros(len(n))
    if policy.mass is not None:
        log_p = _log_table(policy, row, of)
        weights = lambda counts: _multinomial(log_p, counts)  # noqa: E731
    else:
        sizes = np.append(policy.votes[of], policy.samples[row] - policy.votes[of].sum())
        weights = lambda counts: log_choose(sizes[:, None], counts)  # noqa: E731
    laws = (weights(np.arange(votes + 1)) for votes in n)
    return np.array([win_probability(rows[:-1], at[0], int(votes), abstain=rows[-1]) for rows, votes in zip(laws, n)])


def _log_table(policy: AnswerPolicy, row: int, of: slice) -> np.ndarray:
    """Log-probabilities of a prompt's answers and of the class none: what was seen has its own mass, and what was not is
    shared among them by what Horvitz-Thompson adds to it, ``[C+1]``."""
    seen = np.append(policy.seen[of], max(policy.total[row] - policy.seen[of].sum(), 0.0))
    added = np.maximum(np.append(policy.mass[of], policy.none[row]) - seen, 0.0)
    masses = seen + max(1 - seen.sum(), 0.0) * added / max(added.sum(), 1e-300)
    with np.errstate(divide="ignore"):
        return np.log(masses / masses.sum())


def _multinomial(log_p: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``log p^i/i!``, ``[C, n+1]``."""
    with np.errstate(invalid="ignore"):
        return np.where(counts == 0, 0.0, counts * log_p[:, None]) - gammaln(counts + 1)


# The vote by mass -----------------------------------------------------------------------------------------------------


def answer_mass_curve(
    pool: Pool | pd.DataFrame, n: np.ndarray, *, seen: bool = False, subsets: int = 64, seed: int = 0
) -> pd.DataFrame:
    """Expected accuracy of the answer with the largest estimated mass *within N sampled responses*.

    A vote in which each distinct response counts once, with the weight ``π/(1-(1-π)^N)`` (Horvitz-Thompson) or π: by
    counts the same samples say less, since likelihoods are known without error. Ties are split uniformly; the class none
    has no vote. Averaged over random subsets, the same for every N; exact at N = 1 and at the size of the pool.

    Args:
        pool: with `answer`, `correct`, likelihoods, and text or token ids. n: values of N, ``[K]``.
        seen: weigh by π, the mass that was seen. subsets: orders of the pool to average over, fewer for a large pool.
        seed: of them.

    Returns:
        One row per prompt_id, one column per N.

    Raises:
        UserError: a column is missing, or an N is out of range.
    """
    expect_integers(1, subsets=subsets)
    expect_integers(0, seed=seed)
    pool = as_pool(pool)
    n = checked_n(n, int(pool.sizes.min()))
    if unidentified(pool) or not has_likelihoods(pool):
        raise UserError(
            unidentified(pool) or f"column 'log_likelihood' is missing or has gaps; the pool has {pool.names}"
        )
    policy, responses = answer_policy(pool), distinct(pool)
    answer = answers_of(responses, policy)
    voting = policy.of_sample >= 0
    rng = np.random.default_rng(seed)
    sums = np.zeros((len(policy.samples), len(n)))
    repeats = int(np.clip(SHUFFLED // len(voting), 1, subsets))
    for _ in range(repeats):
        first = _first_places(responses, policy, rng)
        for k, size in enumerate(n):
            # A response is among the first N as soon as one of its samples is.
            chosen = np.flatnonzero((first < size) & (answer >= 0))
            weights = _weights(responses, chosen, int(size), seen)
            sums[:, k] += _accuracy(policy, np.bincount(answer[chosen], weights, minlength=len(policy.votes)))
    curve = sums / repeats
    alone = np.bincount(policy.prompt, policy.votes * policy.correct, minlength=len(policy.samples)) / policy.samples
    curve[:, n == 1] = alone[:, None]
    return pd.DataFrame(curve, index=policy.prompt_ids, columns=n)


def _first_places(responses: Distinct, policy: AnswerPolicy, rng: np.random.Generator) -> np.ndarray:
    """Where each distinct response first comes in a random order of its prompt's samples, from 0, ``[D]``."""
    place = random_places(np.append(0, np.cumsum(policy.samples)), rng)
    first = np.full(len(responses.prompt), len(place))
    finished = responses.of_sample >= 0
    np.minimum.at(first, responses.of_sample[finished], place[finished])
    return first


def random_places(starts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where each sample comes in a random order of its prompt's samples, from 0, ``[samples]``; prompts begin at `starts`."""
    sizes = np.diff(starts)
    place, order = np.empty(starts[-1], dtype=np.int64), np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(order + rng.random(len(place)))
    place[order] = np.arange(len(place)) - np.repeat(starts[:-1], sizes)
    return place


def _weights(responses: Distinct, chosen: np.ndarray, size: int, seen: bool) -> np.ndarray:
    """What each chosen response weighs in a vote of N samples; π up to a factor of its prompt, lest it underflows."""
    log_p, prompt = responses.highest[chosen], responses.prompt[chosen]
    if not seen:
        return inclusion_weights(np.minimum(np.exp(log_p), 1.0), size)
    largest = np.full(len(responses.sizes), -np.inf)
    np.maximum.at(largest, prompt, log_p)
    return np.exp(log_p - largest[prompt])


def _accuracy(policy: AnswerPolicy, votes: np.ndarray) -> np.ndarray:
    """Correctness of the answer with most votes, ties split, 0 where nobody votes, ``[X]``."""
    if len(votes) == 0:
        return np.zeros(len(policy.samples))
    most = np.repeat(np.maximum.reduceat(votes, policy.starts), np.diff(policy.starts, append=len(votes)))
    # Sums of equal weights differ in their last digits by the order in which they are added.
    best = (votes >= most * (1 - 1e-9)) & (votes > 0)
    sums = lambda values: np.bincount(policy.prompt, values, minlength=len(policy.samples))  # noqa: E731
    return sums(np.where(best, policy.correct, 0.0)) / np.maximum(sums(best), 1)
