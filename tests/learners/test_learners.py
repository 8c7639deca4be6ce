import itertools
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax

from sharptheory import learners
from sharptheory.errors import UserError
from sharptheory.learners import FiniteClass, LinearClass, Simplex
from sharptheory.oracle import CountingOracle, TableOracle
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import argmax_summary, coverage_coefficient, margin, missing_mass
from sharptheory.theory.families import packing_policy
from sharptheory.theory.policies import TabularPolicy


class BlindOracle:
    """Passes queries on and raises on any other access, so that no learner can peek at the table."""

    def __init__(self, policy):
        object.__setattr__(self, "_inner", TableOracle(policy))

    def __getattribute__(self, name):
        if name not in ("sample", "evaluate"):
            raise AssertionError(f"a learner looked at oracle.{name}")
        return getattr(object.__getattribute__(self, "_inner"), name)


@pytest.fixture
def policy():
    return TabularPolicy.from_probs([[0.4, 0.35, 0.25], [0.2, 0.5, 0.3]])


def test_table_oracle_samples_its_law_and_counts_queries(policy):
    oracle = CountingOracle(TableOracle(policy))
    [sampled] = oracle.sample([1], 20_000, seed=0)
    counts = np.bincount([r.tokens[0] for r in sampled], minlength=3)
    assert stats.chisquare(counts, 20_000 * policy.probs[1]).pvalue > 1e-6
    assert sampled[0].log_likelihood == policy.log_probs[1, sampled[0].tokens[0]]
    np.testing.assert_allclose(oracle.evaluate([0, 1], [[(2,)], [(0,), (1,)]])[1], np.log([0.2, 0.5]))
    assert (oracle.sampled, oracle.evaluated, oracle.queries) == (20_000, 3, 20_003)
    assert TableOracle(policy).sample([0], 5, seed=1) == TableOracle(policy).sample([0], 5, seed=1)
    assert TableOracle(policy).sample([0], 9, seed=1) != TableOracle(policy).sample([0], 9, seed=2)


def test_learners_touch_the_base_policy_through_the_oracle_only(policy):
    oracle, prompts = BlindOracle(policy), np.array([0, 1] * 20)
    members = FiniteClass(np.stack([policy.log_probs, laws.tilted(policy.log_probs, 0.1)]))
    for learned, queries in (
        (learners.sft_sharpening(oracle, Simplex((2, 3)), prompts, 5), 200),
        (learners.rlhf_sharpening(oracle, members, prompts, 0.1), 80),
        (learners.xpo_sharpening(oracle, members, prompts, 0.1, optimism=0.0, held_out=10), None),
        (learners.adaptive_sharpening(oracle, Simplex((2, 3)), prompts, 2.0), None),
    ):
        assert learned.log_probs.shape == (2, 3) and learned.n_prompts == 40
        assert queries is None or learned.queries == queries


def test_best_of_n_of_the_learner_follows_the_exact_law(policy):
    """Empirical law of the chosen responses at 20,000 prompts: chi-squared at level 1e-6."""
    prompts = np.zeros(20_000, dtype=int)
    learned = learners.sft_sharpening(TableOracle(policy), Simplex((2, 3)), prompts, 3, seed=1)
    law = np.exp(laws.best_of_n(policy.log_probs[0], 3))
    assert stats.chisquare(np.exp(learned.log_probs[0]) * 20_000, 20_000 * law).pvalue > 1e-6
    np.testing.assert_allclose(np.exp(learned.log_probs[1]), 1 / 3)  # a prompt never seen


def test_adaptive_learner_follows_s1(policy):
    threshold = laws.stopping_threshold(0.1)
    prompts = np.ones(8_000, dtype=int)
    learned = learners.adaptive_sharpening(TableOracle(policy), Simplex((2, 3)), prompts, threshold, seed=2)
    exact = laws.adaptive_best_of_n(policy.log_probs[1], threshold)
    assert learned.queries == round(learned.n_responses * 8_000)
    assert learned.n_responses == pytest.approx(float(exact.expected_n), rel=0.05)
    assert np.exp(learned.log_probs[1]) == pytest.approx(np.exp(exact.law), abs=0.01)
    with pytest.raises(ValueError, match="max_samples=10: the rule has not stopped"):
        learners.adaptive_sharpening(TableOracle(policy), Simplex((2, 3)), prompts[:1], 1e3, max_samples=10)


