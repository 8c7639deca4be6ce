import numpy as np
import pytest
from scipy import stats

from sharptheory.learners import FiniteClass, Simplex, adaptive_sharpening, rlhf_sharpening, sft_sharpening, simulate
from sharptheory.oracle import TableOracle
from sharptheory.theory import bounds, laws
from sharptheory.theory.coverage import coverage_coefficient, missing_mass
from sharptheory.theory.families import HardFamily
from sharptheory.theory.policies import TabularPolicy


@pytest.fixture
def policy():
    return TabularPolicy.from_probs([[0.45, 0.35, 0.2], [0.3, 0.4, 0.3]])


@pytest.mark.parametrize("gamma", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["sft", "adaptive"])
def test_replications_have_the_law_of_the_literal_algorithm(policy, kind, gamma):
    """Mean error of 400 literal runs against 20,000 replications: within 5 standard errors."""
    rng, delta, n, literal = np.random.default_rng(0), 0.3, 7, []
    for seed in range(400):
        prompts, oracle = rng.integers(2, size=n), TableOracle(policy)
        if kind == "sft":
            learned = sft_sharpening(oracle, Simplex((2, 3)), prompts, 3, seed=seed)
        else:
            learned = adaptive_sharpening(oracle, Simplex((2, 3)), prompts, 1.5, seed=seed)
        literal.append(float((missing_mass(learned.log_probs, policy, gamma) > delta + 1e-12) @ policy.mu))
    run = simulate.sft_errors if kind == "sft" else simulate.adaptive_errors
    errors = run(policy, n, 3 if kind == "sft" else 1.5, delta=delta, gamma=gamma, replications=20_000, rng=rng)
    assert abs(np.mean(literal) - errors.mean()) < 5 * np.std(literal) / 20 and np.std(literal) > 0


@pytest.mark.filterwarnings("ignore:unrealizable")
@pytest.mark.parametrize("n_pairs", [1, 3])
def test_dpo_replications_have_the_law_of_the_literal_algorithm(policy, n_pairs):
    """Over a class with duplicates and members that one pair does not tell apart: within 5 standard errors."""
    rng, beta = np.random.default_rng(5), 0.2
    target = laws.tilted(policy.log_probs, beta)
    half = np.stack([target[0], policy.log_probs[1]])
    flat = np.full((2, 3), -np.log(3))
    members = FiniteClass(np.stack([half, half, flat, target, target, flat]))
    literal = []
    for seed in range(400):
        learned = rlhf_sharpening(TableOracle(policy), members, rng.integers(2, size=n_pairs), beta, seed=seed)
        literal.append(float((missing_mass(learned.log_probs, policy) > 0.3) @ policy.mu))
    errors = simulate.dpo_errors(policy, members, n_pairs, beta, delta=0.3, replications=5_000, rng=rng)
    assert abs(np.mean(literal) - errors.mean()) < 5 * np.std(literal) / 20 and np.std(literal) > 0


def test_duplicates_change_neither_choice_nor_law(policy):
    """A class listed twice has the errors of the class, from the same samples."""
    members = np.stack([laws.tilted(policy.log_probs, beta) for beta in (0.1, 1.0, 5.0)])
    run = lambda held: simulate.dpo_errors(  # noqa: E731
        policy, FiniteClass(held), 2, 0.4, delta=0.3, replications=200, rng=np.random.default_rng(0)
    )
    np.testing.assert_array_equal(run(members), run(np.concatenate([members, members[::-1]])))


def test_replications_match_the_exact_risk_of_the_hard_family():
    """On Theorem 3.1′'s family with δ = 1/2 the risk of SFT-Sharpening is known exactly."""
    family, n, n_responses = HardFamily(6, 0.6, 2), 12, 5
    policy = family.policy([1, 4])
    errors = simulate.sft_errors(
        policy, n, n_responses, delta=0.5 - 1e-9, replications=40_000, rng=np.random.default_rng(1)
    )
    assert abs(errors.mean() - family.sft_risk(n, n_responses)) < 5 * errors.std() / 200


def test_error_respects_theorem_4_1_prime():
    """P[error > bound] ≤ ρ, with |Π| replaced by nothing: the bound's coverage term alone at n → ∞."""
    rng = np.random.default_rng(2)
    policy = TabularPolicy.from_probs(rng.dirichlet(np.full(20, 0.3), size=30))
    for n_responses in (8, 64):
        errors = simulate.sft_errors(policy, 200_000, n_responses, delta=0.5, replications=200, rng=rng)
        n_star = n_responses / laws.stopping_threshold(0.5)
        assert errors.mean() <= coverage_coefficient(policy) / n_star


