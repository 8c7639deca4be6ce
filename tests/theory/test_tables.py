"""The data frames of `sharptheory curves` and `sharptheory law` hold what their columns say, number by number."""

import numpy as np
import pytest

from sharptheory.errors import UserError
from sharptheory.theory import bounds, families, laws, tables
from sharptheory.theory.coverage import concentrability
from sharptheory.theory.divergences import kl

BASE = np.log([0.5, 0.3, 0.2])


def test_sample_complexity_holds_every_curve_at_every_point():
    seen = []
    table = tables.sample_complexity(
        [0.1, 0.3], [3.0, 5.0], [1, 2], delta=0.25, points=3, progress=lambda: seen.append(1)
    )
    assert list(table.columns) == ["curve", "kind", "eps", "coverage", "dim", "delta", "queries"]
    assert len(table) == 2 * 2 * 2 * 7 and len(seen) == 8 and (table["delta"] == 0.25).all()
    assert dict(zip(table["curve"], table["kind"])) == tables.CURVES
    at = table.set_index(["coverage", "dim", "eps", "curve"])["queries"]
    for c, d, e in ((3.0, 1, 0.1), (5.0, 2, 0.3)):
        # The largest class has the most responses, at the smallest prompt mass 1.1 e; the guarantee is taken at e/2.
        log_class = d * np.log(2 + 2 * (c - 1) / (1.1 * e))
        pac = dict(eps=e / 2, delta=0.25, rho=e / 2, log_class=log_class)
        expected = {
            "minimax, non-adaptive": families.minimax_lower_bound(e, c, d, points=3),
            "SFT-Sharpening": families.sft_on_hardest(e, c, d, points=3),
            "adaptive SFT-Sharpening": families.adaptive_on_hardest(e, c, d, points=3),
            "SFT-Sharpening, Theorem 4.1′": bounds.sft_cost(coverage=c, **pac).queries,
            "adaptive SFT, Theorem D.1": bounds.adaptive_cost(c_cov_bar=c, **pac).queries,
            "lower bound, Theorem 3.1": bounds.lower_bound_rate(c, log_class, e),
            "lower bound, Theorem D.2": bounds.adaptive_lower_bound_rate(c, log_class, e),
        }
        assert at[c, d, e].to_dict() == pytest.approx(expected)


def test_curves_are_ordered_as_the_theory_says():
    """Nobody beats the minimax curve without adaptivity; the bounds lie above the exact curves that they bound."""
    at = tables.sample_complexity([0.1], [4.0], [2]).set_index("curve")["queries"]
    assert at["minimax, non-adaptive"] <= at["SFT-Sharpening"] <= at["SFT-Sharpening, Theorem 4.1′"]
    assert at["adaptive SFT-Sharpening"] <= at["adaptive SFT, Theorem D.1"]
    assert at["adaptive SFT-Sharpening"] < at["SFT-Sharpening"]


def test_sample_complexity_needs_no_progress():
    assert len(tables.sample_complexity([0.3], [3.0], [1], points=1)) == 7


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        (([0.0], [3.0], [1]), {}, "eps=0.0"),
        (([1.0], [3.0], [1]), {}, "eps=1.0"),
        (([0.1], [1.0], [1]), {}, "coverage=1.0"),
        (([0.1], [np.inf], [1]), {}, "coverage=inf"),
        (([0.1], [3.0], [0]), {}, "dim=0"),
        (([0.1], [3.0], [1]), {"delta": 0.6}, r"delta=0.6; expected a number in \(0, 0.5\]"),
        (([0.1], [3.0], [1]), {"delta": 0.0}, "delta=0.0"),
    ],
)
def test_impossible_grids_are_named(grid, options, message):
    with pytest.raises(UserError, match=message):
        tables.sample_complexity(*grid, **options)


