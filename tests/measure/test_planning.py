"""How many prompts: variances against exact ones, sizes against the noncentral t, plans against simulated studies."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import sharptheory
from experiments.planning import Config, compute
from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import best_of_n_curve
from sharptheory.measure.bootstrap import mean_over_prompts
from sharptheory.measure.planning import effect_shown, plan, power_reached, prompts_needed


def pilot(rates: np.ndarray, m: int, seed: int = 0, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(len(rates)), m)
    frame = {
        "prompt_id": prompt,
        "log_likelihood": -1 - rng.random(len(prompt)),
        "correct": rng.random(len(prompt)) < rates[prompt],
    }
    return pd.DataFrame(frame | columns)


SPREAD = pilot(np.random.default_rng(1).random(300), 8)


@pytest.mark.parametrize("shift", [0.2, 0.05, 0.9])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_planned_sizes_have_their_power_under_the_noncentral_t(shift, power):
    n = int(prompts_needed(1.0, shift, power=power))
    size = lambda n: stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, shift * np.sqrt(n))  # noqa: E731
    assert size(n) == pytest.approx(power, abs=0.03 if n < 20 else 0.005)
    assert power_reached(1.0, n, shift) == pytest.approx(power, abs=0.03 if n < 20 else 0.005)


def test_effect_and_prompts_are_inverse():
    n = prompts_needed(0.3, np.array([0.02, 0.1]), power=0.9, confidence=0.99)
    assert effect_shown(0.3, n, power=0.9, confidence=0.99) == pytest.approx([0.02, 0.1], rel=1e-3)
    assert prompts_needed(0.0, 0.1) == 2 and effect_shown(0.3, 1) == np.inf
    assert power_reached(0.3, n, 0.0, confidence=0.99) == pytest.approx(0.01)


def test_variance_of_a_mean_is_between_plus_within_over_samples():
    """By hand: prompts at 1, 1/2, 0 of four samples; V + W/4 is the variance of the prompts' means."""
    frame = pd.DataFrame({"prompt_id": np.repeat(np.arange(3), 4), "log_likelihood": -1.0,
                          "correct": [1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0]})  # fmt: skip
    found = {split.samples: split for split in plan(frame, 0.1, n=1, cost_per_prompt=1, cost_per_sample=1).splits}
    w = (1 / 3) / 3
    assert found[4].variance == pytest.approx(1 / 4)
    assert found[1].variance == pytest.approx(1 / 4 - w / 4 + w)
    assert plan(frame, 0.1, n=1, samples=7).best.variance == pytest.approx(1 / 4 - w / 4 + w / 7)
    # M* = √(c_x W/(c_y V)), a whole number beside it
    best = plan(frame, 0.1, n=1, cost_per_prompt=100, cost_per_sample=1).best
    assert abs(best.samples - np.sqrt(100 * w / (1 / 4 - w / 4))) < 1
    assert best.cost == best.prompts * (100 + best.samples)


def test_variance_of_best_of_n_is_that_of_sub_pools():
    """Three prompts, three samples: all sub-pools of two, enumerated, are what random ones average to."""
    frame = pd.DataFrame({"prompt_id": np.repeat(np.arange(3), 3), "log_likelihood": [-3, -2, -1] * 3,
                          "correct": [0, 1, 0, 1, 1, 0, 0, 0, 1]})  # fmt: skip
    # best of {1,2}, {1,3}, {2,3} minus their mean
    values = np.array([[1 / 2, 0, -1 / 2], [0, -1 / 2, -1 / 2], [0, 1 / 2, 1 / 2]])
    expected = np.mean([np.var(row, ddof=1) for row in np.array(np.meshgrid(*values)).reshape(3, -1).T])
    seeds = [
        {s.samples: s.variance for s in plan(frame, 0.1, n=2, seed=seed, resamples=2).splits} for seed in range(60)
    ]
    assert np.mean([found[2] for found in seeds]) == pytest.approx(expected, abs=0.01)
    whole = np.array([0 - 1 / 3, 0 - 2 / 3, 1 - 1 / 3])  # of the three the last is always best
    greedy = pd.DataFrame({"prompt_id": range(3), "log_likelihood": -1.0, "correct": [1, 0, 0], "source": "greedy"})
    both = pd.concat([frame.assign(source="model"), greedy])
    assert plan(frame.iloc[::-1], 0.1, n=2, samples=3).best.variance == pytest.approx(_best_of_two(frame).var(ddof=1))
    against = plan(both, 0.1, n=3, against="greedy", samples=3).best.variance
    assert against == pytest.approx(np.var(np.array([0, 0, 1]) - np.array([1, 0, 0]), ddof=1))
    assert plan(frame, 0.1, n=3, samples=3).best.variance == pytest.approx(whole.var(ddof=1))