def test_dpo_replications_find_the_tilted_law():
    rng = np.random.default_rng(3)
    policy = TabularPolicy.from_probs(rng.dirichlet(np.ones(4), size=3))
    beta = bounds.tilt_for_sharpness_exact(0.05, 4, 0.3)
    others = np.log(rng.dirichlet(np.ones(4), size=(7, 3)))
    members = FiniteClass(np.concatenate([others, laws.tilted(policy.log_probs, beta)[None]]))
    errors = simulate.dpo_errors(policy, members, 50, beta, delta=0.3, replications=50, rng=rng)
    exact = (missing_mass(members.members[-1], policy) > 0.3) @ policy.mu
    np.testing.assert_allclose(errors, exact)


def test_the_seed_decides(policy):
    run = lambda seed: simulate.sft_errors(policy, 9, 2, delta=0.3, rng=np.random.default_rng(seed))  # noqa: E731
    np.testing.assert_array_equal(run(0), run(0))
    assert not np.array_equal(run(0), run(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 1.5}, r"delta=1\.5"),
        ({"gamma": 1.0}, r"gamma=1\.0"),
        ({"replications": 0}, "replications=0"),
        ({"n_prompts": 2.5}, r"n_prompts=2\.5"),
    ],
)
def test_bad_arguments_are_named(policy, options, message):
    n_prompts, options = options.get("n_prompts", 3), {k: v for k, v in options.items() if k != "n_prompts"}
    with pytest.raises(ValueError, match=message):
        simulate.sft_errors(policy, n_prompts, 2, **{"delta": 0.3, "rng": np.random.default_rng(0), **options})


def test_sweep_does_not_depend_on_its_workers(policy):
    grid = dict(n_prompts=[20, 200], n_responses=[1, 16], threshold=[3.0], delta=[0.1, 0.3], replications=200)
    done = []
    one = simulate.sweep(policy, **grid, workers=1, progress=lambda k, n: done.append((k, n)))
    two = simulate.sweep(policy, **grid, workers=2)
    assert (
        one.equals(two) and done[-1] == (12, 12) and not one.equals(simulate.sweep(policy, **grid, seed=1, workers=2))
    )
    assert (one["low"] <= one["error"]).all() and (one["error"] <= one["high"]).all()
    adaptive = one[(one["method"] == "adaptive") & (one["n"] == 200) & (one["delta"] == 0.3)]
    assert adaptive["error"].item() < 0.01 and 1 < adaptive["n_responses"].item() < 16
    with pytest.raises(ValueError, match="empty grid"):
        simulate.sweep(policy, n_prompts=[1])


def test_the_class_is_one_of_the_policy(policy):
    members = FiniteClass(np.log([[[0.5, 0.5]]]))
    with pytest.raises(ValueError, match=r"members is a class of shape \(1, 2\); expected \(2, 3\), as policy"):
        simulate.dpo_errors(policy, members, 3, 1.0, delta=0.1, rng=np.random.default_rng(0))


def test_a_row_of_a_sweep_is_its_setting(policy):
    """Every column by hand: the errors from the stream of the row's position, the interval, the cost, the bound."""
    grid = dict(n_prompts=[20, 50], n_responses=[4], threshold=[1.5], delta=[0.2], gamma=[0.0, 0.3], replications=60)
    table = simulate.sweep(policy, **grid, seed=9, workers=1)
    settings = [(m, n, g) for m in ("sft", "adaptive") for n in (20, 50) for g in (0.0, 0.3)]
    assert [tuple(row) for row in table[["method", "n", "gamma"]].to_numpy()] == settings
    for i, (method, n, gamma) in enumerate(settings):
        row, rng = table.iloc[i], np.random.default_rng(np.random.SeedSequence([9, i]))
        stopping = laws.adaptive_best_of_n(policy.log_probs, 1.5)
        law = laws.best_of_n(policy.log_probs, 4) if method == "sft" else stopping.law
        errors = simulate.tabular_errors(policy, law, n, delta=0.2, gamma=gamma, replications=60, rng=rng)
        assert row["error"] == pytest.approx(errors.mean()) and row["delta"] == 0.2
        assert row["low"] <= errors.mean() <= row["high"] <= row["low"] + 0.5
        assert (row["low"] < row["high"]) == (0 < errors.mean() < 1) or errors.mean() in (0, 1)
        spent = 4 if method == "sft" else float(stopping.expected_n @ policy.mu)
        bound = coverage_coefficient(policy, gamma) * np.log(2 / 0.2) / 4 if method == "sft" else 0
        assert row["n_responses"] == pytest.approx(spent) and row["bound_term"] == pytest.approx(bound)


def test_sweeps_have_defaults():
    policy = TabularPolicy.from_probs([[0.6, 0.4]])
    short = simulate.sweep(policy, n_prompts=[9], n_responses=[2], workers=1)
    full = simulate.sweep(
        policy, n_prompts=[9], n_responses=[2], delta=[0.1], gamma=[0.0], replications=1_000, seed=0, workers=1
    )
    assert short.equals(full)
    for grid in ({"n_responses": [2]}, {"n_prompts": [9]}):
        with pytest.raises(ValueError, match="empty grid"):
            simulate.sweep(policy, **{"n_prompts": [], **grid}, workers=1)
    with pytest.raises(ValueError, match="workers=0"):
        simulate.sweep(policy, n_prompts=[9], n_responses=[2], workers=0)


