"""Power sampling: the law of whole responses, on token trees that can be enumerated and on the shipped model."""

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp

from sharptheory.decoding.power import _sample, _systematic, mcmc, smc
from sharptheory.llm.engines.hf import HuggingFaceOracle
from sharptheory.llm.engines.loading import load_model
from sharptheory.tasks import arithmetic
from sharptheory.theory import laws
from sharptheory.theory.policies import AutoregressivePolicy, TabularPolicy

BURN_IN = 256


def tree(seed: int, n_tokens: int, horizon: int, *, eos: bool, n_prompts: int = 1) -> AutoregressivePolicy:
    rng, conditionals = np.random.default_rng(seed), []
    for h in range(horizon):
        logits = rng.normal(size=(n_prompts, n_tokens**h, n_tokens + 1))
        if not eos:
            logits[..., -1] = -np.inf
        conditionals.append(log_softmax(logits, axis=-1))
    return AutoregressivePolicy(tuple(conditionals))


def empirical(policy: AutoregressivePolicy, sampled) -> np.ndarray:
    index = {response: i for i, response in enumerate(policy.responses)}
    return np.bincount([index[response.tokens[:-1]] for response in sampled], minlength=len(index)) / len(sampled)


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.abs(p - q).sum() / 2)


def iid_variation(law: np.ndarray, n: int) -> float:
    """Mean total variation of n independent samples from the law itself."""
    rng = np.random.default_rng(0)
    return float(np.mean([total_variation(law, rng.multinomial(n, law) / n) for _ in range(200)]))


def ratio(sampler, policy, alpha, n, **options) -> float:
    law = np.exp(laws.power(policy.table().log_probs, alpha)[0])
    sampled = sampler(policy.next_token, [policy.n_tokens], [0], alpha=alpha, max_tokens=policy.horizon + 1, **options)
    return total_variation(empirical(policy, sampled.responses[0]), law) / iid_variation(law, n)


SHAPES = [(3, 4, True), (3, 4, False), (2, 8, True), (2, 8, False)]


@pytest.mark.parametrize("alpha", [1, 2, 4])
@pytest.mark.parametrize(("n_tokens", "horizon", "eos"), SHAPES)
def test_smc_samples_from_the_power_law(n_tokens, horizon, eos, alpha):
    policy = tree(5, n_tokens, horizon, eos=eos)
    assert ratio(smc, policy, alpha, 400, samples=400) < 1.5


@pytest.mark.parametrize("alpha", [1, 2, 4])
@pytest.mark.parametrize("eos", [True, False])
def test_mcmc_samples_from_the_power_law(eos, alpha):
    policy = tree(5, 3, 4, eos=eos)
    assert ratio(mcmc, policy, alpha, 400, chains=400, steps=64) < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [1, 2, 4])
@pytest.mark.parametrize(("n_tokens", "horizon", "eos"), SHAPES)
def test_both_within_one_and_a_half_of_independent_samples(n_tokens, horizon, eos, alpha):
    """Mean over four random trees and two seeds, for a concentrated law's variation is mostly chance; MCMC after 256 steps."""
    runs = [(tree(shape, n_tokens, horizon, eos=eos), seed) for shape in range(1, 5) for seed in (0, 1)]
    assert np.mean([ratio(smc, policy, alpha, 400, samples=400, seed=seed) for policy, seed in runs]) < 1.5
    assert np.mean([ratio(mcmc, p, alpha, 400, chains=400, steps=BURN_IN, seed=seed) for p, seed in runs]) < 1.5


