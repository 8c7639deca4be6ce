"""The table of all ways to decode: the pool's methods by hand, the others against the laws of an enumerable model."""

import itertools

import numpy as np
import pandas as pd
import pytest

from sharptheory.llm.decoding.compare import compare_task, counted, from_pool, n_certified, n_mixed, summarize, tilted
from sharptheory.measure.bootstrap import mean_over_prompts
from sharptheory.measure.pool import Pool
from tests.llm.training.tiny import RESPONSES, log_law, tiny, tiny_oracle, tiny_task

LIKELIHOODS = np.log([0.4, 0.3, 0.2, 0.1])


@pytest.fixture(scope="module")
def by_hand():
    """Four samples of each of two prompts: the likeliest wrong, the answer of two right; the second without a gold answer."""
    samples = [
        {"prompt_id": x, "sample_id": j, "tokens": (j,), "log_likelihood": LIKELIHOODS[j], "length": j + 1,
         "answer": "xyyz"[j], "correct": None if x else bool("xyyz"[j] == "y"), "source": "model"}
        for x, j in itertools.product(range(2), range(4))
    ]  # fmt: skip
    greedy = [samples[4 * x] | {"sample_id": -1, "source": "greedy"} for x in range(2)]
    return Pool.from_frame(pd.DataFrame(samples + greedy).astype({"correct": "boolean"}))


@pytest.fixture(scope="module")
def table(by_hand):
    prompt_tokens = pd.Series([10, 20])
    table = pd.concat([*from_pool(by_hand, prompt_tokens, [0.5]), *tilted(by_hand, [3.0])], ignore_index=True)
    return table.set_index(["method", "setting", "prompt_id"])


@pytest.mark.parametrize(
    ("method", "setting", "tokens", "accuracy", "log_likelihood"),
    [
        ("greedy", "", 10 + 1, 0.0, LIKELIHOODS[0]),
        ("sampling", "1", 10 + 2.5, 0.5, LIKELIHOODS.mean()),
        # Of the six pairs, three have the likeliest response, two the second, one the third.
        ("best-of-N, log likelihood", "2", 10 + 2 * 2.5, 3 / 6, np.array([3, 2, 1, 0]) / 6 @ LIKELIHOODS),
        ("best-of-N, log likelihood", "4", 10 + 4 * 2.5, 0.0, LIKELIHOODS[0]),
        # log .2 / 3 = -.54 is the largest per token, before log .1 / 4 = -.58.
        ("best-of-N, length normalized", "4", 10 + 4 * 2.5, 1.0, LIKELIHOODS[2]),
        ("majority vote", "4", 10 + 4 * 2.5, 1.0, np.nan),
        ("tilted law, from the pool", "α=3, β=0.5", np.nan, None, None),
    ],
)
def test_methods_of_the_pool_by_hand(table, method, setting, tokens, accuracy, log_likelihood):
    row = table.loc[(method, setting, 0)]
    assert row["forward_tokens"] == pytest.approx(tokens, nan_ok=True)
    if accuracy is not None:
        assert row["accuracy"] == pytest.approx(accuracy)
        assert row["log_likelihood"] == pytest.approx(log_likelihood, nan_ok=True)


def test_adaptive_best_of_n_over_all_orders(table):
    """Threshold ln 4: stop at the first sample with ``1/max p ≤ k/μ``, or at the last."""
    spent, accuracy, likelihood = [], [], []
    for order in itertools.permutations(range(4)):
        for k in range(1, 5):
            best = max(order[:k], key=lambda j: LIKELIHOODS[j])
            if np.exp(-LIKELIHOODS[best]) <= k / np.log(4) or k == 4:
                break
        spent.append(k)
        accuracy.append(best in (1, 2))
        likelihood.append(LIKELIHOODS[best])
    row = table.loc[("adaptive best-of-N", "δ = 0.5", 0)]
    assert row["forward_tokens"] == pytest.approx(10 + np.mean(spent) * 2.5)
    assert (row["accuracy"], row["log_likelihood"]) == pytest.approx((np.mean(accuracy), np.mean(likelihood)))


@pytest.mark.parametrize(("delta", "stops"), [(0.5, True), (2 * np.exp(-1.7), False)])
def test_adaptive_best_of_n_tells_where_the_pool_ended_it(by_hand, delta, stops):
    """The likeliest has 0.4: four samples are enough for a threshold of at most 1.6; ln 4 = 1.39 is below, 1.7 above."""
    table = pd.concat(from_pool(by_hand, pd.Series([10, 20]), [delta]), ignore_index=True)
    adaptive = table[table["method"] == "adaptive best-of-N"]
    assert adaptive["stopped"].tolist() == [stops, stops] and table["stopped"].notna().sum() == 2
    table = table.assign(certified=pd.NA)
    summary = counted(summarize(table), table).set_index("method")
    assert summary.loc["adaptive best-of-N", "n_stopped"] == 2 * stops and summary["n_stopped"].notna().sum() == 1
    assert summary["n_certified"].isna().all()


