import numpy as np
import pytest
from scipy.special import log_softmax

from sharptheory.learners import bon_aware as bon
from sharptheory.theory.laws import best_of_n


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
    import itertools

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
    draws = rng.choice(5, size=(40_000, 8), p=probs)
    weights = bon.pass_at_k_weights(correct[draws], 4)
    estimates = (weights[..., None] * (np.eye(5)[draws] - probs)).mean(axis=1)
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


def test_weights_refuse_certainty():
    with pytest.raises(ValueError, match=r"p_fail=1\.0"):
        bon.bon_rlb_weights(1.0, 3)
    assert bon.bon_rlb(np.zeros(2), np.ones(2), 3)[0] == 1.0