def exact_error(policy: TabularPolicy, law: np.ndarray, n: int, delta: float, gamma: float) -> float:
    """The mean error of tabular maximum likelihood: a binomial number of visits, a binomial number of hits."""
    inside = policy.log_probs >= policy.log_probs.max(axis=1, keepdims=True) + np.log1p(-gamma) - 1e-12
    total = 0.0
    for mu, good, row in zip(policy.mu, inside, np.exp(law)):
        for k in range(n + 1):
            if k == 0:
                bad = float(good.mean() < 1 - delta)
            else:
                hits = np.arange(k + 1)
                bad = stats.binom.pmf(hits, k, min(row[good].sum(), 1.0)) @ (hits < (1 - delta) * k - 1e-9)
            total += mu * stats.binom.pmf(k, n, mu) * bad
    return total


@pytest.mark.parametrize("delta", [0.0, 0.25, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.3])
def test_errors_have_the_exact_mean(delta, gamma):
    """δ where counts meet 1-δ exactly (three of four, one of two), prompts that are not visited, unequal prompts."""
    policy = TabularPolicy.from_probs([[0.45, 0.35, 0.2], [0.3, 0.4, 0.3], [0.5, 0.5, 0.0]], mu=[0.6, 0.3, 0.1])
    for n in (1, 4, 8):
        law = laws.best_of_n(policy.log_probs, 2)
        done = []
        errors = simulate.tabular_errors(
            policy,
            law,
            n,
            delta=delta,
            gamma=gamma,
            replications=20_000,
            rng=np.random.default_rng(n),
            progress=done.append,
        )
        assert errors.shape == (20_000,) and done == [20_000]
        assert (
            abs(errors.mean() - exact_error(policy, law, n, delta, gamma)) <= 5 * errors.std() / np.sqrt(20_000) + 1e-12
        )


def test_replications_are_simulated_in_pieces(policy, monkeypatch):
    monkeypatch.setattr(simulate, "CHUNK", 14)
    done = []
    options = dict(delta=0.3, replications=17, progress=done.append)
    errors = simulate.sft_errors(policy, 5, 2, rng=np.random.default_rng(0), **options)
    assert errors.shape == (17,) and done == [7, 14, 17] and np.isin(errors, [0, 0.5, 1]).all()


def test_dpo_errors_weigh_prompts_and_break_ties_to_the_first():
    """Two members that no pair of one prompt tells apart: the first is returned, bad at the prompt that it misses."""
    policy = TabularPolicy.from_probs([[0.6, 0.4], [0.7, 0.3]], mu=[1.0, 0.0])
    target = laws.tilted(policy.log_probs, 0.1)
    wrong_elsewhere = np.stack([target[0], np.log([0.1, 0.9])])
    rng = np.random.default_rng(0)
    for order in ([wrong_elsewhere, target], [target, wrong_elsewhere]):
        errors = simulate.dpo_errors(policy, FiniteClass(np.stack(order)), 5, 0.1, delta=0.3, replications=20, rng=rng)
        np.testing.assert_array_equal(errors, 0)  # the second prompt has no weight
    flat = np.log([[0.5, 0.5], [0.5, 0.5]])
    members = FiniteClass(np.stack([flat, target]))
    # One pair of equal responses fits both: the first, which is bad, is returned with the chance of a tie.
    errors = simulate.dpo_errors(policy, members, 1, 0.1, delta=0.3, replications=4_000, rng=rng)
    assert errors.mean() == pytest.approx(0.36 + 0.16, abs=0.04) and set(errors) == {0.0, 1.0}
    assert simulate.dpo_errors(policy, members, 1, 0.1, delta=0.3, rng=rng).shape == (200,)
    for change in ({"delta": 1.1}, {"gamma": 1.0}, {"replications": 0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            simulate.dpo_errors(policy, members, 1, 0.1, rng=rng, **{"delta": 0.3, **change})
    with pytest.raises(ValueError, match="n_pairs=0"):
        simulate.dpo_errors(policy, members, 0, 0.1, delta=0.3, rng=rng)
    with pytest.raises(ValueError, match="beta=inf"):
        simulate.dpo_errors(policy, members, 1, np.inf, delta=0.3, rng=rng)


def test_pairs_come_from_all_prompts():
    """Forty pairs see both prompts, so neither member that is right on one of them is mistaken for the target."""
    policy = TabularPolicy.from_probs([[0.6, 0.4], [0.3, 0.7]])
    target, flat = laws.tilted(policy.log_probs, 0.2), np.log([0.5, 0.5])
    members = FiniteClass(np.stack([[target[0], flat], [flat, target[1]], target]))
    errors = simulate.dpo_errors(policy, members, 40, 0.2, delta=0.3, replications=50, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(errors, 0)