@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize("alpha", [1.0, 2.0, 4.0])
def test_the_normaliser_is_unbiased(eos, alpha):
    """The mean of exp(log_z) over 400 small runs is Z within 4 standard errors; α = 1 gives 1 in every run."""
    policy = tree(3, 3, 4, eos=eos)
    exact = np.exp(logsumexp(alpha * policy.table().log_probs[0]))
    options = dict(alpha=alpha, samples=1, particles=6, resample_below=0.9, max_tokens=5)
    z = np.exp([smc(policy.next_token, [3], [0], seed=seed, **options).log_z[0] for seed in range(400)])
    assert abs(z.mean() - exact) <= 4 * z.std() / np.sqrt(len(z)) + 1e-12
    if alpha == 1:
        np.testing.assert_allclose(z, 1.0)


def test_tables_and_several_prompts():
    """Each prompt of a table is sampled from its own power law; its samples do not depend on the other prompts."""
    table = TabularPolicy.from_probs(np.random.default_rng(0).dirichlet(np.ones(6), size=3))
    policy = AutoregressivePolicy.from_table(table)
    options = dict(alpha=2.0, max_tokens=2, seed=4)
    for sampler, size in ((smc, {"samples": 300}), (mcmc, {"chains": 300, "steps": 32})):
        sampled = sampler(policy.next_token, [6], [0, 1, 2], **size, **options)
        for x, law in enumerate(np.exp(laws.power(table.log_probs, 2.0))):
            counts = np.bincount([response.tokens[0] for response in sampled.responses[x]], minlength=6) / 300
            assert total_variation(counts, law) < 1.5 * iid_variation(law, 300)
        alone = sampler(policy.next_token, [6], [1], **size, **options)
        assert alone.responses[0] == sampled.responses[1]


def test_one_seed_one_result():
    policy = tree(1, 2, 6, eos=True)
    for sampler, size in ((smc, {"samples": 20}), (mcmc, {"chains": 20, "steps": 8})):
        options = dict(alpha=2.0, max_tokens=7, **size)
        first, again, other = (sampler(policy.next_token, [2], [0], seed=seed, **options) for seed in (0, 0, 1))
        assert first.responses == again.responses != other.responses


def test_low_temperature_decoding_is_not_the_power_law():
    """The gap that the weights close: on this tree it is 0.3 in total variation."""
    branch = np.log([[[0.6, 0.4, 1e-300]]])
    flat, sure = np.log([0.25] * 4 + [1e-300]), np.log([1.0, 1e-300, 1e-300, 1e-300, 1e-300])
    first = np.full((1, 1, 5), -np.inf)
    first[..., :2] = branch[..., :2]
    second = np.full((1, 4, 5), -np.inf)
    second[0, 0], second[0, 1] = flat, sure
    second[0, 2:, 4] = 0.0
    policy = AutoregressivePolicy((first, second))
    law = np.exp(laws.power(policy.table().log_probs, 4.0)[0])
    greedy_like = np.exp(policy.tempered(0.25).table().log_probs[0])
    assert total_variation(law, greedy_like) > 0.3
    assert ratio(smc, policy, 4.0, 400, samples=400) < 1.5
    assert ratio(mcmc, policy, 4.0, 400, chains=400, steps=64) < 1.5


def test_lengths_cut_off_by_the_budget():
    """Responses that never end are cut, unfinished; the target is the power of the law of the cut responses."""
    policy = tree(2, 2, 6, eos=False)
    sampled = smc(policy.next_token, [2], [0], alpha=2.0, samples=2_000, max_tokens=3)
    assert not any(response.finished for response in sampled.responses[0])
    short = AutoregressivePolicy(policy.conditionals[:3])
    law = np.exp(laws.power(short.table().log_probs, 2.0)[0])
    index = {response: i for i, response in enumerate(short.responses)}
    counts = np.bincount([index[r.tokens] for r in sampled.responses[0]], minlength=len(index)) / 2_000
    assert total_variation(counts, law) < 1.5 * iid_variation(law, 2_000)


