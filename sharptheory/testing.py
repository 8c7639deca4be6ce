"""Hypothesis strategies and assertions of the theory, for testing your own policies, laws and pools.

```python
@given(policies())
def test_my_law(policy):
    assert_law(my_law(policy.log_probs), policy)
```
"""

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from sharptheory.checks import REGISTRY, SLACK, Check, ratio
from sharptheory.checks.instances import Instance
from sharptheory.theory.divergences import kl
from sharptheory.theory.policies import AutoregressivePolicy, TabularPolicy

#: What random floats never hit: exact ties, gaps of rounding size, gaps at the edge of the tie tolerance, underflow.
SPECIAL_LOGITS = (0.0, 0.0, -1e-15, 1e-15, -0.8e-12, -1e-12, -1.6e-12, -3e-12, -np.log(2), -1.0, -36.0, -745.0, -1000.0)


@st.composite
def logits(draw, *, max_prompts: int = 4, max_responses: int = 8, allow_zero: bool = True) -> np.ndarray:
    """Unnormalised log-weights ``[X, Y]``: ties, near-ties, one response, extreme skew, underflow, ``-inf`` if allowed.

    Args:
        max_prompts, max_responses: of the table. allow_zero: entries of ``-inf`` too.
    """
    shape = (draw(st.integers(1, max_prompts)), draw(st.integers(1, max_responses)))
    special = (*SPECIAL_LOGITS, -np.inf) if allow_zero else SPECIAL_LOGITS
    entries = st.one_of(st.sampled_from(special), st.floats(-5, 5), st.floats(-700, 0))
    values = draw(arrays(float, shape, elements=entries))
    if draw(st.booleans()):
        values = values[:, :1] + draw(
            arrays(float, shape, elements=st.sampled_from((0.0, 1e-15, -1e-15, -0.8e-12, -1.6e-12, -0.1)))
        )
    # Every prompt keeps a response.
    empty = ~np.isfinite(values).any(axis=1)
    values[empty, 0] = 0.0
    return values


def prompt_logits(n_prompts: int) -> st.SearchStrategy[np.ndarray]:
    """Log-weights of a prompt distribution, tiny weights included.

    Args:
        n_prompts: X.
    """
    entries = st.one_of(st.sampled_from((0.0, -1.0, -30.0, -600.0)), st.floats(-3, 3))
    return arrays(float, (n_prompts,), elements=entries)


@st.composite
def policies(draw, **options) -> TabularPolicy:
    """Tabular policies over the full range of `logits`, with prompt distributions that may have tiny weights."""
    table = draw(logits(**options))
    mu = draw(prompt_logits(len(table)))
    return TabularPolicy(table, np.exp(mu - mu.max()), normalize=True)


@st.composite
def token_trees(draw, *, max_tokens: int = 3, max_horizon: int = 4) -> AutoregressivePolicy:
    """Small token trees of one prompt, ties and sequences without a choice included.

    Args:
        max_tokens: vocabulary size. max_horizon: depth.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    v, horizon = draw(st.integers(1, max_tokens)), draw(st.integers(1, max_horizon))
    scale = draw(st.sampled_from([0.0, 0.3, 1.0, 4.0]))
    depths = [scale * rng.normal(size=(1, v**h, v + 1)) for h in range(horizon)]
    if draw(st.booleans()):
        depths = [np.round(logits) for logits in depths]  # ties
    return AutoregressivePolicy(tuple(log_softmax(logits, axis=-1) for logits in depths))


@st.composite
def instances(draw) -> Instance:
    """Inputs of the registry's checks."""
    base = draw(logits())
    finite = st.floats(-20, 20)
    other = draw(arrays(float, base.shape, elements=st.one_of(st.sampled_from((0.0, -40.0, 40.0)), finite)))
    rewards = draw(arrays(float, base.shape, elements=st.one_of(st.integers(-2, 2).map(float), st.floats(-3, 3))))
    knobs = draw(arrays(float, (5,), elements=st.one_of(st.sampled_from((0.0, 0.5, 1.0)), st.floats(0, 1))))
    return Instance(base, other, rewards, draw(prompt_logits(len(base))), knobs)


@st.composite
def pools(draw, *, max_prompts: int = 3, max_samples: int = 6) -> pd.DataFrame:
    """Pools drawn from a small table: i.i.d. samples with their likelihoods, correct or not by response."""
    policy = draw(policies(max_prompts=max_prompts, max_responses=5))
    n, rng = draw(st.integers(1, max_samples)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = []
    for x, log_probs in enumerate(policy.log_probs):
        probs = np.exp(log_probs)
        for sample, y in enumerate(rng.choice(len(probs), size=n, p=probs / probs.sum())):
            rows.append((x, sample, f"y{y}", float(min(log_probs[y], 0.0)), bool(y % 2 == 0)))
    columns = ["prompt_id", "sample_id", "response", "log_likelihood", "correct"]
    return pd.DataFrame(rows, columns=columns).assign(finished=True)


# Assertions -----------------------------------------------------------------------------------------------------------


def assert_law(law: np.ndarray, base: TabularPolicy, *, tolerance: float = 1e-9) -> None:
    """A law over the base policy's responses: its shape, rows that sum to 1, no mass where the base has none.

    Args:
        law: log-probabilities in nats, ``[X, Y]``. base: the policy it was made from. tolerance: of the sums.

    Raises:
        AssertionError: saying what is wrong, and where.
    """
    assert law.shape == base.shape, f"law has shape {law.shape}, base {base.shape}"
    assert not np.isnan(law).any(), f"law{np.argwhere(np.isnan(law))[0].tolist()} is NaN"
    sums = np.exp(law).sum(axis=1)
    assert np.all(np.abs(sums - 1) <= tolerance), f"row {int(np.argmax(np.abs(sums - 1)))} sums to {sums}"
    foreign = (base.log_probs == -np.inf) & (law > -np.inf)
    assert not foreign.any(), f"law{np.argwhere(foreign)[0].tolist()} has mass where the base has none"


def assert_laws_equal(law: np.ndarray, other: np.ndarray, *, tolerance: float = 1e-9) -> None:
    """Two laws within a total variation and a symmetric KL divergence of `tolerance` per prompt.

    Args:
        law, other: log-probabilities in nats, ``[X, Y]``. tolerance: of each, nats for the divergence.

    Raises:
        AssertionError: they are further apart.
    """
    assert np.all(np.abs(np.exp(law) - np.exp(other)).sum(axis=-1) / 2 <= tolerance)
    assert np.all(kl(law, other) <= tolerance) and np.all(kl(other, law) <= tolerance)


def assert_holds(check: Check | str, instance: Instance) -> float | None:
    """A registered statement on an instance; returns its ratio ``quantity/bound``, None where a premise fails.

    Args:
        check: of the registry, or its name. instance: e.g. of `instances`.

    Raises:
        AssertionError: the statement is broken, beyond `SLACK`.
    """
    check = REGISTRY[check] if isinstance(check, str) else check
    value = ratio(check, instance)
    if value is not None:
        assert value <= 1 + SLACK, f"{check.source}: {check.statement}; quantity/bound = {value:.12g}"
    return value
