"""Multi-hop word problems: who has how many, stated in any order, some of it beside the point.

A prompt states facts in random order ("Cal has 5 more apples than Bob. Bob has 7 apples. … How many apples does Cal
have?"); the answer takes several of them, each building on another.  A solution works out one person after the other,
" Bob 7. Cal 7+5=12. Answer 12", in any order that respects the facts, sums written either way round, and sometimes
with a person who does not matter: one answer, many correct responses.

Training and test problems are disjoint by construction, as in `arithmetic`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

import numpy as np

from sharptheory.errors import UserError
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.generated import sample_split
from sharptheory.tasks.task import Task

NAMES = ("Ann", "Bob", "Cal", "Dee", "Eve", "Fay", "Gus", "Hal", "Ida", "Joe", "Kim", "Lou")
THINGS = ("apples", "books", "coins", "cards", "pens", "shells")
RELATIONS = ("more", "fewer", "twice", "together")
CANONICAL = 0.5
#: The largest number: a machine integer, its double too.
MOST_VALUE = 10**9


@dataclass(frozen=True)
class Difficulty:
    """Between `min_hops` and `max_hops` facts that matter, up to `distractors` that do not, numbers up to `max_value`."""

    min_hops: int = 2
    max_hops: int = 4
    distractors: int = 2
    max_value: int = 99

    def __post_init__(self):
        if not 1 <= self.min_hops <= self.max_hops:
            raise UserError(f"min_hops={self.min_hops}, max_hops={self.max_hops}; expected 1 ≤ min ≤ max")
        if self.distractors < 0 or self.max_hops + self.distractors > len(NAMES):
            raise UserError(
                f"max_hops={self.max_hops}, distractors={self.distractors}; expected at most {len(NAMES)} people in all"
            )
        if not 9 <= self.max_value <= MOST_VALUE:
            raise UserError(f"max_value={self.max_value}; expected 9 to {MOST_VALUE:,}")


@dataclass(frozen=True)
class Fact:
    """How many one person has: `number` of them, or so many more, fewer or times than those `of` whom it depends on."""

    name: str
    relation: str
    number: int
    of: tuple[str, ...]
    value: int

    def sentence(self, thing: str) -> str:
        """The fact in English."""
        match self.relation, self.of:
            case "has", ():
                clause = f"{self.number} {thing}"
            case (("more" | "fewer"), (other,)):
                clause = f"{self.number} {self.relation} {thing} than {other}"
            case "twice", (other,):
                clause = f"twice as many {thing} as {other}"
            case "together", (one, other):
                clause = f"as many {thing} as {one} and {other} together"
        return f"{self.name} has {clause}."

    def step(self, values: dict[str, int], *, swap: bool) -> str:
        """Its line in a solution, `values` being those of the people before it; sums and products may be swapped."""
        match self.relation, tuple(values[name] for name in self.of):
            case "has", ():
                return f" {self.name} {self.value}."
            case "more", (other,):
                sides = [other, "+", self.number]
            case "fewer", (other,):
                sides, swap = [other, "-", self.number], False
            case "twice", (other,):
                sides = [2, "*", other]
            case "together", (one, other):
                sides = [one, "+", other]
        return f" {self.name} {''.join(map(str, sides[::-1] if swap else sides))}={self.value}."


@dataclass(frozen=True)
class Problem:
    """Facts in an order in which they can be worked out; the last one of the first `hops` is asked for.

    Args:
        facts: the first `hops` matter, each building on the one before it.
        hops: how many matter.
        thing: what people have.
        order: indices of the facts, as the prompt states them.
    """

    facts: tuple[Fact, ...]
    hops: int
    thing: str
    order: tuple[int, ...]

    @property
    def answer(self) -> int:
        """How many the one who is asked about has."""
        return self.facts[self.hops - 1].value

    @property
    def prompt(self) -> str:
        """The facts in English, and the question."""
        sentences = [self.facts[i].sentence(self.thing) for i in self.order]
        return " ".join([*sentences, f"How many {self.thing} does {self.facts[self.hops - 1].name} have?"])


def sample_problem(rng: np.random.Generator, difficulty: Difficulty = Difficulty()) -> Problem:
    """One problem."""
    hops = int(rng.integers(difficulty.min_hops, difficulty.max_hops + 1))
    n_facts = hops + int(rng.integers(difficulty.distractors + 1))
    names = [NAMES[i] for i in rng.permutation(len(NAMES))[:n_facts]]
    facts: list[Fact] = []
    while len(facts) < n_facts:
        k = len(facts)
        # Each fact that matters builds on the one before it; a distractor on anyone.
        on = facts[k - 1 if k < hops else int(rng.integers(k))] if facts else None
        fact = _sample_fact(rng, names[k], on, facts, difficulty.max_value)
        if 1 <= fact.value <= difficulty.max_value:
            facts.append(fact)
    return Problem(tuple(facts), hops, str(rng.choice(THINGS)), tuple(rng.permutation(n_facts).tolist()))


def _sample_fact(rng, name: str, on: Fact | None, facts: list[Fact], max_value: int) -> Fact:
    number = int(rng.integers(2, max(3, max_value // 3)))
    if on is None:
        return Fact(name, "has", number, (), number)
    relation = str(rng.choice(RELATIONS[: 4 if len(facts) > 1 else 3]))
    if relation == "together":
        other = facts[int(rng.integers(len(facts)))]
        if other is on:
            relation = "twice"
        else:
            return Fact(name, relation, 0, (on.name, other.name), on.value + other.value)
    values = {"more": on.value + number, "fewer": on.value - number, "twice": 2 * on.value}
    return Fact(name, relation, number, (on.name,), values[relation])


def sample_solution(problem: Problem, rng: np.random.Generator, *, canonical: float = CANONICAL) -> str:
    """One valid solution: with probability `canonical` the facts that matter in their order, else any order."""
    varied = rng.random() >= canonical
    by_name = {fact.name: fact for fact in problem.facts}
    needed, todo = set(), [problem.facts[problem.hops - 1].name]
    while todo:
        name = todo.pop()
        needed.add(name)
        todo += by_name[name].of
    if varied:
        for fact in problem.facts:
            if set(fact.of) <= needed and fact.name not in needed and rng.random() < 0.3:
                needed.add(fact.name)
    values: dict[str, int] = {}
    steps = []
    while len(values) < len(needed):
        ready = [f for f in problem.facts if f.name in needed - set(values) and set(f.of) <= set(values)]
        fact = ready[int(rng.integers(len(ready))) if varied else 0]
        steps.append(fact.step(values, swap=varied and rng.random() < 0.5))
        values[fact.name] = fact.value
    return "".join(steps) + f" Answer {problem.answer}"


def sample_problems(
    n: int,
    rng: np.random.Generator,
    *,
    split: str,
    difficulty: Difficulty = Difficulty(),
    distinct: bool = False,
) -> list[Problem]:
    """`n` problems of one split, as `generated.sample_split`."""
    return sample_split(
        n,
        lambda: sample_problem(rng, difficulty),
        lambda problem: problem.prompt,
        split=split,
        distinct=distinct,
        about=difficulty,
    )


def training_pairs(n: int, rng: np.random.Generator, **difficulty) -> list[tuple[str, str]]:
    """`n` training prompts with one sampled solution each."""
    problems = sample_problems(n, rng, split="train", difficulty=Difficulty(**difficulty))
    return [(problem.prompt, sample_solution(problem, rng)) for problem in problems]


def extract(response: str) -> str | None:
    """The whole number after the last "Answer", which must end the response; None if there is none.

    >>> extract(" Bob 7. Cal 7+5=12. Answer 12")
    '12'
    """
    found = re.search(r"Answer:? (-?[0-9]{1,18})\.?$", response.rstrip())
    return str(int(found.group(1))) if found else None


def load(n_prompts: int, *, seed: int = 0, split: str = "test", **difficulty) -> Task:
    """`n_prompts` distinct problems of a split, with their answers.

    Args:
        n_prompts: how many.
        seed: decides which.
        split: ``train`` or ``test``.
        difficulty: as in `Difficulty`.

    Raises:
        UserError: there are fewer problems, or no such difficulty.
    """
    chosen, rng = Difficulty(**difficulty), np.random.default_rng([seed, 0x3409])
    problems = sample_problems(n_prompts, rng, split=split, difficulty=chosen, distinct=True)
    return Task(
        name="multihop",
        prompts=[problem.prompt for problem in problems],
        answers=[str(problem.answer) for problem in problems],
        extract=extract,
        max_new_tokens=16 * (chosen.max_hops + chosen.distractors + 1),
    )


ENTRY = Entry(
    "multihop", load, "word problems of several facts", options=asdict(Difficulty()), training_pairs=training_pairs
)