def kernel(policy: AutoregressivePolicy, alpha: float, exploring: float) -> np.ndarray:
    """The chain's transition matrix over all responses, from their probabilities alone."""
    responses = [(*tokens, policy.n_tokens) for tokens in policy.responses]
    n = len(responses)

    def completion(y, cut, power):
        """Probability of writing y's tokens from `cut` on, in proportion to that power of the next-token law."""
        total = 0.0
        for t in range(cut, len(y)):
            row = policy.next_token([0], [y[:t]])[0] * power
            total += row[y[t]] - logsumexp(row)
        return np.exp(total)

    log_p = np.array([np.log(completion(y, 0, 1.0)) for y in responses])
    matrix = np.zeros((n, n))
    for i, old in enumerate(responses):
        for cut in range(len(old)):
            for power, share in ((alpha, 1 - exploring), (1.0, exploring)):
                for j, new in enumerate(responses):
                    if new[:cut] == old[:cut] and len(new) > cut:
                        forth, back = completion(new, cut, power), completion(old, cut, power)
                        ratio = np.exp(alpha * (log_p[j] - log_p[i])) * back * len(old) / (forth * len(new))
                        matrix[i, j] += share / len(old) * forth * min(1.0, ratio)
        matrix[i, i] += 1 - matrix[i].sum()
    return matrix


@pytest.mark.parametrize("exploring", [0.0, 0.5])
def test_the_chain_forgets_its_start_as_fast_as_promised(exploring):
    """``(1 - (1-e) Z_α/L)^s`` bounds the total variation from every start, and the samples follow the matrix."""
    policy, alpha = tree(7, 2, 2, eos=True), 2.0
    exact = policy.table().log_probs[0]
    law, z, length = np.exp(laws.power(exact, alpha)), np.exp(alpha * exact).sum(), policy.horizon + 1
    matrix = kernel(policy, alpha, exploring)
    np.testing.assert_allclose(law @ matrix, law, atol=1e-12)
    state = np.eye(len(law))
    for s in range(1, 30):
        state = state @ matrix
        assert max(total_variation(row, law) for row in state) <= (1 - (1 - exploring) * z / length) ** s + 1e-12
    start = np.exp(policy.tempered(1 / alpha).table().log_probs[0]) @ matrix @ matrix
    options = dict(alpha=alpha, chains=2_000, steps=2, exploring=exploring, max_tokens=length)
    found = empirical(policy, mcmc(policy.next_token, [2], [0], **options).responses[0])
    assert total_variation(found, start) < 1.5 * iid_variation(start, 2_000)


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (smc, {"alpha": 0.5}, "alpha=0.5; expected a number from 1"),
        (smc, {"alpha": np.inf}, "alpha=inf"),
        (mcmc, {"alpha": 1e300}, r"alpha=1e\+300; expected a number from 1 to 1e\+06"),
        (smc, {"max_tokens": 0}, "max_tokens=0; expected an integer"),
        (mcmc, {"max_tokens": 2.0}, r"max_tokens=2\.0; expected an integer"),
        (smc, {"samples": 4, "particles": 2}, "particles=2 for samples=4"),
        (smc, {"samples": 1, "particles": 2.5}, r"particles=2\.5; expected an integer"),
        (smc, {"samples": 0}, "samples=0; expected an integer from 1 to 1,000,000"),
        (smc, {"samples": 10**9}, "samples=1000000000; expected an integer from 1 to 1,000,000"),
        (smc, {"resample_below": 2.0}, r"resample_below=2\.0"),
        (mcmc, {"chains": 0}, "chains=0"),
        (mcmc, {"steps": -1}, "steps=-1; expected an integer ≥ 0"),
        (mcmc, {"exploring": 1.5}, r"exploring=1\.5"),
        (mcmc, {"prompts": [0, 0]}, r"prompts=\[0, 0\]; expected at least one number, each once"),
    ],
)
def test_bad_arguments(sampler, options, message):
    policy, options = tree(1, 2, 2, eos=True), {"max_tokens": 3, "alpha": 2.0, "prompts": [0], **options}
    with pytest.raises(ValueError, match=message):
        sampler(policy.next_token, [2], **options)


