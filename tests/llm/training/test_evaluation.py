"""Evaluations of a model whose responses can be listed, against exact expectations."""

import numpy as np
import pandas as pd
import pytest

from sharptheory.llm.decoding.search import search_task
from sharptheory.llm.sampling import sample_pool
from sharptheory.llm.training.evaluation import Evaluation, baselines, gap_closed, trained_decoding
from sharptheory.measure.pool import Pool
from tests.llm.training.tiny import EOS, RESPONSES, log_law, pool_of, tiny, tiny_oracle, tiny_task

PROMPTS = ["a", "b", "c", "ab", "bc"]
LETTERS = {0: "a", 2: "b", 3: "c", 1: "."}


@pytest.fixture(scope="module")
def base():
    return tiny_oracle(tiny(0))


@pytest.fixture(scope="module")
def policy():
    return tiny_oracle(tiny(1))


def laws(oracle) -> np.ndarray:
    return np.stack([log_law(oracle.model, ids) for ids in oracle.encode(PROMPTS)])


def test_the_enumerable_oracle_samples_and_scores_the_law(base):
    exact = laws(base)
    scores = base.evaluate(PROMPTS, [RESPONSES] * len(PROMPTS))
    np.testing.assert_allclose(np.stack(scores), exact, atol=1e-4)


@pytest.mark.parametrize("gold", [["a", "b", "c", "a", "b"], [None, "b", None, "a", "b"], [None] * 5])
def test_every_column_is_its_exact_expectation(base, policy, gold, tmp_path):
    """Within 4.5 standard errors, over all prompts or, of accuracy, those with a gold answer: first one without or not."""
    n, task = 600, tiny_task(PROMPTS, gold)
    argmax = search_task(base, task, tmp_path / "argmax", samples=4)
    baseline = sample_pool(base, task, 8, tmp_path)
    evaluation = Evaluation(base.evaluate, task, n=n, baseline=baseline, argmax=argmax)
    row = evaluation(policy)
    assert row.keys() == set(evaluation.fields)
    reference, trained = laws(base), laws(policy)
    probs = np.exp(trained)

    def agrees(name, values, mass=probs):
        mean = (mass * values).sum(axis=1)
        error = np.sqrt(((mass * (values - mean[:, None]) ** 2).sum(axis=1)).sum() / n) / len(mean)
        assert abs(row[name] - mean.mean()) <= 4.5 * error + 1e-6, name
        assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]

    agrees("log_likelihood", reference)  # under the base, which is not the policy's own
    assert abs((probs * (reference - trained)).sum(axis=1).mean()) > 1
    agrees("entropy", -trained)
    agrees("length", np.array([[len(y) for y in RESPONSES]] * len(PROMPTS)))
    # A prompt whose likeliest response is cut off has no argmax to certify; the others' is that of the list.
    best = [(x, y) for x, y in enumerate(reference.argmax(axis=1)) if RESPONSES[y][-1] == EOS]
    assert argmax["certified"].sum() == len(best) >= 2
    mass = np.array([probs[x, y] for x, y in best])
    np.testing.assert_allclose(row["argmax_mass"], mass.mean(), rtol=1e-3)
    for delta in (0.5, 0.1):
        assert row[f"sharpened_{delta:g}"] == pytest.approx((mass >= 1 - delta).mean())
    graded = [i for i, answer in enumerate(gold) if answer is not None]
    if not graded:
        assert "accuracy" not in row and "gap_closed" not in row and "pass_at_n" not in row
        return
    correct = np.array([[float(LETTERS[y[0]] == gold[i]) for y in RESPONSES] for i in graded])
    agrees("accuracy", correct, probs[graded])
    ends = baselines(baseline)
    gap = ends["best_of_n_accuracy"] - ends["sampled_accuracy"]
    expected = (row["accuracy"] - ends["sampled_accuracy"]) / gap if gap > 0 else np.nan
    assert row["gap_closed"] == pytest.approx(expected, nan_ok=True)


