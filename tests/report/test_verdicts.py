"""No sentence contradicts the interval that it prints: pools of 1 to 30 prompts, and summaries with any intervals."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharptheory.report.findings import findings
from sharptheory.report.schema import FEWEST_PROMPTS, Gain, Interval, RewardAccuracy, RewardCurve, Summary
from sharptheory.report.summary import diagnose
from tests.report.pools import hand_pool

#: What a sentence says that claims something: the sign that its intervals then have, and what they are compared with.
CLAIMS = {
    r"^Sharpening pays": (1, 0.0),
    r"sharpening hurts": (-1, 0.0),
    r"is better than greedy": (1, 0.0),
    r"is worse than greedy": (-1, 0.0),
    r"^Better than log-likelihood": (1, 0.0),
    r"^Worse than log-likelihood": (-1, 0.0),
    r"^Accuracy peaks": (1, 0.0),
    r"^On another": (1, 0.0),
    r": likelihood knows which": (1, 0.5),
    r": likelihood is anti-aligned": (-1, 0.5),
    r"not distinguishable from greedy": (0, 0.0),
    r"^Not distinguishable from log-likelihood": (0, 0.0),
    r"^That sharpening pays is not shown": (0, 0.0),
    r"changes nothing|right on the same prompts": (0, 0.0),
    r": it is not shown that likelihood knows": (0, 0.5),
    r"close to a coin flip": (0, 0.5),
    r"best-of-\d+ has .* points: \d+ prompts? decide nothing": (None, 0.0),
}
#: No other sentence may use these words.
WORDS = r"\b(better|worse|hurts?|pays|gains?|peaks|knows which|anti-aligned|distinguishable|stochastically)\b"
OTHERS = (
    r"^The likelihoods of correct responses stochastically dominate .* \(p (<|= 0\.0[0-4])",
    r"^Bad news: ",
    r"^No verdict: ",
)


def sentences(summary: Summary) -> list[str]:
    return [each for text in findings(summary).values() for each in re.split(r"(?<=\.) (?=[A-Z∞])", text)]


def intervals(sentence: str) -> list[tuple[float, float]]:
    """Those printed; a point is its own interval."""
    number = r"[+-]?\d+(?:\.\d+)?"
    found = re.findall(rf"\[({number})(?: %)?, ({number})(?: %)?\]", sentence)
    found += [(value, value) for value in re.findall(rf"({number}) \(the same on every prompt\)", sentence)]
    return [(float(low), float(high)) for low, high in found]


def sign(low: float, high: float, null: float) -> int:
    return int(low > null) - int(high < null)


def claims(summary: Summary) -> set[str]:
    """The kinds of what a summary's sentences claim, each borne out by the intervals of its sentence."""
    seen = set()
    for sentence in sentences(summary):
        kinds = [kind for kind in CLAIMS if re.search(kind, sentence)]
        for kind in kinds:
            side, null = CLAIMS[kind]
            printed = intervals(sentence)
            assert printed or side == 0, sentence
            assert side is None or all(sign(*each, null) == side for each in printed), sentence
        if not kinds and re.search(WORDS, sentence):
            assert any(re.search(other, sentence) for other in OTHERS), sentence
        seen |= set(kinds)
    return seen


def world(n_prompts: int, aligned: float, rng: np.random.Generator) -> pd.DataFrame:
    """Samples of random policies whose correct response is the likeliest on a share `aligned` of the prompts."""
    rows, m = [], int(rng.choice([2, 8, 9]))
    for x in range(n_prompts):
        probs = np.sort(rng.dirichlet(np.full(4, 2.0)))[::-1]
        right = 0 if rng.random() < aligned else rng.integers(1, 4)
        for j, y in enumerate(np.append(rng.choice(4, size=m, p=probs), rng.integers(4))):
            rows.append(dict(prompt_id=x, response="abcd"[y], answer="abcd"[y], log_likelihood=np.log(probs[y]),
                             correct=y == right, length=5 + 3 * y, source="greedy" if j == m else "model"))  # fmt: skip
    return pd.DataFrame(rows)


def test_no_sentence_about_a_pool_contradicts_its_interval():
    seen = set()
    for n_prompts in range(1, 31):
        rng = np.random.default_rng(n_prompts)
        summary = diagnose(world(n_prompts, (1.0, 0.4, 0.0)[n_prompts % 3], rng)).summary
        found = claims(summary)
        assert not found or (summary.judged and n_prompts >= FEWEST_PROMPTS), "a verdict without its premises"
        seen |= found
    assert len(seen) >= 9, seen


@st.composite
def differences(draw, bottom: float = -1.0, *, few: bool = True) -> Interval:
    """Any interval, also without width, also of few prompts."""
    ends = st.integers(round(100_000 * bottom), 100_000).map(lambda number: number / 100_000)
    ends |= st.sampled_from([bottom, 0.0, 0.5, 1.0])
    low, value, high = sorted(draw(st.tuples(ends, ends, ends)))
    n_prompts = draw(st.sampled_from([1, 2, 19, 20, 500] if few else [20, 500]))
    if n_prompts == 1:
        return Interval(value, None, None, 1)
    return Interval(*draw(st.sampled_from([(value, low, high), (value, value, value)])), n_prompts)


@pytest.fixture(scope="module")
def hand() -> Summary:
    return diagnose(hand_pool(n_prompts=24, likely_right=21, greedy_right=6)).summary


@given(
    gain=differences(few=False), greedy=differences(), reward=differences(few=False), within=differences(0.0),
    missed=differences(0.0, few=False),
)  # fmt: skip
def test_no_sentence_of_a_summary_contradicts_its_interval(hand, gain, greedy, reward, within, missed):
    nats, (own, other) = hand.gain_over_sampling.log_likelihood, hand.rewards
    other = RewardCurve(other.name, (RewardAccuracy(2, other.curve[-1].accuracy, reward),))
    claims(
        dataclasses.replace(
            hand,
            gain_over_sampling=Gain(gain, nats),
            gain_over_greedy=Gain(greedy, nats),
            rewards=(own, other),
            missed=missed,
            alignment=dataclasses.replace(hand.alignment, within=within),
        )
    )