@pytest.mark.parametrize("sampler", [smc, mcmc])
def test_a_broken_model_is_refused(sampler):
    with pytest.raises(ValueError, match=r"next_token: the largest log-probability .* is nan"):
        sampler(lambda _, prefixes: np.full((len(prefixes), 2), np.nan), [1], [0], alpha=2.0, max_tokens=2)


def test_on_the_shipped_model():
    """Log-likelihoods are those of re-scoring; Z_2 is the mean likelihood of samples; a larger power is likelier."""
    model, tokenizer = load_model("arithmetic-1m", device="cpu")
    task = arithmetic.load(4)
    oracle = HuggingFaceOracle(model, tokenizer, max_new_tokens=task.max_new_tokens)
    tree, prompts = oracle.next_token(task.prompts), list(range(4))
    common = dict(max_tokens=oracle.max_new_tokens)
    two = smc(tree, oracle.stop_ids, prompts, alpha=2.0, samples=32, **common)
    chains = mcmc(tree, oracle.stop_ids, prompts, alpha=2.0, chains=8, steps=16, **common)
    for sampled in (two, chains):
        scores = oracle.evaluate(task.prompts, [[r.tokens for r in row] for row in sampled.responses])
        np.testing.assert_allclose(
            np.stack(scores), [[r.log_likelihood for r in row] for row in sampled.responses], atol=2e-4
        )
    assert np.all((chains.acceptance > 0) & (chains.acceptance < 1)) and np.all((two.ess > 0) & (two.ess <= 1))
    base = oracle.sample(task.prompts, 256)
    likelihood = np.exp([[r.log_likelihood for r in row] for row in base])
    error = likelihood.std(axis=1) / 16
    assert np.all(np.abs(np.exp(two.log_z) - likelihood.mean(axis=1)) < 4 * error + 0.1 * likelihood.mean(axis=1))
    four = smc(tree, oracle.stop_ids, prompts, alpha=4.0, samples=32, **common)
    means = [
        np.mean([[r.log_likelihood for r in row] for row in sampled])
        for sampled in (base, two.responses, four.responses)
    ]
    assert means[0] < means[1] < means[2]


# What the samplers report ---------------------------------------------------------------------------------------------


def one_step(probs):
    """Responses of one token: the law of a table, with nothing else to write."""
    return lambda _, prefixes: np.tile(np.log(probs), (len(prefixes), 1))


def test_one_token_needs_no_luck():
    """Proposals are from the power law itself, so all weights are equal and every one of them is accepted."""
    law, z = one_step([0.6, 0.3, 0.1]), 0.36 + 0.09 + 0.01
    found = smc(law, [0, 1, 2], [3, 5], alpha=2.0, samples=50, max_tokens=1)
    np.testing.assert_allclose(np.exp(found.log_z), [z, z])
    np.testing.assert_allclose(found.ess, 1)
    assert np.isnan(found.acceptance).all() and found.acceptance.shape == (2,)
    assert [len(row) for row in found.responses] == [50, 50]
    for row in found.responses:
        for response in row:
            assert response.finished and response.log_likelihood == pytest.approx(
                np.log([0.6, 0.3, 0.1])[response.tokens[0]]
            )
    chains = mcmc(law, [0, 1, 2], [3, 5], alpha=2.0, chains=50, steps=10, exploring=0.0, max_tokens=1)
    np.testing.assert_array_equal(chains.acceptance, [1, 1])
    assert np.isnan(chains.ess).all() and np.isnan(chains.log_z).all() and chains.log_z.shape == (2,)
    assert [len(row) for row in chains.responses] == [50, 50]
    # Without steps the chain is at its start: a sample of q.
    start = mcmc(law, [0, 1, 2], [0], alpha=2.0, chains=4_000, steps=0, max_tokens=1)
    share = np.bincount([r.tokens[0] for r in start.responses[0]], minlength=3) / 4_000
    np.testing.assert_allclose(share, np.array([0.36, 0.09, 0.01]) / z, atol=0.03)
    assert start.acceptance.tolist() == [0.0]