def test_baselines_are_those_of_a_pool_known_by_hand():
    """Two samples of each of three prompts, the first without a gold answer: likeliest right, wrong."""
    pool = pool_of([[(0, EOS), (2, EOS)]] * 3, np.log([[0.5, 0.1], [0.2, 0.4], [0.3, 0.1]]), length=2)
    pool["correct"] = [None, None, True, False, True, False]
    greedy = pool.groupby("prompt_id").head(1).assign(source="greedy", sample_id=-1, correct=[None, True, False])
    pool = Pool.from_frame(pd.concat([pool, greedy]))
    argmax = pd.DataFrame({"certified": [True, False, True], "log_p": np.log([0.5, 0.9, 0.3])})
    assert baselines(pool, argmax) == pytest.approx({
        "n": 2, "unfinished": 0.0, "sampled_accuracy": 0.5, "best_of_n_accuracy": 0.5, "greedy_accuracy": 0.5, "argmax_mass": 0.4,
        "certified": 2 / 3, "sampled_log_likelihood": np.log([0.5, 0.1, 0.2, 0.4, 0.3, 0.1]).mean(),
        "best_of_n_log_likelihood": np.log([0.5, 0.4, 0.3]).mean(), "greedy_log_likelihood": np.log([0.5, 0.2, 0.3]).mean(),
    })  # fmt: skip


def test_a_trained_model_decodes_by_its_own_likelihood_and_is_scored_under_the_base(base, policy, tmp_path):
    task = tiny_task(PROMPTS, ["a", "b", "c", "a", "b"])
    pool = sample_pool(policy, task, 16, tmp_path)
    found = trained_decoding(pool, base.evaluate, task)
    exact = dict(zip(RESPONSES, laws(base).T))
    by_prompt = [group for _, group in pool.samples.groupby("prompt_id")]
    chosen = [tuple(group.loc[group["log_likelihood"].idxmax(), "tokens"]) for group in by_prompt]
    assert found["best_of_n_log_likelihood"] == pytest.approx(
        np.mean([exact[y][i] for i, y in enumerate(chosen)]), abs=1e-3
    )
    right = [LETTERS[y[0]] == gold for y, gold in zip(chosen, task.answers)]
    assert found["best_of_n_accuracy"] == pytest.approx(np.mean(right))
    assert found["greedy_accuracy"] == pool.greedy["correct"].mean()
    assert set(found) == {f"{kind}_{of}" for kind in ("greedy", "best_of_n") for of in ("accuracy", "log_likelihood")}


# The gap --------------------------------------------------------------------------------------------------------------


def test_gap_closed_is_a_ratio_of_means():
    estimate = gap_closed(np.array([0.5, 0.7, 0.3]), np.array([0.2, 0.6, 0.1]), np.array([0.8, 1.0, 0.9]))
    assert estimate.value == pytest.approx(0.6 / 1.8) and estimate.low <= estimate.value <= estimate.high


def test_a_step_back_and_one_beyond_best_of_n_have_intervals_around_them():
    rng = np.random.default_rng(0)
    sampled = rng.uniform(0.3, 0.4, 60)
    for truth in (-0.5, 1.5):
        estimate = gap_closed(sampled + 0.2 * truth + rng.normal(0, 0.05, 60), sampled, sampled + 0.2)
        assert estimate.low < truth < estimate.high and abs(estimate.value - truth) < 0.1


def test_gap_closed_has_no_interval_where_the_data_do_not_show_a_gap():
    nothing = gap_closed(np.array([0.5, 0.6]), np.array([0.4, 0.4]), np.array([0.4, 0.4]))
    assert np.isnan(nothing.value) and np.isnan(nothing.low)
    rng = np.random.default_rng(0)
    unclear = gap_closed(rng.random(20), rng.random(20), rng.random(20) + 0.02)
    assert np.isnan(unclear.low) and np.isnan(unclear.high)
    assert np.isnan(gap_closed(np.array([0.5]), np.array([0.2]), np.array([0.8])).low)


def test_intervals_of_gap_closed_cover_the_truth():
    """Prompts of very different difficulty, on which all three accuracies depend: 95 % of 150 intervals, up to noise.

    An interval of the trained model's accuracy alone, divided by the gap, is several times as wide.
    """
    rng, inside, widths, unpaired = np.random.default_rng(0), [], [], []
    truth = 0.4
    for _ in range(150):
        easy = rng.random(100)
        sampled, best = easy * 0.5, easy * 0.5 + 0.3 + 0.1 * rng.normal(size=100)
        trained = sampled + truth * 0.3 + 0.05 * rng.normal(size=100)
        estimate = gap_closed(trained, sampled, best)
        inside.append(estimate.low <= truth <= estimate.high)
        widths.append(estimate.high - estimate.low)
        unpaired.append(2 * 1.96 * trained.std() / np.sqrt(100) / (best - sampled).mean())
    assert abs(np.mean(inside) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 150)
    assert np.mean(widths) < np.mean(unpaired) / 2