def _best_of_two(frame: pd.DataFrame) -> np.ndarray:
    """Best-of-2 minus the mean, over the three pairs of each prompt's samples, likelihoods in rising order."""
    correct = frame["correct"].to_numpy().reshape(3, 3)
    return (correct[:, 1] + 2 * correct[:, 2]) / 3 - correct.mean(axis=1)


def test_a_range_holds_the_variance_and_narrows_with_the_pilot():
    rates = np.random.default_rng(0).random(4_000)
    wide, narrow = (plan(pilot(rates[:count], 8), 0.05, n=4).best for count in (60, 4_000))
    for best in (wide, narrow):
        assert (
            best.variance_low < best.variance < best.variance_high
            and best.prompts_low < best.prompts < best.prompts_high
        )
        assert best.power_low < 0.8 < best.power_high
    assert wide.power_high - wide.power_low > 4 * (narrow.power_high - narrow.power_low)


def test_a_budget_buys_what_the_effect_of_it_needs():
    bought = plan(SPREAD, budget=2_000, n=4)
    assert all(split.cost <= 2_000 for split in bought.splits)
    asked = plan(SPREAD, bought.best.effect, n=4, samples=bought.best.samples)
    assert asked.best.prompts == pytest.approx(bought.best.prompts, abs=1)
    assert bought.best.effect == min(split.effect for split in bought.splits)
    assert bought.best.effect_low < bought.best.effect < bought.best.effect_high


def test_defaults_follow_the_pilot():
    found = plan(SPREAD, 0.02)
    assert (found.n, found.against, found.pilot_prompts, found.pilot_samples) == (4, "sample", 300, 8)
    assert found.quantity == "accuracy of best-of-4 by log_likelihood minus that of one sample"
    assert (found.cost_per_prompt, found.cost_per_sample, found.unit) == (0.0, 1.0, "responses")
    assert [split.samples for split in found.splits] == [4, 8]
    free = plan(SPREAD, 0.02, n=1)
    assert free.against == "constant" and free.best.samples == 1  # where a prompt costs nothing
    text = SPREAD.assign(length=10, prompt="x" * 90, response="y" * 30)
    assert plan(text, 0.02).cost_per_prompt == pytest.approx(30)  # 3 characters a token
    assert plan(text, 0.02).cost_per_sample == 10 and plan(text, 0.02).unit == "tokens"
    greedy = text.drop_duplicates("prompt_id").assign(source="greedy")
    assert plan(
        pd.concat([text.assign(source="model"), greedy]), 0.02, against="greedy"
    ).cost_per_prompt == pytest.approx(40)