def realizable(rng) -> tuple[TabularPolicy, float, float]:
    """A random base policy with a margin, δ, and a β at which its tilted law is sharp."""
    policy = TabularPolicy.from_probs(rng.dirichlet(np.full(4, 0.6), size=3))
    delta = float(rng.uniform(0.2, 0.6))
    return policy, delta, bounds.tilt_for_sharpness(margin(policy), 4, delta)


def test_failure_stays_below_the_bounds_on_random_finite_classes():
    """100 realizable classes: SFT (Theorem 4.1′), adaptive SFT (D.1) and RLHF-Sharpening ([S2]).

    Each bound may fail with probability ρ = 0.1, independently: at most the 1 - 1e-6 quantile of Bin(100, 0.1) do.
    """
    rng, rho, failures = np.random.default_rng(0), 0.1, np.zeros(3, dtype=int)
    for _ in range(100):
        policy, delta, beta = realizable(rng)
        n, n_responses = 400, 16
        n_star, threshold = n_responses / laws.stopping_threshold(delta), laws.stopping_threshold(delta)
        prompts = rng.integers(3, size=n)
        seed, oracle, base = int(rng.integers(1 << 30)), TableOracle(policy), policy.log_probs
        others = log_softmax(base + rng.normal(size=(14, 3, 4)), axis=2)
        summary = argmax_summary(policy)

        def bad(learned, policy=policy, delta=delta):
            return float((missing_mass(learned.log_probs, policy) >= delta) @ policy.mu)

        members = FiniteClass(np.concatenate([others, laws.best_of_n(base, n_responses)[None]]))
        learned = learners.sft_sharpening(oracle, members, prompts, n_responses, seed=seed)
        bound = bounds.sft_bad_prompts(
            n, n_star, delta=delta, rho=rho, coverage=coverage_coefficient(summary), log_class=members.log_size
        )
        failures[0] += bad(learned) > bound
        members = FiniteClass(np.concatenate([others, laws.adaptive_best_of_n(base, threshold).law[None]]))
        learned = learners.adaptive_sharpening(oracle, members, prompts[:100], threshold, seed=seed)
        failures[1] += bad(learned) > bounds.adaptive_bad_prompts(100, delta=delta, rho=rho, log_class=members.log_size)
        members = FiniteClass(np.concatenate([others, laws.tilted(base, beta)[None]]))
        learned = learners.rlhf_sharpening(oracle, members, prompts, beta, seed=seed)
        concentration = np.exp(2 * learned.log_probs - base).sum(axis=1).max()
        bound = bounds.dpo_bad_prompts(
            bounds.dpo_disagreement(n, members.log_size, rho),
            delta=delta,
            c_max=concentration,
            min_max_prob=float(np.exp(summary.log_max.min())),
            c_cov_bar=float(np.exp(-summary.log_max).mean()),
        )
        failures[2] += bad(learned) > bound
    assert np.all(failures <= stats.binom.ppf(1 - 1e-6, 100, rho)), failures


def test_dpo_regression_recovers_the_tilted_parameter_of_linear_softmax():
    """[S3]: d generic pairs give (1+1/β)θ* to 1e-8."""
    rng = np.random.default_rng(0)
    for d, beta in ((2, 1.0), (5, 0.2), (12, 0.05)):
        features, theta = rng.normal(size=(1, 60, d)), 0.2 * rng.normal(size=d)
        members = LinearClass(features)
        base = TabularPolicy(members.table(theta))
        while True:
            pairs = learners.sample_pairs(TableOracle(base), np.zeros(d, dtype=int), seed=int(rng.integers(1 << 30)))
            if np.linalg.matrix_rank(features[0, pairs.first] - features[0, pairs.second]) == d:
                break
        np.testing.assert_allclose(members.regress_theta(pairs, beta), (1 + 1 / beta) * theta, atol=1e-8)
    short = LinearClass(features, bound=1.0).regress_theta(pairs, beta)
    assert np.linalg.norm(short) == pytest.approx(1.0)


