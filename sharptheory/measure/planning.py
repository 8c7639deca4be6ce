"""How many prompts, and how many samples of each, an evaluation needs: planned from a pilot pool.

What is planned for is a mean over prompts of one number each, tested against 0 with an interval over prompts. With ``σ²(M)``
the variance of that number when each prompt has M samples, ``n = (z_{1-α/2} + z_{power})² σ²(M)/Δ²`` prompts show an effect
of Δ. For a mean over samples ``σ²(M) = V + W/M``, V between prompts and W within; best-of-N is no mean over samples, there
``σ²(M)`` is measured on sub-pools of the pilot. Where so few of these prompts tell that the interval counts them
(`mean_over_prompts`), studies of prompts of the pilot are drawn, and there are prompts enough when its intervals show the effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from sharptheory.errors import UserError, expect_integers, expect_numbers
from sharptheory.measure.best_of_n import best_of_n_curve, checked_n, doubling_grid
from sharptheory.measure.bootstrap import (
    CONFIDENCE,
    DIFFERENCE,
    POSITIVE,
    PROPORTION,
    RARE,
    Estimate,
    from_replicates,
    mean_over_prompts,
)
from sharptheory.measure.pool import Pool, as_pool, rectangles
from sharptheory.measure.rewards import Reward, reward_values

#: What a difference is taken against: one sample and greedy decoding on the same prompts, or a number known beforehand.
AGAINST = ("sample", "greedy", "constant")
#: Sub-pools of each size are drawn this often, less often from large pilots.
SUBPOOLS, DRAWN = 32, 4_000_000
#: A plan from a pilot of fewer prompts is hardly more than a guess.
FEW_PROMPTS = 20
#: Most samples per prompt that a plan proposes, were the prompts ever so much alike.
MOST_SAMPLES = 1_024
#: No plan is larger, in prompts or in samples of one.
LARGEST = 10**12
#: Studies that are drawn from a pilot to see how often their intervals show an effect; a power is known to about this much.
STUDIES, KNOWN = 400, 0.03
#: With three times as many prompts off an end as are counted one by one, hardly a study counts them.
SETTLED = 3 * RARE


@dataclass(frozen=True)
class Split:
    """One way to spend: so many prompts with so many samples each.

    Attributes:
        samples: per prompt, M.
        variance, variance_low, variance_high: ``σ²(M)`` of a prompt's number, with the range that the pilot leaves.
        prompts, prompts_low, prompts_high: prompts needed, and at the ends of that range; of a given budget, those it buys.
        effect, effect_low, effect_high: the smallest effect shown with the promised power; as asked, unless a budget was.
        power_low, power_high: the power of `prompts` prompts if the variance is at an end of its range.
        cost: of all prompts and samples.
    """

    samples: int
    variance: float
    variance_low: float
    variance_high: float
    prompts: int
    prompts_low: int
    prompts_high: int
    effect: float
    effect_low: float
    effect_high: float
    power_low: float
    power_high: float
    cost: float


@dataclass(frozen=True)
class Plan:
    """Prompts and samples that an evaluation needs, for several numbers of samples per prompt.

    Attributes:
        quantity: what is estimated, in words. n: N of best-of-N. against: one of `AGAINST`.
        power, confidence: promised, and of the two-sided interval that has to exclude 0.
        cost_per_prompt, cost_per_sample: in `unit`.
        pilot_prompts, pilot_samples: behind the plan; samples of the prompt that has fewest.
        splits: by samples per prompt; of a given budget, those that can show an effect at all. best: the cheapest of them;
            of a given budget, the one that shows the smallest effect.
    """

    quantity: str
    n: int
    against: str
    power: float
    confidence: float
    cost_per_prompt: float
    cost_per_sample: float
    unit: str
    pilot_prompts: int
    pilot_samples: int
    splits: tuple[Split, ...]
    best: Split


def prompts_needed(
    variance: np.ndarray, effect: np.ndarray, *, power: float = 0.8, confidence: float = CONFIDENCE
) -> np.ndarray:
    """Prompts for which a two-sided test of a mean against 0 has the power: ``(z_{1-α/2} + z_{power})² σ²/Δ² + z²_{1-α/2}/2``.

    The last term makes up for the variance being estimated (Student's quantile in place of the normal one).

    Args:
        variance: of one prompt's number, σ². effect: Δ, in the same unit. power: promised. confidence: 1 - α.

    Returns:
        Whole numbers, at least 2, of the common shape.

    Raises:
        UserError: a power that is not between α/2 and 1, no such confidence, or more than 10¹² prompts.

    Source: Guenther, *Sample Size Formulas for Normal Theory T Tests* (1981).

    ```python
    >>> int(prompts_needed(0.25, 0.1))  # a proportion near 1/2, ten points from a known number
    199

    ```
    """
    z, reach = _quantiles(power, confidence)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        exact = (reach / np.asarray(effect, dtype=float)) ** 2 * np.asarray(variance, dtype=float) + z**2 / 2
    if not np.all(exact <= LARGEST):
        raise UserError(
            f"effect={np.min(effect):g}: it takes more than {LARGEST:,} prompts to show it; expected a larger one"
        )
    return np.maximum(np.ceil(exact - 1e-9), 2).astype(np.int64)


def effect_shown(
    variance: np.ndarray, prompts: np.ndarray, *, power: float = 0.8, confidence: float = CONFIDENCE
) -> np.ndarray:
    """The smallest effect that so many prompts show with the power: the inverse of `prompts_needed`.

    Args:
        variance: σ² of one prompt's number. prompts: how many. power, confidence: as there.

    Returns:
        ``inf`` where they are too few for any effect.
    """
    z, reach = _quantiles(power, confidence)
    freedom = np.maximum(np.asarray(prompts, dtype=float) - z**2 / 2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(freedom > 0, reach * np.sqrt(np.asarray(variance, dtype=float) / freedom), np.inf)


def power_reached(
    variance: np.ndarray, prompts: np.ndarray, effect: np.ndarray, *, confidence: float = CONFIDENCE
) -> np.ndarray:
    """The power of so many prompts for an effect, in the approximation of `prompts_needed`.

    Args:
        variance: σ² of one prompt's number. prompts: how many. effect: Δ. confidence: 1 - α.
    """
    z, _ = _quantiles(0.5, confidence)
    freedom = np.maximum(np.asarray(prompts, dtype=float) - z**2 / 2, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # of numbers that are all the same any effect shows
        shift = np.asarray(effect, dtype=float) * np.sqrt(freedom / np.asarray(variance, dtype=float))
    return stats.norm.cdf(shift - z) + stats.norm.cdf(-shift - z)


def _quantiles(power: float, confidence: float) -> tuple[float, float]:
    """``z_{1-α/2}`` and ``z_{1-α/2} + z_{power}``."""
    expect_numbers("(0, 1)", confidence=confidence, power=power)
    if not (1 - confidence) / 2 < power < 1:
        raise UserError(f"power={power}; expected a number between {(1 - confidence) / 2:g} and 1")
    z = float(stats.norm.ppf((1 + confidence) / 2))
    return z, z + float(stats.norm.ppf(power))


def plan(
    pool: Pool | pd.DataFrame,
    effect: float | None = None,
    *,
    budget: float | None = None,
    n: int | None = None,
    against: str | None = None,
    reward: str | Reward = "log_likelihood",
    samples: int | None = None,
    power: float = 0.8,
    confidence: float = CONFIDENCE,
    cost_per_prompt: float | None = None,
    cost_per_sample: float | None = None,
    resamples: int = 500,
    seed: int = 0,
) -> Plan:
    """Prompts and samples that show an effect on accuracy, or the smallest effect that a budget shows, from a pilot.

    The number of each prompt is the accuracy of best-of-N, minus that of one sample or of greedy decoding on the same
    prompts, or as it is. Each is estimated from M samples: means over samples have ``σ²(M) = V + W/M``, cheapest at
    ``M* = √(c_x W/(c_y V))``; for best-of-N the variance over prompts is taken from random sub-pools of the pilot, of every
    doubling of M from N to what the pilot has.

    Sizes are Student's (`prompts_needed`), as is the interval over many prompts (`mean_over_prompts`). Where fewer than
    `SETTLED` of them are expected to have a number off 0 (or, against a constant, off 0 or off 1), 400 studies of so many
    prompts are drawn from the pilot's, and prompts are added until the power is the share whose interval shows the
    effect. Differences are drawn with weights ``∝ e^{t d}`` that give them the effect as their mean: prompts without one
    keep none. A known number is taken on either side, whichever is shown less often.

    Args:
        pool: the pilot; prompts that are not graded throughout are left out.
        effect: difference in accuracy to be shown, 0.02 for two points; or
        budget: what may be spent, in the unit of the costs. Exactly one of the two.
        n: N of best-of-N; default half of the pilot's samples, as a power of two.
        against: ``"sample"``, ``"greedy"`` (the pilot needs greedy responses), or ``"constant"``, a number known
            beforehand; default one sample, for N = 1 a constant.
        reward: best-of-N selects by it. samples: per prompt, M; default the best.
        power: promised. confidence: of the interval that has to exclude 0.
        cost_per_prompt, cost_per_sample: in one unit, both or neither. Default tokens: those of the prompt (from its
            characters, at as many a token as the responses have) and of a greedy response if one is needed; those of a
            response. Without lengths a sample costs 1 and a prompt nothing.
        resamples: of the pilot's prompts, for the range of the variance. seed: of sub-pools and resamples.

    Returns:
        The plan for several M, and the best.

    Raises:
        UserError: a pilot that cannot plan this (not graded, a single prompt, a single sample per prompt while M is to be
            chosen, too few for best-of-N, nothing for it to select by, no greedy responses, all prompts alike), or an
            argument out of range.

    ```python
    >>> rng = np.random.default_rng(0)
    >>> pilot = pd.DataFrame({"prompt_id": np.repeat(np.arange(400), 8), "log_likelihood": -1.0,
    ...                       "correct": rng.random(3200) < np.repeat(rng.random(400), 8)})
    >>> best = plan(pilot, 0.05, n=1, cost_per_prompt=4, cost_per_sample=1).best  # V = 1/12, W = 1/6, Δ = 0.05
    >>> best.samples, best.prompts_low < (0.05 / 2.8) ** -2 * (1 / 12 + 1 / 18) < best.prompts_high
    (3, True)

    ```
    """
    pool = as_pool(pool)
    if (effect is None) == (budget is None):
        raise UserError("give either effect or budget; the other follows")
    expect_numbers("(0, 1]", effect=1.0 if effect is None else effect)
    expect_numbers("(0, inf)", budget=1.0 if budget is None else budget)
    _quantiles(power, confidence)
    expect_integers(2, resamples=resamples)
    expect_integers(0, seed=seed)
    if samples is not None:
        expect_integers(1, LARGEST, samples=samples)
    if n is not None:
        expect_integers(1, n=n)
    pilot, n, against = _pilot(pool, n, against)
    sizes = pilot.sizes
    costs = _costs(pilot, against, cost_per_prompt, cost_per_sample)
    blocks = _blocks(pilot, reward if n > 1 else "correct", against)
    rng = np.random.default_rng(seed)
    if n == 1:
        candidates, spread = _spread_of_means(blocks, costs, samples)
        laws = [_subpool_values(blocks, 1, against, int(m), 1, np.random.default_rng(seed)) for m in candidates]
    else:
        candidates, laws = _laws_of_best_of_n(blocks, n, against, samples, int(sizes.min()), rng)
        spread = _spread_of_best_of_n(laws)
    splits = []
    for m, law, variance in zip(candidates, laws, _ranges(spread, len(sizes), resamples, rng)):
        shown = partial(_share_shown, law.ravel(), constant=against == "constant", confidence=confidence)
        splits.append(_split(int(m), variance, costs, effect, budget, power, confidence, shown))
    splits = [split for split in splits if np.isfinite(split.effect)]
    if not splits:
        raise UserError(
            f"budget={budget:g}: too few prompts to show any effect, at {costs[0] + candidates[0] * costs[1]:g} each"
        )
    best = min(splits, key=lambda split: split.cost if budget is None else split.effect)
    if best.variance <= 0:
        raise UserError(
            f"on all {len(sizes)} prompts of the pilot the {_quantity(n, against, reward)} is the same, which says nothing "
            "about how it varies; a larger pilot is needed"
        )
    return Plan(_quantity(n, against, reward), n, against, power, confidence, *costs, len(sizes), int(sizes.min()),
                tuple(splits), best)  # fmt: skip


def _quantity(n: int, against: str, reward: str | Reward) -> str:
    name = reward.name if isinstance(reward, Reward) else reward
    first = "accuracy of one sample" if n == 1 else f"accuracy of best-of-{n} by {name}"
    return (
        first
        + {"sample": " minus that of one sample", "greedy": " minus that of greedy decoding", "constant": ""}[against]
    )


# The pilot ------------------------------------------------------------------------------------------------------------


def _pilot(pool: Pool, n: int | None, against: str | None) -> tuple[Pool, int, str]:
    """The prompts that count, with N and what it is compared with."""
    if len(pool.samples) == 0:
        raise UserError("the pool has no samples")
    known = pool.graded()
    least = int(known.sizes.min())
    n = int(checked_n(2 ** int(np.log2(max(least // 2, 1))) if n is None else n, least)[0])
    against = ("sample" if n > 1 else "constant") if against is None else against
    if against not in AGAINST:
        raise UserError(f"against={against!r}; expected one of {', '.join(AGAINST)}")
    if n == 1 and against == "sample":
        raise UserError("n=1 against a sample is no difference; expected a larger n, or against greedy or a constant")
    if against == "greedy":
        greedy = _greedy(known)
        if greedy.empty:
            raise UserError("against='greedy': the pilot has no graded greedy response (rows of source 'greedy')")
        known = known.take(known["prompt_id"].isin(greedy.index))
    if (count := len(known.sizes)) < 2:
        raise UserError(f"the pilot has {count} prompt that counts; how much prompts differ takes at least 2")
    return known, n, against


def _greedy(pool: Pool) -> pd.Series:
    """Correctness of the greedy responses, by prompt_id, where it is known."""
    if len(pool.greedy) == 0 or "correct" not in pool.greedy:
        return pd.Series(dtype=float)
    return pool.greedy.dropna(subset=["correct"]).set_index("prompt_id")["correct"].astype(float)


def _blocks(pilot: Pool, reward: str | Reward, against: str) -> list[tuple[np.ndarray, ...]]:
    """Rewards and correctness ``[x, m]``, and what is subtracted of each prompt ``[x]``, per number of samples."""
    if reward == "log_likelihood" and reward not in pilot:
        raise UserError(
            f"best-of-N selects by reward={reward!r}, and the pilot has no such column; give reward=NAME of another, or n=1, "
            f"which selects nothing (the pilot has {pilot.names})"
        )
    table = pilot.assign(_reward=reward_values(pilot, reward))
    greedy = _greedy(pilot)
    return [
        (rewards, correct, greedy.loc[ids].to_numpy() if against == "greedy" else np.zeros(len(ids)))
        for ids, rewards, correct in rectangles(table, "_reward", "correct")
    ]


def _costs(pilot: Pool, against: str, per_prompt: float | None, per_sample: float | None) -> tuple[float, float, str]:
    """Of a prompt and of a sample, and their unit."""
    if (per_prompt is None) != (per_sample is None):
        raise UserError("give both cost_per_prompt and cost_per_sample, in one unit, or neither")
    if per_prompt is not None:
        expect_numbers("[0, inf)", cost_per_prompt=per_prompt)
        expect_numbers("(0, inf)", cost_per_sample=per_sample)
        return float(per_prompt), float(per_sample), "units of the given costs"
    length = float(np.mean(pilot.numbers("length"))) if "length" in pilot and pilot["length"].notna().all() else 0.0
    if not length > 0:
        return float(against == "greedy"), 1.0, "responses"
    prompt = 0.0
    if "prompt" in pilot and "response" in pilot:
        characters = pilot["response"].str.len().mean()
        if characters > 0:
            prompts = pilot.samples.drop_duplicates("prompt_id")["prompt"]
            prompt = float(np.nan_to_num(prompts.str.len().mean() * length / characters))
    return prompt + length * (against == "greedy"), length, "tokens"


# How much one prompt's number varies ----------------------------------------------------------------------------------

#: ``σ²`` of each candidate M on prompts of given multiplicities: ``[B, X] → [B, K]``.
Spread = Callable[[np.ndarray], np.ndarray]


def _weighted_variance(values: np.ndarray) -> Spread:
    """Unbiased variance over prompts of columns ``[X, R]``, averaged over them."""
    centred = values - values.mean(axis=0)
    n = len(centred)

    def variance(weights: np.ndarray) -> np.ndarray:
        means = weights @ centred / n
        return ((weights @ centred**2 / n - means**2) * (n / (n - 1))).mean(axis=1)

    return variance


def _spread_of_means(
    blocks: list[tuple[np.ndarray, ...]], costs: tuple[float, float, str], samples: int | None
) -> tuple[np.ndarray, Spread]:
    """``V + W/M``; the candidates are the doublings, and the whole numbers around ``M* = √(c_x W/(c_y V))``."""
    means = np.concatenate([correct.mean(axis=1) - offset for _, correct, offset in blocks])
    size = np.concatenate([np.full(len(correct), correct.shape[1]) for _, correct, _ in blocks])
    total = _weighted_variance(means[:, None])
    if size.min() == 1:
        # Between and within prompts cannot be told apart; together they are known.
        if samples != 1:
            raise UserError(
                "a prompt of the pilot has a single sample, so how samples of one prompt differ is unknown; expected at least "
                "2 samples per prompt, or samples=1 to plan for one sample each"
            )
        if size.max() > 1:
            raise UserError(
                "samples=1 needs a pilot of the same number of samples on each prompt, or at least 2 on each"
            )
        return np.array([1]), lambda weights: total(weights)[:, None]
    within = np.concatenate([correct.var(axis=1, ddof=1) for _, correct, _ in blocks])

    def parts(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        share = weights / weights.sum(axis=1, keepdims=True)
        return np.maximum(total(weights) - share @ (within / size), 0.0), share @ within

    def spread(weights: np.ndarray) -> np.ndarray:
        between, inside = parts(weights)
        return between[:, None] + inside[:, None] / candidates

    if samples is not None:
        candidates = np.array([samples])
    else:
        (v,), (w,) = parts(np.ones((1, len(means))))
        best = (
            min(np.sqrt(costs[0] / costs[1]) * np.sqrt(w / v) if v > 0 else np.inf, MOST_SAMPLES) if costs[0] > 0 else 1
        )
        near = [max(int(np.floor(best)), 1), max(int(np.ceil(best)), 1)]
        candidates = np.unique(np.append(doubling_grid(int(size.min())), near))
    return candidates, spread


def _laws_of_best_of_n(
    blocks: list[tuple[np.ndarray, ...]], n: int, against: str, samples: int | None, least: int, rng
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Each M that is tried, and the numbers of the pilot's prompts from random sub-pools of so many, ``[X, draws]``."""
    if samples is not None:
        candidates = checked_n(samples, least)
        if samples < n:
            raise UserError(f"samples={samples}; best-of-{n} needs at least {n} of each prompt")
    else:
        candidates = np.unique(np.append(n * doubling_grid(least // n), least))
    rows = sum(rewards.size for rewards, _, _ in blocks)
    draws = max(1, min(SUBPOOLS, DRAWN // rows))
    return candidates, [_subpool_values(blocks, n, against, int(m), draws, rng) for m in candidates]


def _spread_of_best_of_n(laws: list[np.ndarray]) -> Spread:
    """The variance over prompts of the estimate from each number of samples."""
    spreads = [_weighted_variance(values) for values in laws]
    return lambda weights: np.stack([spread(weights) for spread in spreads], axis=1)


def _subpool_values(
    blocks: list[tuple[np.ndarray, ...]], n: int, against: str, m: int, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Each prompt's number from `draws` random sub-pools of m of its samples, ``[X, draws]``."""
    values = []
    for rewards, correct, offset in blocks:
        columns = []
        for _ in range(draws if m < rewards.shape[1] else 1):
            chosen = np.argsort(rng.random(rewards.shape), axis=1)[:, :m]
            part = [np.take_along_axis(each, chosen, axis=1) for each in (rewards, correct)]
            one, best = best_of_n_curve(*part, [1, n]).T
            columns.append(best - (one if against == "sample" else offset))
        values.append(np.broadcast_to(np.stack(columns, axis=1), (len(rewards), len(columns))))
    width = max(block.shape[1] for block in values)
    return np.concatenate([np.broadcast_to(v, (len(v), width)) if v.shape[1] == 1 else v for v in values])


def _ranges(spread: Spread, n_prompts: int, resamples: int, rng: np.random.Generator) -> list[Estimate]:
    """The variances with the range that resampling the pilot's prompts gives them."""
    value = spread(np.ones((1, n_prompts)))[0]
    step = max(1, DRAWN // n_prompts)
    chances = np.full(n_prompts, 1 / n_prompts)
    replicates = np.concatenate(
        [
            spread(rng.multinomial(n_prompts, chances, size=min(step, resamples - start)).astype(float))
            for start in range(0, resamples, step)
        ]
    )
    return [from_replicates(v, r, n_prompts, ends=POSITIVE) for v, r in zip(value, replicates.T)]


def _split(
    m: int,
    variance: Estimate,
    costs: tuple[float, float, str],
    effect: float | None,
    budget: float | None,
    power: float,
    confidence: float,
    shown: Callable[[int, float], float],
) -> Split:
    """Prompts for an effect, or the effect that a budget shows, at the variance and at the ends of its range.

    They are Student's, all three stretched by what the interval needs beyond them.
    """
    three = np.array([variance.value, variance.low, variance.high], dtype=float)
    kept = dict(power=power, confidence=confidence)
    each = costs[0] + m * costs[1]
    if budget is None:
        effects, prompts = np.full(3, effect), prompts_needed(three, effect, **kept)
    else:
        if not budget <= LARGEST * each:
            raise UserError(f"budget={budget:g}: it buys more than {LARGEST:,} prompts; expected a smaller one")
        prompts = np.full(3, int(budget // each))
        effects = effect_shown(three, prompts, **kept)
    power_high, power_low = power_reached(three[1:], prompts[0], effects[0], confidence=confidence)
    if budget is None:
        stretch = _stretch(lambda times: shown(int(np.ceil(times * prompts[0])), effect), power)
        prompts = np.ceil(prompts * stretch)
    elif np.isfinite(effects[0]):
        effects = effects * _stretch(lambda times: shown(int(prompts[0]), times * effects[0]), power)
    cost = float(prompts[0] * each)
    if not np.isfinite(cost):
        raise UserError(f"cost_per_prompt={costs[0]:g}, cost_per_sample={costs[1]:g}; expected a finite total")
    numbers = [*map(float, three), *map(int, prompts), *map(float, effects), float(power_low), float(power_high)]
    return Split(m, *numbers, cost)


# The interval that decides --------------------------------------------------------------------------------------------


def _stretch(reached: Callable[[float], float], power: float) -> float:
    """The least factor from 1, to 3 %, at which the power is reached: doubling, then halving; inf where it cannot be known.

    At 1 a NaN, or what is only noise short of the power, is taken for reached: Student's size stands.
    """
    if not reached(1.0) < power - KNOWN:
        return 1.0
    low, high = 1.0, 2.0
    while (share := reached(high)) < power:
        low, high = high, 2 * high
    if np.isnan(share):
        return np.inf
    while high > 1.03 * low:
        middle = np.sqrt(low * high)
        low, high = (middle, high) if reached(middle) < power else (low, middle)
    return float(high)


def _share_shown(values: np.ndarray, prompts: int, effect: float, *, constant: bool, confidence: float) -> float:
    """The share of studies of so many prompts, drawn from the pilot's numbers, whose interval shows the effect.

    1 where enough of the prompts tell for Student's size to be enough; NaN where no law on these numbers has the effect.
    """
    off = min(np.mean(values > 0), np.mean(values < 1)) if constant else np.mean(values != 0)
    if prompts < 2 or not 0 < prompts * off < SETTLED:
        return 1.0
    mean = values.mean()
    known = [each for each in (mean - effect, mean + effect) if 0 <= each <= 1] if constant else [0.0]
    weights = None if constant else _tilted(values, effect)
    if not known or (weights is None and not constant):
        return np.nan
    # The same luck at every size, so that more prompts show more.
    rng = np.random.default_rng(0)
    studies = int(np.clip(DRAWN // prompts, STUDIES // 4, STUDIES))
    drawn = values[rng.choice(len(values), size=(studies, prompts), p=weights)].T
    found = mean_over_prompts(drawn, ends=PROPORTION if constant else DIFFERENCE, confidence=confidence)
    return min(float(np.mean(found.low > each if each < mean or not constant else found.high < each)) for each in known)


def _tilted(values: np.ndarray, mean: float) -> np.ndarray | None:
    """Weights ``∝ e^{t v}`` under which values have a mean, ``[n]``; None if it is not well between their ends."""
    edge = 100 / max(np.ptp(values), 1e-300)
    beyond = lambda t: special.softmax(t * values) @ values - mean  # noqa: E731
    if not beyond(-edge) < 0 < beyond(edge):
        return None
    return special.softmax(optimize.brentq(beyond, -edge, edge) * values)