def test_the_seed_decides_sub_pools_and_resamples():
    first, again, other = (plan(SPREAD, 0.05, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.splits[0].variance != other.splits[0].variance and first.best.variance_low != other.best.variance_low


def test_ragged_pilots_and_other_rewards_plan():
    ragged = SPREAD[np.random.default_rng(0).random(len(SPREAD)) < 0.9].assign(score=lambda t: -t["log_likelihood"])
    found = plan(ragged, 0.05, n=2, reward="score")
    assert found.pilot_samples == ragged.groupby("prompt_id").size().min() and "by score" in found.quantity
    verifier = plan(ragged, 0.05, n=2, reward="correct").best
    assert verifier.variance > 0 and verifier.prompts != found.best.prompts
    again = plan(ragged.assign(score=ragged["correct"]), 0.05, n=2, reward="score").best
    assert again == verifier


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (SPREAD.drop(columns="correct"), {}, "column 'correct' is missing; the pool has prompt_id"),
        (SPREAD[SPREAD["prompt_id"] == 0], {}, "the pilot has 1 prompt that counts"),
        (SPREAD.drop_duplicates("prompt_id"), {}, "a single sample, so how samples of one prompt differ is unknown"),
        (SPREAD.assign(correct=True), {}, "on all 300 prompts of the pilot the accuracy of best-of-4"),
        (SPREAD, {"against": "greedy"}, "no graded greedy response"),
        (SPREAD, {"n": 9}, "n=9; expected an integer from 1 to the pool size 8"),
        (SPREAD, {"n": 4, "samples": 2}, "samples=2; best-of-4 needs at least 4 of each prompt"),
        (SPREAD, {"n": 4, "samples": 9}, "n=9; expected an integer from 1 to the pool size 8"),
        (SPREAD, {"n": 1, "against": "sample"}, "n=1 against a sample is no difference"),
        (SPREAD, {"against": "nobody"}, "against='nobody'; expected one of sample, greedy, constant"),
        (SPREAD, {"budget": 5.0, "effect": None}, "budget=5: too few prompts to show any effect, at 4 each"),
        (SPREAD, {"budget": 5.0}, "give either effect or budget"),
        (SPREAD, {"effect": 0.0}, r"effect=0.0; expected a number in \(0, 1\]"),
        (SPREAD, {"effect": None}, "give either effect or budget"),
        (SPREAD, {"power": 0.02}, "power=0.02; expected a number between 0.025 and 1"),
        (SPREAD, {"confidence": 1.0}, r"confidence=1.0; expected a number in \(0, 1\)"),
        (SPREAD, {"cost_per_prompt": 1.0}, "give both cost_per_prompt and cost_per_sample"),
        (
            SPREAD,
            {"cost_per_prompt": 1.0, "cost_per_sample": 0.0},
            r"cost_per_sample=0.0; expected a number in \(0, inf\)",
        ),
        (SPREAD, {"samples": 0}, "samples=0; expected an integer from 1 to"),
        (SPREAD, {"n": 1, "samples": 10**20}, "samples=1.*0; expected an integer from 1 to 1,000,000,000,000"),
        (SPREAD, {"effect": 1e-10}, "effect=1e-10: it takes more than 1,000,000,000,000 prompts to show it"),
        (SPREAD, {"effect": 1e-300}, "effect=1e-300: it takes more than 1,000,000,000,000 prompts to show it"),
        (SPREAD, {"effect": None, "budget": 1e308}, r"budget=1e\+308: it buys more than 1,000,000,000,000 prompts"),
        (SPREAD, {"effect": True}, r"effect=True; expected a number in \(0, 1\]"),
        (SPREAD, {"power": "a"}, r"power=a; expected a number in \(0, 1\)"),
        (SPREAD, {"power": None}, r"power=None; expected a number in \(0, 1\)"),
        (SPREAD, {"n": [1, 2]}, r"n=\[1, 2\]; expected an integer ≥ 1"),
        (SPREAD, {"cost_per_prompt": 1e308, "cost_per_sample": 1e308}, "expected a finite total"),
    ],
)
def test_what_cannot_be_planned_is_refused(frame, options, message):
    with pytest.raises(UserError, match=message):
        plan(frame, **{"effect": 0.05} | options)