def test_a_prompt_without_a_gold_answer_has_no_accuracy(table):
    second = table.xs(1, level="prompt_id")
    assert (
        second["accuracy"].isna().all()
        and second.drop("majority vote", level=0, errors="ignore")["log_likelihood"].notna().all()
    )
    assert (
        second.loc[("greedy", ""), "forward_tokens"] == 21 and second.loc[("sampling", "1"), "forward_tokens"] == 22.5
    )
    summary = summarize(table.reset_index()).set_index(["method", "setting"])
    assert summary.loc[("sampling", "1"), "accuracy"] == 0.5


def test_methods_are_compared_with_greedy_decoding_prompt_by_prompt():
    """Of 24 prompts greedy is right on twelve; the others on three more, on the same, and on three fewer of the first six."""
    right = np.arange(24) < 12
    others = {"better": np.arange(24) < 15, "same": right, "few": right[:6] & (np.arange(6) > 2), "unknown": None}
    rows = [("greedy", "", x, float(right[x])) for x in range(24)]
    rows += [(name, "1", x, np.nan) for name, found in others.items() if found is None for x in range(24)]
    rows += [
        (name, "1", x, float(value))
        for name, found in others.items()
        if found is not None
        for x, value in enumerate(found)
    ]
    table = pd.DataFrame(rows, columns=["method", "setting", "prompt_id", "accuracy"])
    table = table.assign(forward_tokens=1.0, log_likelihood=-1.0 - table["accuracy"]).sample(frac=1, random_state=0)
    summary = summarize(table).set_index("method")
    over = summary[["accuracy_over_greedy", "accuracy_over_greedy_low", "accuracy_over_greedy_high"]]
    # Three comparisons: of "unknown" there is none.
    options = dict(confidence=1 - 0.05 / 3)
    order = table[table["method"] == "better"]["prompt_id"].to_numpy()
    expected = mean_over_prompts((others["better"] * 1.0 - right)[order], ends=(-1.0, 1.0), **options)
    assert over.loc["better"].tolist() == pytest.approx([3 / 24, float(expected.low), float(expected.high)], abs=0.02)
    assert over.loc["same"].tolist() == [0, 0, 0] and over.loc["few", "accuracy_over_greedy"] == -3 / 6
    assert over.loc[["greedy", "unknown"]].isna().all(axis=None)
    assert summary.loc["better", "log_likelihood_over_greedy"] == pytest.approx(-3 / 24)
    assert summary.loc["better", "accuracy_high"] > summary.loc["greedy", "accuracy"], "side by side they overlap"
    without = summarize(table[table["method"] != "greedy"])
    assert without.filter(like="over_greedy").isna().all(axis=None)


def test_prompts_on_which_selection_matters_are_counted():
    table = pd.DataFrame({
        "method": ["sampling"] * 4 + ["greedy"], "setting": ["1", "1", "1", "2", ""],
        "accuracy": [0.5, 1.0, 1e-12, 0.5, 0.5],
    })  # fmt: skip
    assert n_mixed(table) == 1


def test_decoders_on_a_model_whose_responses_can_be_listed(tmp_path):
    """Wide beams and the search find the argmax, many particles the power law; the first prompt has no gold answer."""
    oracle, task = tiny_oracle(tiny()), tiny_task(["a", "b", "c", "ab"], [None, "b", "c", "a"])
    seen = []
    table = compare_task(
        oracle, task, tmp_path, n=8, beams=(40,), alphas=(3.0,), particles=(2_000,), steps=(200,), deltas=(0.5,),
        progress=lambda *given: seen.append(given),
    )  # fmt: skip
    assert {stage for stage, *_ in seen} == {"sampling", "decoding"} and seen[-1] == ("decoding", 4, 4)
    at = lambda method: table[table["method"] == method].set_index("prompt_id")  # noqa: E731
    exact = np.stack([log_law(oracle.model, ids) for ids in oracle.encode(task.prompts)])
    ended = [y[-1] == 1 for y in RESPONSES]
    np.testing.assert_allclose(at("argmax search")["log_likelihood"], exact[:, ended].max(axis=1), atol=1e-4)
    np.testing.assert_allclose(at("beam search")["log_likelihood"], exact.max(axis=1), atol=1e-4)  # cut off or not
    # Where a response without its end is likelier than all that have one, the search cannot tell.
    proved = exact[:, ended].max(axis=1) >= exact[:, ~np.array(ended)].max(axis=1)
    assert at("argmax search")["certified"].tolist() == proved.tolist() and n_certified(table) == proved.sum() > 0
    assert table.loc[table["method"] != "argmax search", "certified"].isna().all()
    best = np.array(RESPONSES, dtype=object)[ended][exact[:, ended].argmax(axis=1)]
    right = [np.nan, *(float("a.bc"[y[0]] == gold) for y, gold in zip(best[1:], task.answers[1:]))]
    np.testing.assert_array_equal(at("argmax search")["accuracy"], right)
    assert (table.groupby(["method", "setting"])["accuracy"].apply(lambda values: values.isna().sum()) == 1).all()
    power = np.exp(3 * exact) / np.exp(3 * exact).sum(axis=1, keepdims=True)
    smc = table[table["method"] == "power α = 3, SMC"]
    error = np.sqrt((power * exact**2).sum(axis=1) - (power * exact).sum(axis=1) ** 2).mean() / np.sqrt(4 * 8)
    assert abs(smc["log_likelihood"].mean() - (power * exact).sum(axis=1).mean()) < 4.5 * error
