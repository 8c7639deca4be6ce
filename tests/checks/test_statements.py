"""Each statement on one instance worked out by hand: the quantity and the bound are what the statement says."""

import itertools

import numpy as np
import pytest

from sharptheory.checks import REGISTRY, Instance
from sharptheory.theory import bounds

P, OTHER = np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.2, 0.5])
GAMMA, DELTA, BETA, N, RHO = 0.4, 0.4, 2.0, 3.0, 0.1
#: The verifier accepts the second response.
REWARDS = np.array([0.0, 2.0, 0.0])
WORLD = Instance(
    np.log(P)[None],
    np.log(OTHER)[None],
    REWARDS[None],
    np.zeros(1),
    np.array([
        (GAMMA + 0.35) / 1.3, -np.log(DELTA) / 12, 0.5 + np.log(BETA) / 12, np.sqrt(np.log(N) / 28), -np.log(RHO) / 12,
    ]),
)  # fmt: skip
KAPPA = (1 - 1 / np.sqrt(2)) ** 2
MU_STOP = np.log(2 / DELTA)
MARGIN = 0.5 / 0.3 - 1


def hellinger(p, q) -> float:
    return float(((np.sqrt(p) - np.sqrt(q)) ** 2).sum())


def tilted(beta: float) -> np.ndarray:
    weights = P ** (1 + 1 / beta)
    return weights / weights.sum()


def curated() -> np.ndarray:
    """Three candidates, each kept in proportion to e^r: all 27 ways."""
    w, kept = np.exp(REWARDS), np.zeros(3)
    for three in itertools.product(range(3), repeat=3):
        for y in three:
            kept[y] += np.prod(P[list(three)]) * w[y] / w[list(three)].sum()
    return kept


def worst_of_two() -> float:
    """The chance that maximum likelihood on two samples errs by more than Lemma F.1 allows, over all nine samples."""
    soft = lambda logits: np.exp(logits) / np.exp(logits).sum()  # noqa: E731
    members = [P, soft(np.log(P) + np.log(OTHER)), soft(np.log(P) + REWARDS), P[::-1]]
    chance = 0.0
    for two in itertools.product(range(3), repeat=2):
        likelihoods = np.array([np.prod(member[list(two)]) for member in members])
        best = np.flatnonzero(likelihoods >= likelihoods.max() * (1 - 1e-12))
        if max(hellinger(members[i], P) for i in best) > 2 * np.log(4 / RHO) / 2:
            chance += np.prod(P[list(two)])
    return chance


#: Best of three by the verifier: the second response unless none is.
BEST_OF_3 = np.array([0.343 * 5 / 7, 1 - 0.343, 0.343 * 2 / 7])
#: Best of ⌈3 ln 5⌉ = 5 by likelihood.
BEST_OF_5 = np.array([1 - 0.5**5, 0.5**5 - 0.2**5, 0.2**5])
#: The rule (10) at μ = ln 5: .5 stops it from the 4th sample on, .3 from the 6th, .2 from the 9th.
ADAPTIVE = np.array(
    [1 - 0.5**6 + 0.2**6 * 0.5 * 1.24, 0.5**6 - 0.2**6 + 0.2**6 * 0.3 * 1.24, 0.2**9]
)  # fmt: skip
EXPECTED_N = 4 + 0.5**4 + 0.5**5 + 0.2**6 + 0.2**7 + 0.2**8
W = np.exp(REWARDS)
SHARP = MARGIN / (2 * np.log(2 * 3 / DELTA))
EXACT = 1 / (np.log(2 * 3 / DELTA) / np.log(1 + MARGIN) - 1)
#: π̂ of [S2]: π_β with all its mass moved to the second response.
MOVED = tilted(SHARP) * np.exp(20 * REWARDS) / (tilted(SHARP) * np.exp(20 * REWARDS)).sum()


def value(law) -> float:
    return float((law * np.log(P)).sum() - BETA * (law * np.log(law / P)).sum())