def test_separation_on_the_packing():
    """Example J.1 in miniature: 2d queries for RLHF-Sharpening on a policy whose coverage coefficient exceeds 600."""
    linear = packing_policy(6, 1_000, seed=1)
    base, beta = linear.table(), 0.01
    assert coverage_coefficient(base) > 300
    learned = learners.rlhf_sharpening(
        TableOracle(base), LinearClass(linear.features), np.zeros(8, dtype=int), beta, seed=3
    )
    assert learned.queries == 16 and np.exp(learned.log_probs.max()) > 0.9


def test_linear_maximum_likelihood_matches_its_moments_and_respects_the_ball():
    rng = np.random.default_rng(1)
    features, counts = rng.normal(size=(2, 5, 3)), rng.integers(1, 9, size=(2, 5)).astype(float)
    members = LinearClass(features)
    theta = members.fit_theta(counts)
    fitted = np.einsum("x,xy,xyd->d", counts.sum(axis=1), np.exp(members.table(theta)), features)
    np.testing.assert_allclose(fitted, np.einsum("xy,xyd->d", counts, features), atol=1e-4)
    inside = LinearClass(features, bound=0.5 * np.linalg.norm(theta)).fit_theta(counts)
    assert np.linalg.norm(inside) == pytest.approx(0.5 * np.linalg.norm(theta), rel=1e-5)
    separable = np.zeros((1, 3))
    separable[0, 0] = 5
    one = np.eye(3)[None]
    assert np.linalg.norm(LinearClass(one, bound=4.0).fit_theta(separable)) == pytest.approx(4.0, rel=1e-5)


def test_xpo_with_the_printed_sign_fails_where_the_corrected_one_succeeds():
    """The class holds π_β and policies that are further off; only the corrected objective finds π_β."""
    rng = np.random.default_rng(0)
    corrected = printed = 0
    for seed in range(20):
        policy, _, _ = realizable(rng)
        beta, base = 0.5, policy.log_probs
        target = laws.tilted(base, beta)
        members = FiniteClass(np.concatenate([log_softmax(base + rng.normal(size=(9, 3, 4)), axis=2), target[None]]))
        prompts = rng.integers(3, size=60)
        for sign in (False, True):
            learned = learners.xpo_sharpening(
                TableOracle(policy), members, prompts, beta, optimism=1e-3, seed=seed, held_out=300, printed_sign=sign
            )
            found = np.allclose(learned.log_probs, target)
            printed, corrected = (printed + found, corrected) if sign else (printed, corrected + found)
    assert corrected >= 18 and printed <= 10


def test_xpo_on_linear_softmax_finds_the_tilted_law():
    """With exploration the regression spans all directions; the ball must be finite."""
    rng = np.random.default_rng(4)
    features, theta, beta = rng.normal(size=(1, 12, 3)), 0.5 * rng.normal(size=3), 0.5
    base = TabularPolicy(LinearClass(features).table(theta))
    members = LinearClass(features, bound=10.0)
    learned = learners.xpo_sharpening(
        TableOracle(base), members, np.zeros(15, dtype=int), beta, optimism=1e-6, held_out=400, seed=1
    )
    target = members.table((1 + 1 / beta) * theta)
    assert np.abs(np.exp(learned.log_probs) - np.exp(target)).max() < 0.01
    assert learned.queries >= 30
    with pytest.raises(ValueError, match="bound=inf"):
        learners.xpo_sharpening(TableOracle(base), LinearClass(features), np.zeros(3, dtype=int), beta, optimism=0.1)


class Recording:
    """A class that answers as another one does, and keeps the pairs that it was shown."""

    def __init__(self, members):
        self.shape, self._members, self.shown = members.shape, members, []

    def optimistic(self, pairs, *arguments):
        self.shown.append(pairs)
        return self._members.optimistic(pairs, *arguments)