def test_one_sample_per_prompt_plans_for_one_sample():
    single = SPREAD.drop_duplicates("prompt_id")
    best = plan(single, 0.05, samples=1).best
    assert best.samples == 1 and best.variance == pytest.approx(single["correct"].var())


def test_the_plan_is_public():
    assert sharptheory.plan is plan and isinstance(plan(SPREAD, 0.05), sharptheory.Plan)


def test_plans_of_300_prompts_have_about_the_promised_power():
    rows = compute(Config(effects=(0.05,), pilots=12, sizes=(300,), bank=20_000, studies=800, resamples=20))
    mean = rows.groupby(["world", "quantity"])["power"].mean()
    assert len(mean) == 9 and (np.abs(mean - 0.8) < 0.08).all(), mean


@pytest.mark.slow
def test_plans_of_300_prompts_and_more_have_the_promised_power_within_2_points():
    rows = compute(Config(effects=(0.02,), pilots=150, sizes=(300, 1_000), seed=1))
    groups = rows.groupby(["world", "quantity", "pilot_prompts"])
    # One more point for the noise of 150 pilots and 4,000 simulated studies.
    assert (np.abs(groups["power"].mean() - 0.8) < 0.03).all(), groups["power"].mean()
    assert abs(rows["power"].mean() - 0.8) < 0.01 and groups["range_holds"].mean().min() > 0.85


def few_that_tell(share: float, prompts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """On a share of the prompts half of the responses are right, and those likelier; the others are always one or the other."""
    drawn = rng.random(prompts)
    rates = np.where(drawn < share, 0.5, (drawn < 0.6).astype(float))
    correct = rng.random((prompts, 16)) < rates[:, None]
    return correct - rng.random((prompts, 16)) - 2, correct


def frame_of(scores: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    prompt = np.repeat(np.arange(len(scores)), scores.shape[1])
    return pd.DataFrame({"prompt_id": prompt, "log_likelihood": scores.ravel(), "correct": correct.ravel()})


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_a_gain_of_few_prompts_has_its_power_with_the_interval_that_counts_them(share):
    rng, effect = np.random.default_rng(1), share * (0.5 - 0.5**4)
    best = plan(frame_of(*few_that_tell(share, 1_000, rng)), effect, n=4, samples=16, resamples=20).best

    def power(prompts: int) -> float:
        gains = np.stack(
            [np.subtract(*best_of_n_curve(*few_that_tell(share, prompts, rng), [4, 1]).T) for _ in range(400)]
        )
        return np.mean(mean_over_prompts(gains.T, ends=(-1, 1)).low > 0)

    assert power(best.prompts) == pytest.approx(0.8, abs=0.09)


def test_a_rate_near_one_has_its_power_with_the_interval_that_counts_the_others():
    """Nineteen of twenty prompts are always right, the others never: 91 % is to be told from it."""
    rng = np.random.default_rng(1)
    right = lambda prompts: rng.random(prompts) < 0.95  # noqa: E731
    pilot = frame_of(np.full((1_000, 2), -1.0), np.repeat(right(1_000), 2).reshape(-1, 2))
    best = plan(pilot, 0.04, n=1, samples=2, resamples=20).best
    power = lambda n: np.mean(mean_over_prompts(np.array([right(n) for _ in range(400)]).T, ends=(0, 1)).low > 0.91)  # noqa: E731
    assert power(best.prompts) > 0.76 and best.prompts > 1.2 * prompts_needed(best.variance, 0.04)


def test_a_budget_shows_what_the_interval_that_counts_shows():
    scores, correct = few_that_tell(0.05, 1_000, np.random.default_rng(1))
    bought = plan(frame_of(scores, correct), budget=80 * 16, n=4, samples=16, resamples=20).best
    asked = plan(frame_of(scores, correct), bought.effect, n=4, samples=16, resamples=20).best
    assert asked.prompts == pytest.approx(80, rel=0.1)
    assert bought.effect > 1.02 * effect_shown(bought.variance, 80)