def test_exploring_proposals_are_accepted_by_the_ratio_of_powers():
    """From π at α = 2 with one token: y' is accepted with min(1, π(y')/π(y)); in the long run (.8, .2) → 2·.8·.2·.25…"""
    probs = np.array([0.8, 0.2])
    law = probs**2 / (probs**2).sum()
    found = mcmc(one_step(probs), [0, 1], [0], alpha=2.0, chains=500, steps=40, exploring=1.0, max_tokens=1)
    rate = sum(law[i] * probs[j] * min(1, probs[j] / probs[i]) for i in range(2) for j in range(2))
    assert found.acceptance[0] == pytest.approx(rate, abs=0.02)
    assert np.mean([r.tokens[0] for r in found.responses[0]]) == pytest.approx(law[1], abs=0.03)


def test_the_effective_sample_size_is_that_of_the_weights():
    """Two first tokens, one of which leads to a sure end and one to an even choice: weights c(h) of 1 and 1/2."""

    def law(_, prefixes):
        after = {(): [0.5, 0.5, 0], (0,): [0, 0, 1.0], (1,): [0.5, 0, 0.5], (1, 0): [0, 0, 1.0]}
        with np.errstate(divide="ignore"):
            return np.log([after[tuple(prefix)] for prefix in prefixes])

    found = smc(law, [2], [0], alpha=2.0, samples=100, particles=1_000, resample_below=0.0, max_tokens=5)
    # Half of the particles at each weight: (Σw)²/(n Σw²) = .75²/.625.
    assert found.ess[0] == pytest.approx(0.75**2 / 0.625, abs=1e-3)
    assert np.exp(found.log_z[0]) == pytest.approx(0.5 * 0.75, abs=1e-3)  # Σ π² = 1/4 + 1/16 + 1/16
    counts = {}
    for response in found.responses[0]:
        counts[response.tokens] = counts.get(response.tokens, 0) + 1
    assert counts == {
        (0, 2): pytest.approx(67, abs=1),
        (1, 2): pytest.approx(17, abs=2),
        (1, 0, 2): pytest.approx(17, abs=2),
    }
    for response in found.responses[0]:
        assert response.log_likelihood == pytest.approx(np.log(0.5) if response.tokens == (0, 2) else np.log(0.25))
    # Resampled whenever the weights differ, they are equal in the end.
    always = smc(law, [2], [0], alpha=2.0, samples=100, particles=1_000, resample_below=1.0, max_tokens=5)
    assert always.ess[0] == pytest.approx(1) and np.exp(always.log_z[0]) == pytest.approx(0.375, abs=0.01)


def test_particles_are_eight_per_sample_unless_told():
    policy = tree(3, 3, 4, eos=True)
    options = dict(alpha=3.0, max_tokens=5, samples=12)
    told = smc(policy.next_token, [3], [0], particles=96, **options)
    assert smc(policy.next_token, [3], [0], **options).responses == told.responses
    assert smc(policy.next_token, [3], [0], particles=12, **options).responses != told.responses
    defaults = smc(policy.next_token, [3], [0], alpha=3.0, max_tokens=5)
    assert (
        defaults.responses
        == smc(policy.next_token, [3], [0], alpha=3.0, max_tokens=5, samples=8, resample_below=0.5, seed=0).responses
    )
    chains = mcmc(policy.next_token, [3], [0], alpha=3.0, max_tokens=5)
    assert (
        chains.responses
        == mcmc(
            policy.next_token, [3], [0], alpha=3.0, max_tokens=5, chains=8, steps=64, exploring=0.5, seed=0
        ).responses
    )