def test_xpo_regresses_on_every_round_so_far(policy):
    """Round t sees t pairs, those of the rounds before among them; at the prompts given, one per round."""
    members = Recording(FiniteClass(np.stack([policy.log_probs, laws.tilted(policy.log_probs, 0.5)])))
    prompts = np.array([0, 1, 1, 0, 1])
    learners.xpo_sharpening(TableOracle(policy), members, prompts, 0.5, optimism=0.1, held_out=5)
    assert [len(pairs.prompts) for pairs in members.shown] == [1, 2, 3, 4, 5]
    last = members.shown[-1]
    np.testing.assert_array_equal(last.prompts, prompts)
    for t, pairs in enumerate(members.shown, start=1):
        for column in ("first", "second", "log_first", "log_second"):
            np.testing.assert_array_equal(getattr(pairs, column), getattr(last, column)[:t])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_xpo_starts_at_the_base(order):
    """A member with its mass where the base has none is nowhere to start: its samples have log-likelihood -inf."""
    base = TabularPolicy.from_probs([[0.6, 0.4, 0.0]])
    wrong, target = np.log([[0.01, 0.01, 0.98]]), laws.tilted(base.log_probs, 0.5)
    members = Recording(FiniteClass(np.stack([(wrong, target)[i] for i in order])))
    for seed in range(10):
        for optimism in (0.0, 0.1):
            members.shown.clear()
            learned = learners.xpo_sharpening(
                TableOracle(base), members, np.zeros(8, dtype=int), 0.5, optimism=optimism, seed=seed
            )
            np.testing.assert_array_equal(learned.log_probs, target)
            assert members.shown[0].first[0] < 2


def test_the_first_round_of_xpo_samples_the_base():
    """The first response of 4,000 first rounds follows the base policy, not a member: chi-squared at level 1e-6."""
    base = TabularPolicy.from_probs([[0.5, 0.3, 0.2]])
    members = Recording(FiniteClass(np.log([[[0.05, 0.05, 0.9]]])))
    for seed in range(4_000):
        learners.xpo_sharpening(
            TableOracle(base), members, np.zeros(1, dtype=int), 0.5, optimism=0.0, held_out=1, seed=seed
        )
    for column in ("first", "second"):
        counts = np.bincount([getattr(pairs, column)[0] for pairs in members.shown], minlength=3)
        assert stats.chisquare(counts, 4_000 * base.probs[0]).pvalue > 1e-6


def test_many_responses_are_sampled_in_chunks(policy, monkeypatch):
    monkeypatch.setattr(learners.algorithms, "CHUNK", 40)
    learned = learners.sft_sharpening(TableOracle(policy), Simplex((2, 3)), np.array([0, 1] * 50), 16)
    assert learned.queries == 1_600 and np.exp(learned.log_probs).max(axis=1).min() > 0.8


def test_unrealizable_and_duplicate_classes(policy):
    members = FiniteClass(np.stack([policy.log_probs] * 3))
    with pytest.warns(UserWarning, match="unrealizable: the best of 3 members has loss"):
        learned = learners.rlhf_sharpening(TableOracle(policy), members, np.array([0, 1] * 9), 0.5)
    np.testing.assert_array_equal(learned.log_probs, policy.log_probs)
    assert members.log_size == pytest.approx(np.log(3))


def test_tiny_beta_stays_exact(policy):
    """At β = 1e-6 the tilted law underflows; the regression in log space still finds it."""
    target = laws.tilted(policy.log_probs, 1e-6)
    members = FiniteClass(np.stack([policy.log_probs, target]))
    learned = learners.rlhf_sharpening(TableOracle(policy), members, np.array([0, 1] * 9), 1e-6, seed=1)
    np.testing.assert_array_equal(learned.log_probs, target)


