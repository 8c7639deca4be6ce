import itertools
from math import comb

import mpmath
import numpy as np
import pytest
from scipy.special import log_softmax

from sharptheory.learners import bon_aware as bon
from sharptheory.theory.laws import best_of_n, rank_tilt


def instances():
    rng = np.random.default_rng(0)
    for ties in (False, True):
        for n in (1.0, 2.0, 5.0, 32.0):
            rewards = rng.integers(0, 3, size=6).astype(float) if ties else rng.normal(size=6)
            yield rng.normal(size=6), rewards, rng.dirichlet(np.ones(6)), rng.normal(size=6), n


OBJECTIVES = {
    "bon_sft": lambda t, r, e, v, n: bon.bon_sft(t, e, r, n),
    "bon_sft_surrogate": lambda t, r, e, v, n: bon.bon_sft_surrogate(t, e, r, n),
    "bon_rl_v": lambda t, r, e, v, n: bon.bon_rl(t, r, n, verifier=v),
    "bon_rl_s": lambda t, r, e, v, n: bon.bon_rl(t, r, n),
    "bon_rlb": lambda t, r, e, v, n: bon.bon_rlb(t, r > np.median(r), n),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_match_finite_differences(name):
    for logits, rewards, expert, verifier, n in instances():
        call = lambda t: OBJECTIVES[name](t, rewards, expert, verifier, n)  # noqa: B023, E731
        step = 1e-6
        central = [(call(logits + step * e)[0] - call(logits - step * e)[0]) / (2 * step) for e in np.eye(6)]
        np.testing.assert_allclose(call(logits)[1], central, atol=1e-6 * max(1, n), rtol=1e-6)


def test_log_best_of_n_is_the_law():
    for logits, rewards, *_, n in instances():
        np.testing.assert_allclose(
            bon.log_best_of_n(logits, rewards, n)[0], best_of_n(log_softmax(logits), n, rewards=rewards)
        )


def enumerated(logits, verifier, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The law of best-of-N and its Jacobian from all Y^N samples: ``∇E[f(y_1…y_N)] = E[f Σ_i (e_{y_i} - π)]``."""
    weights = np.exp(np.asarray(logits, dtype=float))
    probs = weights / weights.sum()
    law, jacobian = np.zeros(len(probs)), np.zeros((len(probs), len(probs)))
    for sample in itertools.product(range(len(probs)), repeat=n):
        chance, score = np.prod(probs[list(sample)]), -n * probs
        for y in sample:
            score[y] += 1
        best = max(verifier[y] for y in sample)
        tied = [y for y in sample if verifier[y] == best]
        for y in tied:  # broken uniformly over the samples
            law[y] += chance / len(tied)
            jacobian[y] += chance / len(tied) * score
    return law, jacobian


VERIFIERS = {
    "no ties": [0.3, -1.2, 2.5, 0.9],
    "ties": [1.0, -2.0, 1.0, 0.25],
    "all tied": [7.0, 7.0, 7.0, 7.0],
    "infinite": [0.0, -np.inf, np.inf, -np.inf],
}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("verifier", VERIFIERS)
def test_objectives_with_real_rewards_match_enumeration(verifier, n):
    """Value and gradient of best-of-N training where rewards are neither 0 nor 1, and what selects is another reward."""
    verifier = VERIFIERS[verifier]
    logits, environment = np.array([0.4, -0.3, 1.1, 0.0]), np.array([-2.0, 0.5, 3.25, 0.5])
    expert = np.array([0.1, 0.2, 0.3, 0.4])
    law, jacobian = enumerated(logits, verifier, n)
    value, gradient = bon.bon_rl(logits, environment, n, verifier=verifier)
    assert value == pytest.approx(law @ environment, abs=1e-12)
    np.testing.assert_allclose(gradient, environment @ jacobian, atol=1e-12)
    value, gradient = bon.bon_sft(logits, expert, verifier, n)
    assert value == pytest.approx(expert @ np.log(law), abs=1e-12)
    np.testing.assert_allclose(gradient, (expert / law) @ jacobian, atol=1e-12)
    law, jacobian = enumerated(logits, environment, n)
    value, gradient = bon.bon_rl(logits, environment, n)
    assert value == pytest.approx(law @ environment, abs=1e-12)
    np.testing.assert_allclose(gradient, environment @ jacobian, atol=1e-12)


@pytest.mark.parametrize("rewards", [[-2.0, 0.5, 3.25, 0.5], [0.0, 1.0, 0.0, 1.0]])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 1), (3, 2), (3, 3), (5, 3)])
def test_max_at_k_weights_are_unbiased_by_enumeration(rewards, n, k):
    """Exact expectation over all groups of n samples: the gradient of E[max of k rewards], whatever the rewards."""
    rewards, probs = np.array(rewards), np.array([0.4, 0.3, 0.2, 0.1])
    expected = np.zeros(4)
    for group in itertools.product(range(4), repeat=n):
        weights = bon.max_at_k_weights(rewards[list(group)], k)
        scores = np.eye(4)[list(group)] - probs
        expected += np.prod(probs[list(group)]) * (weights @ scores) / n
    np.testing.assert_allclose(expected, bon.bon_rl(np.log(probs), rewards, k)[1], atol=1e-12)


def test_max_at_k_weights_are_what_a_sample_adds():
    """By a loop over all sets of k-1 others; several groups at once; thousands of samples stay finite."""
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(3, 6)).round(1)
    for k in (2, 3, 6):
        for row, weights in zip(rewards, bon.max_at_k_weights(rewards, k)):
            for i in range(6):
                others = list(itertools.combinations(np.delete(row, i), k - 1))
                assert weights[i] == pytest.approx(k * np.mean([max(row[i] - max(o), 0.0) for o in others]), abs=1e-12)
    many = bon.max_at_k_weights(rng.normal(size=5_000), 2_500)
    assert np.isfinite(many).all() and (many >= 0).all() and many.max() > 0
    with pytest.raises(ValueError, match="k=7; expected an integer from 1 to 6"):
        bon.max_at_k_weights(rewards, 7)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"rewards: {bad}; expected finite numbers"):
            bon.max_at_k_weights([bad, 1.0], 2)


def test_value_and_gradient_agree_on_what_is_tied():
    """Rewards that differ by rounding are one level to both: 0.1 + 0.2 against 0.3."""
    value, gradient = bon.bon_rl(np.zeros(2), [1, 0], 5, verifier=[0.1 + 0.2, 0.3])
    assert value == pytest.approx(0.5)
    np.testing.assert_allclose(gradient, [0.25, -0.25], atol=1e-12)
    _, chained = bon.log_best_of_n(np.zeros(3), np.array([0.0, 0.8e-12, 1.6e-12]), 4)
    step, rewards = 1e-6, np.array([0.0, 0.8e-12, 1.6e-12])
    law = lambda logits: bon.log_best_of_n(logits, rewards, 4)[0]  # noqa: E731
    central = [(law(step * e) - law(-step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(chained.T, central, atol=1e-8)


@pytest.mark.parametrize("objective", [bon.bon_sft, bon.bon_sft_surrogate])
def test_a_response_without_mass_counts_for_nothing(objective):
    """A logit of -inf where the expert is 0 too: the value and gradient of the other responses alone."""
    for position in range(3):
        insert = lambda row, value, i=position: np.insert(np.array(row, dtype=float), i, value)  # noqa: E731
        for reward in (-5.0, 0.5, 1.0, 9.0):
            value, gradient = objective(insert([0, 1], -np.inf), insert([0.5, 0.5], 0.0), insert([0, 1], reward), 4)
            exact, exact_gradient = objective([0, 1], [0.5, 0.5], [0, 1], 4)
            assert value == pytest.approx(exact, abs=1e-12)
            np.testing.assert_allclose(gradient, insert(exact_gradient, 0.0), atol=1e-12)
    assert bon.bon_sft([0, 1, -np.inf], [0.5, 0.5, 0], [0, 1, 2], 4)[0] == pytest.approx(-2.629, abs=1e-3)
    assert objective([0, -np.inf], [0.5, 0.5], [0, 1], 4)[0] == -np.inf


def test_the_jacobian_survives_masses_that_underflow():
    """Against 1,000-digit differences of the formula: bottom, middle and top levels of mass 1e-350, and N up to 1e6."""
    mpmath.mp.dps = 1_000
    try:
        for logits in ([0.0, -806.0, -1.0], [0.0, -806.0, -807.0], [-806.0, 0.0, -900.0]):
            for rewards in ([2, 0, 1], [0, 1, 2], [1, 0, 0]):
                for n in (3, 10**6):
                    _, jacobian = bon.log_best_of_n(logits, rewards, n)
                    step = mpmath.mpf(10) ** -400
                    for z in range(3):
                        moved = [
                            [mpmath.mpf(t) + (s * step if i == z else 0) for i, t in enumerate(logits)] for s in (1, -1)
                        ]
                        up, down = (referee(point, rewards, n) for point in moved)
                        exact = [float((a - b) / (2 * step)) for a, b in zip(up, down)]
                        np.testing.assert_allclose(jacobian[:, z], exact, rtol=1e-9, atol=1e-9)
    finally:
        mpmath.mp.dps = 15


def referee(logits, rewards, n):
    """log π_BoN from its formula in as many digits as mpmath is told to keep."""
    weights = [mpmath.exp(t) for t in logits]
    probs = [w / sum(weights) for w in weights]
    law = []
    for p, r in zip(probs, rewards):
        q = sum(other for other, s in zip(probs, rewards) if s <= r)
        below = sum((other for other, s in zip(probs, rewards) if s < r), mpmath.mpf(0))
        law.append(mpmath.log(p * (q**n - below**n) / (q - below)))
    return law


def test_pass_rates_near_0_and_1_keep_their_digits():
    value, gradient = bon.bon_rlb([40, 0], [0, 1], 32)
    rate = np.exp(-40) / (1 + np.exp(-40))
    assert value == pytest.approx(32 * rate, rel=1e-12)
    np.testing.assert_allclose(gradient, [-32 * rate, 32 * rate], rtol=1e-12)
    value, gradient = bon.bon_rlb([40, 0], [1, 0], 2)
    assert value == 1.0
    np.testing.assert_allclose(gradient, [2 * rate**2, -2 * rate**2], rtol=1e-12)


def test_binary_identities():
    """All ways of writing ∇(1-p^N) agree; N = 1 is REINFORCE; the minus sign is another objective's gradient."""
    rng = np.random.default_rng(1)
    logits, correct = rng.normal(size=6), np.array([1, 0, 0, 1, 0, 0.0])
    log_probs = log_softmax(logits)
    probs = np.exp(log_probs)
    scores = np.eye(6) - probs
    p = float(probs @ (1 - correct))
    for n in (1, 2, 8, 32):
        _, exact = bon.bon_rlb(logits, correct, n)
        np.testing.assert_allclose(exact, bon.bon_rl(logits, correct, n)[1], atol=1e-12)
        law = np.exp(best_of_n(log_probs, n, rewards=correct))
        np.testing.assert_allclose((law * correct * bon.bon_rlb_positive_weight(p, n)) @ scores, exact, atol=1e-12)
        np.testing.assert_allclose(-(law * (1 - correct) * n) @ scores, exact, atol=1e-12)
        plus, minus = bon.bon_rlb_weights(p, n)
        np.testing.assert_allclose((law * (correct * plus + (1 - correct) * minus)) @ scores, exact, atol=1e-12)
        wrong_sign = (law * (correct * plus - (1 - correct) * minus)) @ scores
        np.testing.assert_allclose(wrong_sign, (1 + p) / (1 - p) * exact, atol=1e-11)
    np.testing.assert_allclose(bon.bon_rlb(logits, correct, 1)[1], (probs * correct) @ scores, atol=1e-12)


def test_pass_at_k_weights_are_unbiased_by_enumeration():
    """Exact expectation over all 2^n outcomes: w is k·p_fail^{k-1} on correct samples after centring with E[s] = 0."""
    for q in (0.2, 0.7):
        for n, k in ((4, 1), (4, 3), (5, 5), (6, 2)):
            right = wrong = 0.0
            for outcome in itertools.product((0, 1), repeat=n):
                prob = np.prod([q if o else 1 - q for o in outcome])
                weights = bon.pass_at_k_weights(np.array(outcome), k)
                right += prob * sum(w for w, o in zip(weights, outcome) if o) / n
                wrong += prob * sum(w for w, o in zip(weights, outcome) if not o) / n
            # E[s | correct] q + E[s | wrong] (1-q) = 0: only the difference of the conditional weights matters.
            assert right / q - wrong / (1 - q) == pytest.approx(k * (1 - q) ** (k - 1), rel=1e-10)
    with pytest.raises(ValueError, match="k=5"):
        bon.pass_at_k_weights(np.ones(4), 5)


def test_monte_carlo_estimator_is_unbiased():
    """40,000 groups of 8: the mean gradient is within 5 standard errors of ∇(1-p^4) in every coordinate."""
    rng = np.random.default_rng(2)
    logits, correct = rng.normal(size=5), np.array([1, 0, 0, 0, 1.0])
    probs = np.exp(log_softmax(logits))
    samples = rng.choice(5, size=(40_000, 8), p=probs)
    weights = bon.pass_at_k_weights(correct[samples], 4)
    estimates = (weights[..., None] * (np.eye(5)[samples] - probs)).mean(axis=1)
    error = estimates.std(axis=0) / np.sqrt(len(estimates))
    assert np.all(np.abs(estimates.mean(axis=0) - bon.bon_rlb(logits, correct, 4)[1]) < 5 * error)


def test_training_for_n_wins_at_n():
    """Policies trained for N under one misleading verifier: each is best at the N it was trained for."""
    rng = np.random.default_rng(3)
    base, environment, verifier = rng.normal(size=12), rng.normal(size=12), rng.normal(size=12)
    sizes = (1, 4, 16, 64)
    trained = {}
    for n in (*sizes, *sizes[::-1]):
        starts = np.stack([base, *trained.values()])
        goal = lambda t, n=n: bon.bon_rl(t, environment, n, verifier=verifier)  # noqa: E731
        trained[n] = bon.train(goal, starts, base=base, kl_penalty=0.3)

    def value(logits, n):
        law, anchor = log_softmax(logits), log_softmax(base)
        return bon.bon_rl(logits, environment, n, verifier=verifier)[0] - 0.3 * float(np.exp(law) @ (law - anchor))

    for n in sizes:
        assert max(sizes, key=lambda m: value(trained[m], n)) == n


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bon.bon_rlb_weights(1.0, 3), r"p_fail=1\.0"),
        (lambda: bon.bon_rlb_weights(0.5, 0), "n=0"),
        (lambda: bon.bon_rlb([0, 0], [0.5, 1], 3), r"correct: 0\.5; expected 0 or 1 only"),
        (lambda: bon.bon_rlb([0, 0], [0, 1], 0.5), r"n=0\.5"),
        (lambda: bon.pass_at_k_weights([0, 2.0], 1), r"correct: 2\.0"),
        (lambda: bon.pass_at_k_weights(np.ones(4), 2.5), r"k=2\.5; expected an integer from 1 to 4"),
        (lambda: bon.bon_rl([-np.inf, -np.inf], [0, 1], 2), "largest -inf; expected"),
        (lambda: bon.bon_rl([np.nan, 0], [0, 1], 2), "largest nan; expected"),
        (lambda: bon.bon_rl([0, 0], [np.nan, 1], 2), "environment: nan"),
        (lambda: bon.bon_sft([0, 0], [1.0], [0, 1], 2), r"expert has shape \(1,\)"),
        (lambda: bon.bon_sft([0, 0], [5, 5], [0, 1], 2), "expert sums to 10; expected 1"),
        (lambda: bon.bon_sft([0, 0], [1.5, -0.5], [0, 1], 2), r"expert\[1\] is -0.5; expected a probability"),
        (lambda: bon.bon_sft_surrogate([0, 0], [5, 5], [0, 1], 2), "expert sums to 10; expected 1"),
        (lambda: bon.bon_sft([0, 0], ["a", "b"], [0, 1], 2), "expert is no table of numbers"),
        (lambda: bon.bon_sft([0, 0], [0.5, 0.5], [0, 1, 2], 2), r"rewards has shape \(3,\); expected \(2,\)"),
        (lambda: bon.bon_rl([0, 0], [0, np.inf], 2), "environment: inf; expected finite rewards"),
        (lambda: bon.bon_rl([[0], [0, 1]], [0, 1], 2), "logits is no table of numbers"),
        (lambda: bon.bon_rlb([0, 0], [0, 1, 1], 2), r"correct has shape \(3,\); expected \(2,\)"),
        (lambda: bon.max_at_k_weights([1, np.nan], 2), "rewards: nan; expected finite numbers"),
        (lambda: bon.max_at_k_weights([1, 2], 2, binary=True), r"correct: 2\.0"),
        (
            lambda: bon.train(None, np.zeros((2, 3)), base=np.zeros(2), kl_penalty=1.0),
            r"starts has shape \(2, 3\), base",
        ),
        (lambda: bon.train(None, np.zeros(2), base=np.zeros(2), kl_penalty=0.0), r"kl_penalty=0\.0"),
        (lambda: bon.train(None, [0, -np.inf], base=np.zeros(2), kl_penalty=1.0), "starts: -inf"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_certain_success_needs_no_training():
    value, gradient = bon.bon_rlb(np.zeros(2), np.ones(2), 3)
    assert value == 1.0 and not gradient.any()


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_max_at_k_weights_by_their_definition(positive, binary, k):
    """``k (E[max(r, M)] - b)``, M the largest of a random k-1 others; b is E[M], their least, or 0 where it may be."""
    rng = np.random.default_rng(k)
    groups = rng.integers(0, 2, size=(4, 5)).astype(float) if binary else rng.normal(size=(4, 5))
    weights = bon.max_at_k_weights(groups.reshape(2, 2, 5), k, binary=binary, positive=positive)
    assert weights.shape == (2, 2, 5)
    for row, found in zip(groups, weights.reshape(4, 5)):
        for i in range(5):
            fellows = np.delete(row, i)
            chosen = [list(others) for others in itertools.combinations(fellows, k - 1)]
            best = np.mean([max([row[i], *others]) for others in chosen])
            baseline = (
                (0.0 if binary else fellows.min()) if not positive or k == 1 else np.mean([max(o) for o in chosen])
            )
            assert found[i] == pytest.approx(k * (best - baseline), abs=1e-12)


def test_weights_of_binary_rewards_have_their_closed_form():
    """Of m with c successes: k for a success, k ρ(m-1, c, k-1) for a failure; positive: k(1 - ρ(m-1, c-1, k-1)) and 0."""
    rho = lambda m, c, k: 1 - comb(max(m - c, 0), k) / comb(m, k)  # noqa: E731
    for m, k in ((1, 1), (4, 1), (6, 3), (6, 6)):
        for c in range(m + 1):
            correct = np.array([1.0] * c + [0.0] * (m - c))
            wrong = k * rho(m - 1, c, k - 1) if m > 1 else 0.0
            np.testing.assert_allclose(bon.pass_at_k_weights(correct, k), np.where(correct == 1, k, wrong), atol=1e-12)
            plain = bon.max_at_k_weights(correct, k, binary=True, positive=False)
            np.testing.assert_allclose(plain, np.where(correct == 1, k, wrong), atol=1e-12)
            if k > 1 and c:
                right = k * (1 - rho(m - 1, c - 1, k - 1))
                np.testing.assert_allclose(
                    bon.max_at_k_weights(correct, k), np.where(correct == 1, right, 0), atol=1e-12
                )
    several = bon.pass_at_k_weights(np.array([[[1, 0, 0]], [[0, 0, 0]]]), 2)
    np.testing.assert_allclose(several, [[[2, 1, 1]], [[0, 0, 0]]])


def test_weights_of_rounding_size_are_zero():
    weights = bon.max_at_k_weights([0.1 + 0.2, 0.3, 0.3], 2)
    np.testing.assert_array_equal(weights, 0)
    assert bon.max_at_k_weights([1e-3, 0.0, 0.0], 2)[0] == pytest.approx(2e-3)


def test_weights_of_the_pass_rate_by_hand():
    """p = 1/4, N = 3: g⁺ = 3/16/(63/64), g⁻ = 3 · (1/4)/(3/4)."""
    plus, minus = bon.bon_rlb_weights(0.25, 3)
    assert plus == pytest.approx(3 / 16 / (63 / 64)) and minus == pytest.approx(1.0)
    assert bon.bon_rlb_positive_weight(0.25, 3) == pytest.approx(plus * 0.75)
    assert bon.bon_rlb_weights(0.25, 1) == pytest.approx((1 / 0.75, 1 / 3))


def test_the_surrogate_by_hand():
    """``log π + λ_N Q - log Z``, Q the mass of what is at most as good."""
    logits, rewards, expert = np.log([0.5, 0.3, 0.2]), [0.0, 2.0, 1.0], np.array([0.2, 0.5, 0.3])
    weights = np.array([0.5, 0.3, 0.2]) * np.exp(rank_tilt(4) * np.array([0.5, 1.0, 0.7]))
    value, _ = bon.bon_sft_surrogate(logits, expert, rewards, 4)
    assert value == pytest.approx(float(expert @ np.log(weights / weights.sum())))


def test_training_balances_objective_and_distance_to_the_base():
    base = np.log([0.5, 0.3, 0.2])
    rewards = np.array([0.0, 1.0, 3.0])
    linear = lambda logits: (  # noqa: E731
        float(np.exp(log_softmax(logits)) @ rewards),
        np.exp(log_softmax(logits)) * (rewards - np.exp(log_softmax(logits)) @ rewards),
    )
    for penalty in (0.5, 2.0):
        # The maximum of E_π[r] - β KL(π‖base) is base · e^{r/β}.
        found = bon.train(linear, np.zeros(3), base=base, kl_penalty=penalty)
        np.testing.assert_allclose(log_softmax(found), log_softmax(base + rewards / penalty), atol=1e-6)
    flat = bon.train(lambda logits: (0.0, np.zeros(3)), np.array([[5.0, 0.0, 0.0]]), base=base + 7, kl_penalty=1.0)
    np.testing.assert_allclose(log_softmax(flat), base, atol=1e-5)


def test_training_returns_the_best_of_its_starts():
    """An objective with two hills: from the lower one's side alone it is found, from both the higher one."""
    targets = np.array([[0.9, 0.05, 0.05], [0.05, 0.05, 0.9]])

    def hills(logits):
        law = np.exp(log_softmax(logits))
        heights = np.array([1.0, 2.0]) * np.exp(-20 * ((law - targets) ** 2).sum(axis=1))
        slope = (-40 * heights[:, None] * (law - targets)).sum(axis=0)
        return float(heights.sum()), law * (slope - law @ slope)

    starts = np.log(targets)
    options = dict(base=np.zeros(3), kl_penalty=1e-3)
    lower, higher = (int(np.argmax(bon.train(hills, start, **options))) for start in starts)
    assert (lower, higher) == (0, 2)
    for order in (starts, starts[::-1]):
        assert int(np.argmax(bon.train(hills, order, **options))) == 2


def test_training_that_does_not_converge_says_so():
    wrong = lambda logits: (float(logits[0]), np.array([-1.0, 1.0]))  # noqa: E731  (a gradient of another function)
    with pytest.raises(RuntimeError, match=r"training did not converge: gradient .* > 1e-6"):
        bon.train(wrong, np.zeros(2), base=np.zeros(2), kl_penalty=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bon.bon_rlb_weights(0.0, 3), r"p_fail=0\.0"),
        (lambda: bon.bon_rlb_weights(0.5, np.inf), "n=inf"),
        (lambda: bon.bon_rlb([0, 0], [0, 1], np.inf), "n=inf"),
        (lambda: bon.bon_rlb([0, 0], [0, -1], 2), r"correct: -1\.0"),
        (lambda: bon.bon_rl([np.inf, 0], [0, 1], 2), "largest inf"),
        (lambda: bon.bon_rl([[0, 0]], [0, 1], 2), r"logits: shape \(1, 2\)"),
        (lambda: bon.bon_rl([], [], 2), r"logits: shape \(0,\)"),
        (lambda: bon.log_best_of_n([0, 0], [0, 1], 0.5), r"n=0\.5"),
        (lambda: bon.pass_at_k_weights([0, 1], 0), "k=0; expected an integer from 1 to 2"),
        (lambda: bon.max_at_k_weights([0, 1], 0), "k=0; expected an integer from 1 to 2"),
        (lambda: bon.max_at_k_weights([0, 1], 1.0), r"k=1\.0"),
        (lambda: bon.train(None, np.zeros(2), base=np.zeros(2), kl_penalty=np.inf), "kl_penalty=inf"),
        (lambda: bon.train(None, np.zeros(2), base=[np.nan, 0], kl_penalty=1.0), "base: nan; expected finite logits"),
        (lambda: bon.train(None, np.zeros((0, 2)), base=np.zeros(2), kl_penalty=1.0), r"starts has shape \(0, 2\)"),
    ],
)
def test_more_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