@pytest.mark.parametrize("n", [0, 1, 7, 1_000])
def test_systematic_counts_are_right_in_expectation_and_within_one(n):
    weights = np.array([0.5, 0.0, 1.5, 3.0, 1e-12])
    rng = np.random.default_rng(0)
    counts = np.array([_systematic(weights, n, rng) for _ in range(400)])
    assert np.all(counts.sum(axis=1) == n) and np.all(counts[:, 1] == 0)
    expected = n * weights / weights.sum()
    assert np.all(counts >= np.floor(expected - 1e-9)) and np.all(counts <= np.ceil(expected + 1e-9))
    np.testing.assert_allclose(counts.mean(axis=0), expected, atol=0.1)
    assert counts.dtype.kind == "i"


def test_tokens_are_sampled_by_their_weights_and_never_without():
    logits = np.log([[0.2, 0.5, 0.3]]) - 700
    for u, token in ((0.0, 0), (0.199, 0), (0.201, 1), (0.699, 1), (0.701, 2), (1 - 1e-16, 2)):
        assert _sample(logits, np.array([u])).tolist() == [token]
    with np.errstate(divide="ignore"):
        padded = np.log([[0.0, 0.4, 0.6, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert _sample(padded, np.array([0.0, 1.0])).tolist() == [1, 0]
    assert _sample(padded, np.array([1.0, 0.5])).tolist() == [2, 0]


def test_the_samples_of_a_prompt_are_its_own():
    """Which other prompts there are, and in which order, does not matter: prompts of different lengths, both samplers."""
    policy = tree(9, 2, 5, eos=True, n_prompts=3)
    options = dict(alpha=2.0, max_tokens=6, seed=3)
    for sampler, size in ((smc, {"samples": 25}), (mcmc, {"chains": 25, "steps": 9})):
        every = sampler(policy.next_token, [2], [0, 1, 2], **size, **options)
        some = sampler(policy.next_token, [2], [2, 0], **size, **options)
        assert some.responses == [every.responses[2], every.responses[0]]
        for field in ("acceptance", "ess", "log_z"):
            np.testing.assert_array_equal(getattr(some, field), getattr(every, field)[[2, 0]])


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        (smc, {"alpha": 1 - 1e-9}, "alpha=0.99"),
        (smc, {"prompts": []}, r"prompts=\[\]; expected at least one number"),
        (smc, {"prompts": [1, 1]}, r"prompts=\[1, 1\]"),
        (smc, {"samples": 0}, "samples=0"),
        (smc, {"samples": 9, "particles": 8}, "particles=8 for samples=9"),
        (smc, {"particles": 8_000_001}, "particles=8000001"),
        (smc, {"resample_below": -0.1}, r"resample_below=-0\.1"),
        (smc, {"resample_below": 1.1}, r"resample_below=1\.1"),
        (mcmc, {"exploring": 1.1}, r"exploring=1\.1"),
        (mcmc, {"exploring": -0.1}, r"exploring=-0\.1"),
        (mcmc, {"chains": 0}, "chains=0"),
        (mcmc, {"chains": 1_000_001}, "chains=1000001"),
        (mcmc, {"steps": -1}, "steps=-1"),
        (mcmc, {"max_tokens": 0}, "max_tokens=0"),
    ],
)
def test_more_bad_arguments_are_named(sampler, options, message):
    given = {"prompts": [0], "alpha": 2.0, "max_tokens": 1, **options}
    with pytest.raises(ValueError, match=message):
        sampler(one_step([0.5, 0.5]), [0, 1], given.pop("prompts"), **given)


def test_weights_in_single_precision_are_added_in_double():
    counts = _systematic(np.full(100_000, 0.1, dtype=np.float32), 100_000, np.random.default_rng(0))
    np.testing.assert_array_equal(counts, 1)
    logits = np.zeros((1, 100_000), dtype=np.float32) - np.float32(11.5)
    assert _sample(logits, np.array([0.123456]))[0] == 12_345
    assert _sample(logits, np.array([0.999995]))[0] == 99_999
