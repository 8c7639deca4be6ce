"""Does a planned size have the promised power? Pilots of 30 to 1,000 prompts plan, the true power of each plan is looked up.

python -m experiments.planning [--quick]

A world draws prompts without end: a pass rate from a Beta law, and scores that tell right from wrong responses more or less
well, prompt by prompt. Each pilot is planned from as a user would; the power that a planned size truly has is the share of
simulated studies of that size, of fresh prompts from the same world, whose two-sided t test excludes 0. Prompts' numbers
are shifted so that the true mean is the effect asked for.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from experiments import record
from sharptheory.measure.best_of_n import best_of_n_curve
from sharptheory.measure.planning import plan, prompts_needed
from sharptheory.measure.pool import Pool

#: Beta law of the pass rate in each world.
WORLDS = {"pass rates spread": (1.0, 1.0), "rare successes": (0.3, 1.5), "mostly decided": (0.2, 0.2)}
#: N and what it is compared with.
QUANTITIES = {
    "accuracy of one sample": (1, "constant"),
    "best-of-4 minus one sample": (4, "sample"),
    "best-of-4 minus greedy": (4, "greedy"),
}


@dataclass(frozen=True)
class Config:
    effects: tuple[float, ...] = (0.02, 0.05)
    power: float = 0.8
    samples: int = 16
    cost_per_prompt: float = 8.0
    pilots: int = 100
    sizes: tuple[int, ...] = (30, 100, 300, 1_000)
    bank: int = 200_000
    studies: int = 4_000
    resamples: int = 200
    seed: int = 0


def world_of(name: str, prompts: int, m: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Scores and correctness ``[x, m]`` of fresh prompts, and whether greedy decoding is right ``[x]``."""
    rate = rng.beta(*WORLDS[name], size=prompts)
    correct = rng.random((prompts, m)) < rate[:, None]
    scores = rng.normal(size=(prompts, m)) + correct * rng.normal(1.0, 0.5, size=(prompts, 1))
    # Greedy decoding is right where right responses are likely, with exceptions.
    greedy = rng.random(prompts) < 1 / (1 + np.exp(-8 * (rate - 0.5)))
    return scores, correct, greedy


def pilot_of(name: str, prompts: int, m: int, rng: np.random.Generator) -> Pool:
    scores, correct, greedy = world_of(name, prompts, m, rng)
    samples = pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(prompts), m),
            "log_likelihood": scores.ravel() - 50.0,
            "correct": correct.ravel(),
            "source": "world",
        }
    )
    rows = pd.DataFrame(
        {"prompt_id": np.arange(prompts), "log_likelihood": -50.0, "correct": greedy, "source": "greedy"}
    )
    return Pool.from_frame(pd.concat([samples, rows], ignore_index=True))


def numbers(name: str, n: int, against: str, prompts: int, m: int, rng: np.random.Generator) -> np.ndarray:
    """What a study averages: one number of each prompt, from m samples ``[x]``."""
    scores, correct, greedy = world_of(name, prompts, m, rng)
    one, best = best_of_n_curve(scores, correct, [1, n]).T
    return best - {"sample": one, "greedy": greedy, "constant": 0.0}[against]


def true_power(
    values: np.ndarray, grid: np.ndarray, effect: float, studies: int, rng: np.random.Generator
) -> np.ndarray:
    """Share of studies of each size whose t test shows the effect, ``[K]``; studies of different sizes share prompts."""
    values = values - values.mean() + effect
    hits = np.zeros(len(grid))
    for _ in range(10):
        drawn = values[rng.integers(len(values), size=(studies // 10, grid[-1]))]
        total, squares = np.cumsum(drawn, axis=1)[:, grid - 1], np.cumsum(drawn**2, axis=1)[:, grid - 1]
        spread = np.sqrt(np.maximum(squares - total**2 / grid, 0.0) / (grid - 1))
        with np.errstate(divide="ignore"):
            statistic = np.abs(total) / np.sqrt(grid) / spread
        hits += (statistic > stats.t.ppf(0.975, grid - 1)).mean(axis=0)
    return hits / 10


def compute(config: Config) -> pd.DataFrame:
    rng, rows = np.random.default_rng(config.seed), []
    for world in WORLDS:
        for quantity in QUANTITIES:
            truth = _Truth(world, quantity, config, rng)
            for size in config.sizes:
                for _ in range(config.pilots):
                    rows += _plans(world, quantity, size, truth, config, rng)
    names = [
        "world",
        "quantity",
        "pilot_prompts",
        "effect",
        "samples",
        "prompts",
        "prompts_needed",
        "power",
        "range_holds",
    ]
    return pd.DataFrame(rows, columns=names)


class _Truth:
    """The power that any size truly has in a world, computed once for each number of samples and each effect."""

    def __init__(self, world: str, quantity: str, config: Config, rng: np.random.Generator):
        self.world, self.quantity, self.config, self.rng = world, quantity, config, rng
        self.known = {}

    def __call__(self, m: int, effect: float, prompts: int) -> tuple[float, int]:
        """The power of so many prompts with m samples each, and the prompts that the true variance asks for."""
        if m not in self.known:
            values = numbers(self.world, *QUANTITIES[self.quantity], self.config.bank, m, self.rng)
            self.known[m] = {each: self._powers(values, each) for each in self.config.effects}
        grid, power, needed = self.known[m][effect]
        return float(np.interp(np.log(prompts), np.log(grid), power)), needed

    def _powers(self, values: np.ndarray, effect: float) -> tuple[np.ndarray, np.ndarray, int]:
        needed = int(prompts_needed(values.var(), effect, power=self.config.power))
        grid = np.unique(np.geomspace(max(needed / 6, 4), 3 * needed, 24).round().astype(int))
        return grid, true_power(values, grid, effect, self.config.studies, self.rng), needed


def _plans(
    world: str, quantity: str, size: int, truth: _Truth, config: Config, rng: np.random.Generator
) -> list[tuple]:
    """What one pilot plans, for each effect: only the number of prompts depends on it."""
    n, against = QUANTITIES[quantity]
    best = plan(
        pilot_of(world, size, config.samples, rng),
        config.effects[0],
        n=n,
        against=against,
        power=config.power,
        cost_per_prompt=config.cost_per_prompt,
        cost_per_sample=1.0,
        resamples=config.resamples,
        seed=int(rng.integers(2**31)),
    ).best
    rows = []
    for effect in config.effects:
        variances = np.array([best.variance_low, best.variance, best.variance_high])
        low, prompts, high = (int(each) for each in prompts_needed(variances, effect, power=config.power))
        reached, needed = truth(best.samples, effect, prompts)
        rows.append((world, quantity, size, effect, best.samples, prompts, needed, reached, low <= needed <= high))
    return rows


if __name__ == "__main__":
    record.main("planning", __doc__, compute, Config(), {"pilots": 4, "bank": 4_000, "studies": 200, "resamples": 20})