XPO = learners.xpo_sharpening
AT_0 = np.array([0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o, s, f: learners.sft_sharpening(o, s, AT_0, 0), "n_responses=0; expected an integer"),
        (lambda o, s, f: learners.sft_sharpening(o, s, AT_0, 2.5), r"n_responses=2\.5"),
        (lambda o, s, f: learners.sft_sharpening(o, s, np.array([0, 2]), 3), "prompts: 2 is no row .* 0 to 1"),
        (lambda o, s, f: learners.sft_sharpening(o, s, np.array([-1]), 3), "prompts: -1 is no row"),
        (lambda o, s, f: learners.sft_sharpening(o, s, np.array([0.5]), 3), "prompts: float64"),
        (lambda o, s, f: learners.sft_sharpening(o, s, np.array([], dtype=int), 3), r"shape \(0,\)"),
        (
            lambda o, s, f: learners.sft_sharpening(o, Simplex((2, 1)), np.array([1]), 30),
            "sampled response 1; the class has 1",
        ),
        (lambda o, s, f: learners.adaptive_sharpening(o, s, AT_0, 0.0), r"threshold=0\.0"),
        (lambda o, s, f: learners.rlhf_sharpening(o, f, AT_0, 0.0), r"beta=0\.0"),
        (lambda o, s, f: learners.rlhf_sharpening(o, s, AT_0, 0.5), "Simplex has no regress"),
        (lambda o, s, f: XPO(o, f, AT_0, -1.0, optimism=0.0), r"beta=-1\.0"),
        (lambda o, s, f: XPO(o, f, AT_0, 1.0, optimism=-0.1), r"optimism=-0\.1"),
        (lambda o, s, f: XPO(o, f, AT_0, 1.0, optimism=0.0, held_out=0), "held_out=0"),
        (lambda o, s, f: o.sample([2], 3), "prompt=2; expected an integer from 0 to 1"),
        (lambda o, s, f: o.sample([0], 2.5), r"n=2\.5"),
        (lambda o, s, f: o.evaluate([0], [[(3,)]]), r"responses: \(3,\) at prompt 0; expected .* 0 to 2"),
        (lambda o, s, f: o.evaluate([0], [[(1, 2)]]), r"responses: \(1, 2\)"),
        (lambda o, s, f: o.evaluate([0], []), "1 prompts but 0 lists"),
    ],
)
def test_bad_arguments_are_named(policy, call, message):
    with pytest.raises(ValueError, match=message):
        call(TableOracle(policy), Simplex((2, 3)), FiniteClass(policy.log_probs[None]))


@pytest.mark.parametrize(("threshold", "max_samples"), [(3.0, 5), (0.5, 3), (2.0, 7), (1e300, 4)])
def test_max_samples_caps_the_queries(threshold, max_samples):
    """At (.5, .3, .2) the rule may stop after 6 samples or more: not beyond the cap, and not by sampling beyond it."""
    oracle = CountingOracle(TableOracle(TabularPolicy.from_probs([[0.5, 0.3, 0.2]])))
    for seed in range(20):
        before = oracle.sampled
        try:
            learned = learners.adaptive_sharpening(
                oracle, Simplex((1, 3)), np.zeros(1, int), threshold, seed=seed, max_samples=max_samples
            )
            assert learned.n_responses <= max_samples
        except UserError as error:
            assert f"max_samples={max_samples}" in str(error)
        assert oracle.sampled - before <= max_samples


@pytest.mark.parametrize(
    "learn",
    [
        lambda oracle, members, prompts, seed: learners.sft_sharpening(oracle, members, prompts, 2, seed=seed),
        lambda oracle, members, prompts, seed: learners.adaptive_sharpening(oracle, members, prompts, 1.0, seed=seed),
        lambda oracle, members, prompts, seed: learners.rlhf_sharpening(oracle, members, prompts, 1.0, seed=seed),
        lambda oracle, members, prompts, seed: learners.xpo_sharpening(
            oracle, members, prompts, 1.0, optimism=0.0, seed=seed
        ),
    ],
)
@pytest.mark.parametrize("seed", [-1, 0.5, None, "a"])
def test_a_seed_is_a_whole_number(policy, learn, seed):
    members = learners.FiniteClass(policy.log_probs[None])
    with pytest.raises(UserError, match=f"seed={seed!r}; expected an integer ≥ 0"):
        learn(TableOracle(policy), members, np.array([0, 1]), seed)


@pytest.mark.parametrize(
    ("response", "message"), [(0, "responses: 0 at"), (("a",), "responses: "), ((0.5,), "0.5"), ((0, 1), r"\(0, 1\)")]
)
def test_the_oracle_scores_columns_only(policy, response, message):
    with pytest.raises(UserError, match=message):
        TableOracle(policy).evaluate([0], [[response]])