def test_law_table_describes_each_law():
    table = tables.law_table(BASE, n=[1, 4], beta=[0.5], alpha=[2.0, 3.0], delta=[0.1], gamma=0.4)
    stopping = laws.adaptive_best_of_n(BASE, np.log(20))
    expected = [
        ("base", np.nan, BASE, 1.0),
        ("best-of-N", 1, BASE, 1),
        ("best-of-N", 4, laws.best_of_n(BASE, 4), 4),
        ("tilted", 0.5, laws.power(BASE, 3.0), np.nan),
        ("power", 2.0, laws.power(BASE, 2.0), np.nan),
        ("power", 3.0, laws.power(BASE, 3.0), np.nan),
        ("adaptive best-of-N", 0.1, stopping.law, float(stopping.expected_n)),
        ("argmax", 0.4, np.log([0.625, 0.375, 1e-300]), np.nan),
    ]
    assert list(table.columns) == [
        "law",
        "parameter",
        "argmax_mass",
        "kl",
        "concentrability",
        "expected_n",
        "p0",
        "p1",
        "p2",
    ]
    assert len(table) == len(expected)
    for row, (name, parameter, law, samples) in zip(table.to_dict("records"), expected):
        assert row["law"] == name
        np.testing.assert_equal([row["parameter"], row["expected_n"]], [parameter, samples])
        np.testing.assert_allclose([row["p0"], row["p1"], row["p2"]], np.exp(law), atol=1e-12)
        assert row["argmax_mass"] == pytest.approx(np.exp(law)[:2].sum())  # at γ = .4 the first two count
        assert row["kl"] == pytest.approx(float(kl(law, BASE)), abs=1e-12)
        assert row["concentrability"] == pytest.approx(concentrability(law, BASE))
    assert tables.law_table(BASE)["law"].tolist() == ["base", "argmax"]
    assert tables.law_table(BASE).loc[1, ["p0", "p1", "parameter"]].tolist() == [1, 0, 0]


def test_law_table_takes_one_row():
    for table in (BASE[None], 0.0, "a"):
        with pytest.raises(UserError, match="log_probs"):
            tables.law_table(table)


def test_sharpening_cost_asks_each_theorem():
    pac = dict(eps=0.2, delta=0.3, rho=0.5, log_class=2.0)
    sft, adaptive, dpo = tables.sharpening_cost(3.0, largest_inverse=5.0, tokens_per_response=7.0, **pac)
    costs = [
        bounds.sft_cost(coverage=3.0, **pac),
        bounds.adaptive_cost(c_cov_bar=3.0, **pac),
        bounds.dpo_cost(c_max=5.0, min_max_prob=0.2, c_cov_bar=3.0, **pac),
    ]
    for row, method, source, cost in zip(
        (sft, adaptive, dpo),
        ("SFT-Sharpening", "adaptive SFT-Sharpening", "RLHF-Sharpening"),
        ("Theorem 4.1′", "Theorem D.1", "[S2], proved in docs/theory.md"),
        costs,
    ):
        assert row == dict(
            method=method, source=source, prompts=cost.n_prompts, responses=cost.n_responses,
            queries=cost.queries, tokens=7 * cost.queries,
        )  # fmt: skip


def test_sharpening_cost_is_per_unit_of_log_class_and_without_tokens_by_default():
    rows = tables.sharpening_cost(3.0, largest_inverse=5.0)
    assert rows == [
        {**row, "tokens": None}
        for row in tables.sharpening_cost(
            3.0, largest_inverse=5.0, tokens_per_response=1.0, eps=0.1, delta=0.1, log_class=1.0, rho=1.0
        )
    ]


@pytest.mark.parametrize(("coverage", "largest"), [(np.inf, np.inf), (3.0, np.inf), (np.inf, 5.0)])
def test_a_prompt_without_an_argmax_costs_infinitely_much(coverage, largest):
    sft, _, dpo = tables.sharpening_cost(coverage, largest_inverse=largest)
    assert dpo["queries"] == np.inf and dpo["responses"] == 2
    assert (sft["queries"] == np.inf) == (coverage == np.inf)


def test_impossible_costs_are_named():
    for given, message in (
        (dict(largest_inverse=0.0), "largest_inverse=0.0"),
        (dict(largest_inverse=2.0, tokens_per_response=-1), "tokens_per_response=-1"),
    ):
        with pytest.raises(UserError, match=message):
            tables.sharpening_cost(3.0, **given)