BY_HAND = {
    "best_of_n_needed": (0.2 ** (np.log(10) / 0.8), RHO),
    "best_of_n_density_ratio": (BEST_OF_3 / P, 3),
    "best_of_n_kl": ((BEST_OF_3 * np.log(BEST_OF_3 / P)).sum(), np.log(3) - 2 / 3),
    "best_of_n_concentrability": ((BEST_OF_3**2 / P).sum(), 9 / 5),
    "curation_improves": (P @ W + 2 / 3 * (P @ (W - P @ W) ** 2) / W.max(), curated() @ W),
    "hellinger_price": (KAPPA * DELTA, hellinger(OTHER, tilted(BETA))),
    "sft_bad_prompts": (1, hellinger(OTHER, BEST_OF_5) / (KAPPA * DELTA) + 1 / 0.8 / 3),
    "adaptive_bad_prompts": (1, hellinger(OTHER, ADAPTIVE) / (KAPPA * DELTA)),
    "adaptive_stopping": (EXPECTED_N, (MU_STOP + 1) / 0.5),
    "adaptive_miss": (1 - ADAPTIVE[0], np.exp(-MU_STOP)),
    "adaptive_queries": (EXPECTED_N, (1 + MU_STOP) / 0.5),
    "mle_hellinger": (worst_of_two(), RHO),
    "tilted_is_sharp": (1 - tilted(SHARP)[0], DELTA / 2),
    "tilted_is_sharp_exact": (1 - tilted(EXACT)[0], DELTA / 2),
    "tilted_concentrability": ((tilted(BETA) ** 2 / P).sum(), 1 / 0.5),
    "tilted_loss_coverage": (P @ (P / tilted(BETA)) ** BETA, 3),
    "tilted_concentrability_gamma": ((tilted(BETA) ** 2 / P).sum(), 0.6 ** (-1 / BETA) / 0.8),
    "tilted_is_optimal": (value(OTHER) - value(tilted(BETA)), 1e-9 * (1 + abs(value(tilted(BETA))))),
    "reward_gap": (np.log1p(MARGIN) * 0.7, OTHER @ (np.log(0.5) - np.log(P))),
    "dpo_bad_prompts": (
        1,
        4 * (MOVED**2 / P).sum() * 0.42 / DELTA**2 + min(0.42 / 0.5, 2 * np.sqrt(0.42 / 0.5)),
    ),
    "coverage_counts_one": (2, 2),
    "coverage_moments": (np.array([1.25, 1.25]), np.array([1.25, 1.25])),
    "coverage_certificate": (np.array([[0.3], [0.5]]), np.array([[0.5], [0.7]])),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_statement_says_what_it_says(name):
    for found, expected in zip(REGISTRY[name].evaluate(WORLD), BY_HAND[name]):
        np.testing.assert_allclose(np.squeeze(found), np.squeeze(expected), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", [name for name, check in REGISTRY.items() if check.identity])
def test_an_identity_holds_to_its_tolerance(name):
    difference, tolerance = REGISTRY[name].evaluate(WORLD) or (0.0, 1.0)
    assert np.all(difference <= tolerance) and tolerance <= 1


def changed(**parts) -> Instance:
    return Instance(
        *(parts.get(name, getattr(WORLD, name)) for name in ("logits", "other", "rewards", "mu_logits", "knobs"))
    )


def test_two_prompts_are_weighted_by_their_probabilities():
    """The same prompt and a solved one, at weights 1/4 and 3/4."""
    two = changed(
        logits=np.log([P, [0.9, 0.06, 0.04]]),
        other=np.log([OTHER, [0.9, 0.06, 0.04]]),
        rewards=np.stack([REWARDS, REWARDS]),
        mu_logits=np.log([0.25, 0.75]),
    )
    bad, bound = REGISTRY["sft_bad_prompts"].evaluate(two)
    solved = np.array([1 - 0.1**5, 0.1**5 - 0.04**5, 0.04**5])
    distance = 0.25 * hellinger(OTHER, BEST_OF_5) + 0.75 * hellinger(np.array([0.9, 0.06, 0.04]), solved)
    assert bad == pytest.approx(0.25) and bound == pytest.approx(
        distance / (KAPPA * DELTA) + (0.25 / 0.8 + 0.75 / 0.9) / 3
    )
    _, bound = REGISTRY["adaptive_queries"].evaluate(two)
    assert bound == pytest.approx((1 + MU_STOP) * (0.25 / 0.5 + 0.75 / 0.9))
    gap, _ = REGISTRY["reward_gap"].evaluate(two)
    assert gap == pytest.approx(np.log1p(MARGIN) * (0.25 * 0.7 + 0.75 * 0.1))
    _, coverage = REGISTRY["tilted_concentrability"].evaluate(two)
    assert coverage == pytest.approx(0.25 / 0.5 + 0.75 / 0.9)


def test_statements_without_their_premise_say_nothing():
    uniform = changed(logits=np.zeros((1, 3)), other=np.zeros((1, 3)))
    for name in ("tilted_is_sharp", "tilted_is_sharp_exact", "dpo_bad_prompts", "reward_gap"):
        assert REGISTRY[name].evaluate(uniform) is None, name
    solved = changed(other=np.log([[0.9, 0.06, 0.04]]))
    assert REGISTRY["hellinger_price"].evaluate(solved) is None
    one = changed(logits=np.zeros((1, 1)), other=np.zeros((1, 1)), rewards=np.zeros((1, 1)))
    assert REGISTRY["mle_hellinger"].evaluate(one) is None
    sharp = changed(logits=np.array([[0.0, -50.0]]), other=np.zeros((1, 2)), rewards=np.zeros((1, 2)))
    assert REGISTRY["tilted_is_sharp_exact"].evaluate(sharp) is None  # every β will do


def test_families_of_the_checks_cover_their_ranges():
    """M from 3 to 19, Δ from .05 to 1, d from 1 to 4, n up to 59 and N up to 39: the ends are met."""
    from sharptheory.checks.families import _family

    rng = np.random.default_rng(0)
    drawn = [_family(changed(knobs=rng.random(5))) for _ in range(600)]
    for values, low, high in (
        ([family.m for family, *_ in drawn], 3, 19),
        ([family.d for family, *_ in drawn], 1, 4),
        ([n for _, n, _ in drawn], 1, 59),
        ([n_responses for *_, n_responses in drawn], 1, 39),
    ):
        assert (min(values), max(values)) == (low, high)
    masses = [family.mass for family, *_ in drawn]
    assert 0.05 <= min(masses) < 0.06 and 0.99 < max(masses) <= 1
    # The knobs decide, and all of them.
    for knob in range(5):
        moved = WORLD.knobs.copy()
        moved[knob] += 0.01
        assert _family(changed(knobs=moved)) != _family(WORLD)
    assert _family(WORLD) == _family(WORLD)


def test_statements_about_the_family_are_its_exact_risks():
    from sharptheory.checks.families import _family

    family, n, n_responses = _family(WORLD)
    below, above = REGISTRY["minimax_below_sft"].evaluate(WORLD)
    assert (below, above) == (family.minimax_risk(n, n_responses), family.sft_risk(n, n_responses))
    risk, bound = REGISTRY["sft_below_bound"].evaluate(WORLD)
    assert risk == family.sft_risk(50 * n, n_responses)  # N = ⌈N* ln 4⌉
    n_star = n_responses / np.log(4)
    given = dict(delta=0.5, rho=0.05, coverage=family.coverage, log_class=family.log_class)
    assert bound == pytest.approx(bounds.sft_bad_prompts(50 * n, n_star, **given) + 0.05)


def test_max_cuts_and_trees_of_the_checks():
    from sharptheory.checks.families import token_tree
    from sharptheory.theory.policies import TabularPolicy

    sizes = set()
    rng = np.random.default_rng(0)
    for _ in range(40):
        largest, decoded = REGISTRY["max_cut"].evaluate(changed(knobs=rng.random(5)))
        assert largest == decoded
        sizes.add(largest)
    assert sizes == {1, 2, 3, 4}
    policy = TabularPolicy.from_probs([[0.1, 0.2, 0.3, 0.25, 0.15], [0.5, 0.5, 0, 0, 0]], mu=[0.2, 0.8])
    tree = token_tree(policy)
    masses = dict(zip(tree.responses, tree.table().probs.T))
    for i in range(8):
        bits = tuple(int(bit) for bit in f"{i:03b}")
        np.testing.assert_allclose(masses[bits], policy.probs[:, i] if i < 5 else 0, atol=1e-15)
    np.testing.assert_array_equal(tree.mu, policy.mu)
    assert token_tree(TabularPolicy([[0.0]])).responses == [(), (0,), (1,)]
    # Nothing is certain at .3 and .5; at .9 greedy decoding must be right.
    assert REGISTRY["greedy_succeeds"].evaluate(changed(logits=np.log([[0.3, 0.3, 0.4]]))) is None
    wrong, bound = REGISTRY["greedy_succeeds"].evaluate(changed(logits=np.log([[0.05, 0.9, 0.05]])))
    assert wrong.tolist() == [0] and bound == 0


def test_the_misspecified_class_is_attacked_by_the_instance():
    found, bound = REGISTRY["misspecified"].evaluate(changed(other=np.array([[9.0, -9.0, 9.0, -9.0]])))
    # θ_1 = θ_2 = (9, -9): token 1 and 2 of the first are tied, and (2, 1) takes all of its half.
    assert bound == 0.5 and found == pytest.approx(0.5, abs=1e-6)
    found, _ = REGISTRY["misspecified"].evaluate(changed(other=np.full((1, 3), -np.inf)))
    assert found == pytest.approx(1 / 25)


def test_sampled_pairs_of_a_linear_policy():
    """With atoms in half of the instances: differences of 0, e_1, …, e_d; at most 4d pairs, at least one."""
    from sharptheory.checks.rlhf import _sampled_differences

    rng = np.random.default_rng(0)
    atoms, counts, dimensions = [], [], set()
    for _ in range(300):
        instance = changed(knobs=rng.random(5))
        differences, theta, beta = _sampled_differences(instance)
        d = len(theta)
        dimensions.add(d)
        assert differences.shape[1] == d and 1 <= len(differences) <= 4 * d
        assert beta == max(instance.beta, 0.05)
        atoms.append(np.isin(differences, [-1.0, 0.0, 1.0]).all())
        counts.append(len(differences) / d)
        assert atoms[-1] == (instance.knobs[2] < 0.5) or not differences.any()
        again = _sampled_differences(instance)
        np.testing.assert_array_equal(again[0], differences)
    assert dimensions == {1, 2, 3} and 0.4 < np.mean(atoms) < 0.6 and max(counts) == 4
    assert 1.5 < np.mean(counts) < 2.7


def test_too_few_pairs_leave_the_parameter_undetermined():
    met = []
    rng = np.random.default_rng(1)
    for _ in range(100):
        instance = changed(knobs=rng.random(5))
        needed, given = REGISTRY["linear_pairs"].evaluate(instance)
        recovered = REGISTRY["linear_recovery_from_samples"].evaluate(instance)
        met.append((needed > 0, recovered is not None))
        assert needed <= given
        if recovered is not None:
            assert needed > 0 and np.all(recovered[0] <= recovered[1])
    assert {(True, True), (False, False)} <= set(met)