@pytest.mark.parametrize("policy", ["text", None, np.log([[0.5, 0.5]]), type("Row", (), {"log_probs": [0.0, -1.0]})()])
def test_an_oracle_is_of_a_table(policy):
    with pytest.raises(UserError, match=r"expected a table of log-probabilities \[X, Y\]"):
        TableOracle(policy)


def test_the_oracle_samples_with_whole_seeds_only(policy):
    with pytest.raises(UserError, match="seed=-1"):
        TableOracle(policy).sample([0], 1, seed=-1)


class Scripted:
    """A class whose optimistic policies are given in advance."""

    def __init__(self, policies):
        self.policies, self.shape, self.calls = list(policies), policies[0].shape, []

    def optimistic(self, pairs, *arguments):
        self.calls.append(arguments)
        return self.policies[len(self.calls) - 1]


def test_xpo_returns_the_iterate_of_largest_value():
    """``J_β = E_π[(1+β) log π_base - β log π]``: of the base, its tilt and a wrong policy the tilt, whenever it came."""
    base = TabularPolicy.from_probs([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    target, wrong = laws.tilted(base.log_probs, 0.5), np.log([[0.1, 0.1, 0.8], [0.5, 0.4, 0.1]])
    for order in itertools.permutations([base.log_probs, target, wrong]):
        learned = learners.xpo_sharpening(
            TableOracle(base), Scripted(order), np.array([0, 1, 1]), 0.5, optimism=0.0, held_out=2_000
        )
        np.testing.assert_array_equal(learned.log_probs, target)


def test_the_cost_of_xpo_is_what_it_asks_the_oracle():
    """Two responses a round, and `held_out` for each different iterate, 100 unless told."""
    base = TabularPolicy.from_probs([[0.5, 0.3, 0.2]])
    policies = [base.log_probs, laws.tilted(base.log_probs, 0.5), base.log_probs, base.log_probs]
    for options, held_out in (({}, 100), ({"held_out": 7}, 7)):
        members = Scripted(policies)
        learned = learners.xpo_sharpening(TableOracle(base), members, np.zeros(4, int), 0.5, optimism=0.25, **options)
        assert learned.queries == 2 * 4 + 2 * held_out
        assert (learned.n_prompts, learned.n_responses) == (4, 2.0)
        assert members.calls == [(0.5, 0.25, 1.0)] * 4
    members = Scripted(policies)
    learners.xpo_sharpening(TableOracle(base), members, np.zeros(4, int), 0.5, optimism=0.25, printed_sign=True)
    assert members.calls == [(0.5, 0.25, -1.0)] * 4


def test_later_rounds_of_xpo_sample_the_current_policy():
    """From round 2 on the first response is of π^(t), here sure of 2, the second of the base; likelihoods are the base's."""
    base = TabularPolicy.from_probs([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    sure = np.log(np.array([[1e-12, 1e-12, 1 - 2e-12]] * 2))
    members = Recording(FiniteClass(sure[None]))
    prompts = np.array([0, 1] * 150)
    learners.xpo_sharpening(TableOracle(base), members, prompts, 0.5, optimism=0.0, held_out=1, seed=4)
    pairs = members.shown[-1]
    np.testing.assert_array_equal(pairs.first[1:], 2)
    np.testing.assert_array_equal(pairs.log_first, base.log_probs[prompts, pairs.first])
    np.testing.assert_array_equal(pairs.log_second, base.log_probs[prompts, pairs.second])
    for x in (0, 1):
        counts = np.bincount(pairs.second[prompts == x], minlength=3)
        assert stats.chisquare(counts, len(prompts) / 2 * base.probs[x]).pvalue > 1e-6


@pytest.mark.parametrize("kind", ["sft", "adaptive", "rlhf", "xpo", "pairs"])
def test_the_seed_of_a_learner_decides(policy, kind):
    members = FiniteClass(log_softmax(np.random.default_rng(0).normal(size=(60, 2, 3)), axis=2))
    prompts = np.array([0, 1, 1, 0, 1, 0, 0])
    run = {
        "sft": lambda **o: learners.sft_sharpening(TableOracle(policy), Simplex((2, 3)), prompts, 2, **o).log_probs,
        "adaptive": lambda **o: (
            learners.adaptive_sharpening(TableOracle(policy), Simplex((2, 3)), prompts, 0.3, **o).log_probs
        ),
        "rlhf": lambda **o: learners.rlhf_sharpening(TableOracle(policy), members, prompts[:1], 0.5, **o).log_probs,
        "xpo": lambda **o: (
            learners.xpo_sharpening(TableOracle(policy), members, prompts, 0.5, optimism=0.1, **o).log_probs
        ),
        "pairs": lambda **o: learners.sample_pairs(TableOracle(policy), prompts, **o).first,
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [run(seed=seed) for seed in range(12)]
        np.testing.assert_array_equal(run(seed=5), results[5])
        np.testing.assert_array_equal(run(), results[0])
    assert len({result.tobytes() for result in results}) > 3


def test_pairs_are_samples_with_their_likelihoods(policy):
    prompts = np.array([1, 0, 1])
    pairs = learners.sample_pairs(TableOracle(policy), prompts, seed=3)
    np.testing.assert_array_equal(pairs.prompts, prompts)
    sampled = TableOracle(policy).sample([1, 0, 1], 2, seed=3)
    assert pairs.first.tolist() == [row[0].tokens[0] for row in sampled]
    assert pairs.second.tolist() == [row[1].tokens[0] for row in sampled]
    np.testing.assert_array_equal(pairs.log_first, policy.log_probs[prompts, pairs.first])
    np.testing.assert_array_equal(pairs.log_second, policy.log_probs[prompts, pairs.second])


def test_ties_of_the_learner_are_within_its_tolerance():
    """Likelihoods .5 and .5 - 1e-4: told apart at the default tolerance, tied at 1e-3, where samples decide evenly."""
    base = TabularPolicy.from_probs([[0.5 + 5e-5, 0.5 - 5e-5]])
    run = lambda **o: np.exp(  # noqa: E731
        learners.sft_sharpening(TableOracle(base), Simplex((1, 2)), np.zeros(3_000, int), 8, **o).log_probs[0, 0]
    )
    assert run() == pytest.approx(1 - 0.5**8, abs=0.01)
    assert run(tolerance=1e-3) == pytest.approx(0.5, abs=0.05)


def test_what_is_learned_says_what_it_cost(policy):
    prompts = np.array([0, 1, 1])
    sft = learners.sft_sharpening(TableOracle(policy), Simplex((2, 3)), prompts, 5)
    assert (sft.n_prompts, sft.n_responses, sft.queries) == (3, 5.0, 15)
    assert isinstance(sft.n_responses, float)
    rlhf = learners.rlhf_sharpening(TableOracle(policy), FiniteClass(policy.log_probs[None]), prompts, 1e6)
    assert (rlhf.n_prompts, rlhf.n_responses, rlhf.queries) == (3, 2.0, 6)
    # At μ ≤ .2 one sample is always enough.
    adaptive = learners.adaptive_sharpening(TableOracle(policy), Simplex((2, 3)), prompts, 0.2)
    assert (adaptive.n_prompts, adaptive.n_responses, adaptive.queries) == (3, 1.0, 3)


def test_many_samples_are_split_so_that_few_are_held(policy, monkeypatch):
    """At most CHUNK responses at a time, however they are split into prompts."""
    monkeypatch.setattr(learners.algorithms, "CHUNK", 40)
    asked = []

    class Watched(TableOracle):
        def sample(self, prompts, n, *, seed=0):
            asked.append((len(prompts), n, seed))
            return super().sample(prompts, n, seed=seed)

    learners.sft_sharpening(Watched(policy), Simplex((2, 3)), np.array([0, 1] * 5), 16)
    assert [(prompts, n) for prompts, n, _ in asked] == [(2, 16)] * 5 and len({seed for *_, seed in asked}) == 5
    asked.clear()
    learners.sft_sharpening(Watched(policy), Simplex((2, 3)), np.array([0, 1]), 100)
    assert [(prompts, n) for prompts, n, _ in asked] == [(1, 100)] * 2
