"""What ``summary.json`` holds: every number of a diagnosis, typed, versioned and documented once.

`Summary` and its parts say in the annotation of each field what it is. The reader of a file (`Summary.from_json`), the
JSON Schema (`json_schema`, committed as docs/summary.schema.json) and the list of fields (`field_list`, docs/summary.md)
all follow from these annotations.

JSON has no NaN and no infinity: such a number is None here and ``null`` in the file. In an `Interval` that means too few
prompts, in a `Range` an end that overflows. A part that a pool says nothing about is None as a whole.

Whatever is compared was measured on the same prompts, so a comparison is the interval of the difference over prompts. Where
several things are compared with one, their intervals hold together: each is as wide as Bonferroni's inequality asks for.
A verdict needs an interval that decides (`Interval.direction`) and a pool that bears it (`Summary.unmet`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from sharptheory.errors import UserError
from sharptheory.files import parse_json

#: Rises whenever a field changes its name, its type or its meaning.
SCHEMA_VERSION = "4"
#: Fewer prompts decide nothing: a bootstrap over them says little of where it matters, at the ends of an interval.
FEWEST_PROMPTS = 20
#: Below this share of prompts whose likeliest response is certain, a report speaks of answers instead of responses.
FEWEST_CERTIFIED = 0.05
#: Above this share of unfinished responses no verdict is given.
UNFINISHED_LIMIT = 0.2
#: Above this share there is a warning.
UNFINISHED_WARNING = 0.05


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval over prompts."""

    value: Annotated[float | None, "the estimate; null if no prompt says anything"]
    low: Annotated[float | None, "lower end; null if there are too few prompts for an interval"]
    high: Annotated[float | None, "upper end, likewise"]
    n_prompts: Annotated[int | None, "prompts behind it"]

    def direction(self, null: float = 0.0) -> int:
        """1 if the interval lies above `null`, -1 if below, 0 if it decides nothing.

        A bootstrap interval never leaves the range of its data, so that prompts which all point the same way always
        exclude `null`: with fewer than `FEWEST_PROMPTS` that is no evidence, and this is 0.
        """
        return 0 if self.low is None or self.few else int(self.low > null) - int(self.high < null)

    @property
    def few(self) -> bool:
        """Whether its prompts are fewer than `FEWEST_PROMPTS`, too few to decide anything."""
        return (self.n_prompts or 0) < FEWEST_PROMPTS

    @property
    def point(self) -> bool:
        """Whether every prompt has the same value, which leaves the interval without width."""
        return self.low is not None and self.high is not None and self.high - self.low <= 1e-12


@dataclass(frozen=True)
class Range:
    """Two ends between which a number of *these* prompts lies with certainty: what the samples leave open, not chance."""

    low: Annotated[float | None, "lower end"]
    high: Annotated[float | None, "upper end; null if it is infinite or overflows"]


@dataclass(frozen=True)
class Sampling:
    """The samples behind all numbers, and what one of them is worth."""

    n_prompts: Annotated[int, "prompts"]
    n_samples: Annotated[int, "samples of the prompt that has fewest: the largest N of best-of-N"]
    n_samples_max: Annotated[int, "samples of the prompt that has most"]
    n_responses: Annotated[int, "samples of all prompts"]
    n_graded_prompts: Annotated[int, "prompts all of whose samples are known to be correct or not"]
    n_mixed_prompts: Annotated[int, "graded prompts with correct and incorrect samples: only on them selection matters"]
    accuracy: Annotated[Interval | None, "accuracy of one sample; null if nothing is graded"]
    log_likelihood: Annotated[Interval, "mean log-likelihood of one sample [nats]; value null if the pool has none"]
    unfinished: Annotated[float | None, "share of samples cut by the length budget; null if unknown"]
    unreadable: Annotated[dict[str, float], "share of graded samples whose answer could not be read, by reason"]


@dataclass(frozen=True)
class Greedy:
    """Greedy decoding, on the prompts that have a greedy response."""

    accuracy: Annotated[Interval | None, "its accuracy on graded prompts; null if unknown"]
    log_likelihood: Annotated[Interval, "mean log-likelihood of the greedy response [nats]"]


@dataclass(frozen=True)
class BestOfN:
    """Best-of-N by the report's reward at one N: the expected values of what it selects."""

    n: Annotated[int, "number of responses to select from"]
    accuracy: Annotated[Interval | None, "accuracy on graded prompts; null if nothing is graded"]
    over_sampling: Annotated[Interval | None, "that accuracy minus one sample's, paired over prompts"]
    log_likelihood: Annotated[Interval, "mean log-likelihood [nats]"]


@dataclass(frozen=True)
class Accuracy:
    """A point of an accuracy curve."""

    n: Annotated[int, "number of responses"]
    accuracy: Annotated[Interval, "accuracy on graded prompts"]


@dataclass(frozen=True)
class RewardAccuracy:
    """A point of the accuracy curve of a reward."""

    n: Annotated[int, "number of responses"]
    accuracy: Annotated[Interval, "accuracy on graded prompts"]
    over_reward: Annotated[
        Interval | None, "minus that of the report's reward at the same N, paired; all rewards hold together"
    ]
    sampling_error: Annotated[
        float | None, "standard error left by the random subsets that a vote is counted on; null where it is exact"
    ] = None


@dataclass(frozen=True)
class Gain:
    """Best-of-N by the report's reward at the largest N minus something else, paired over prompts."""

    accuracy: Annotated[Interval | None, "difference in accuracy, from -1 to 1; null if unknown"]
    log_likelihood: Annotated[Interval, "difference in mean log-likelihood [nats]"]


@dataclass(frozen=True)
class Peak:
    """The N among 1, 2, 4, … at which best-of-N by the report's reward is most accurate, if it is not the largest."""

    n: Annotated[int, "that N"]
    accuracy: Annotated[float, "accuracy there"]
    over_last: Annotated[Interval, "accuracy there minus at the largest N, paired; holds for all N together"]


@dataclass(frozen=True)
class RewardCurve:
    """Accuracy of best-of-N by one self-reward, or of a vote over answers."""

    name: Annotated[str, "of the reward or vote"]
    curve: Annotated[tuple[RewardAccuracy, ...], "at N = 1, 2, 4, …"]
    auc: Annotated[Interval | None, "AUC inside a prompt; null for a vote"] = None

    @property
    def over_reward(self) -> Interval | None:
        """Its accuracy at the largest N minus that of the report's reward; None for this itself, or if there is none."""
        return self.curve[-1].over_reward


@dataclass(frozen=True)
class Check:
    """A prediction from a quarter of each prompt's samples against the other samples."""

    n: Annotated[int, "number of responses"]
    predicted: Annotated[float, "accuracy predicted"]
    measured: Annotated[float, "accuracy measured on the samples that had no part in the prediction"]
    error: Annotated[float | None, "standard error of the difference over prompts; null for a single prompt"]
    agrees: Annotated[bool, "whether they differ by at most 1.96 standard errors"]

    @property
    def margin(self) -> float | None:
        """By how much the two may differ and still agree."""
        return None if self.error is None else 1.96 * self.error

    @property
    def open(self) -> bool:
        """Whether some prediction, from 0 to 1, would have disagreed: agreement is worth nothing else."""
        return self.margin is not None and max(self.measured, 1 - self.measured) > self.margin + 1e-12


@dataclass(frozen=True)
class Prediction:
    """Accuracy of best-of-N by log-likelihood beyond the pool."""

    curve: Annotated[tuple[Accuracy, ...], "predicted at the pool's N times 1, 2, 4, 8"]
    checks: Annotated[tuple[Check, ...], "how well the same method does from a quarter of the pool"]

    @property
    def open_checks(self) -> tuple[Check, ...]:
        """The checks that could have disagreed."""
        return tuple(check for check in self.checks if check.open)

    @property
    def agreeing(self) -> int:
        """How many of those agree."""
        return sum(check.agrees for check in self.open_checks)

    @property
    def trusted(self) -> bool:
        """Whether there are checks that could have disagreed, and at least half of them agree."""
        return 0 < len(self.open_checks) <= 2 * self.agreeing


@dataclass(frozen=True)
class Dominance:
    """One-sided tests of whether likelihoods of correct responses stochastically dominate those of wrong ones."""

    above: Annotated[float, "largest excess of the wrong ones' distribution function: evidence for dominance"]
    p_above: Annotated[float, "p-value of it if the two laws were equal"]
    below: Annotated[float, "largest excess of the correct ones' distribution function: the violation"]
    p_below: Annotated[float, "p-value of it under dominance"]
    n_prompts: Annotated[int, "prompts behind it"]
    holds: Annotated[bool, "evidence for it at 5 %, and none against it"]


@dataclass(frozen=True)
class RewardEfficiency:
    """What selecting by one reward gains in accuracy, whatever the reward's scale."""

    name: Annotated[str, "of the reward"]
    correlation: Annotated[
        Interval, "with correctness inside a prompt, over prompts that have both kinds; 1 for correctness"
    ]
    slope: Annotated[Interval, "gain per √(2 nat) of KL at the first step of a tilt of each prompt's own"]
    shared_slope: Annotated[Interval, "the same where one tilt serves all prompts"]
    best_of_two: Annotated[Interval, "accuracy of best-of-2 minus that of one sample: E[p(1-p)(2 AUC - 1)]"]


@dataclass(frozen=True)
class Alignment:
    """Does the report's reward know which responses are correct? 1/2 is ignorance."""

    within: Annotated[Interval, "AUC of the reward inside a prompt, over prompts that have both kinds"]
    pooled: Annotated[Interval, "AUC over all responses of all prompts, which also rewards knowing easy prompts"]
    levels: Annotated[
        dict[str, Interval],
        "probability that the more accurate of two has the higher log-likelihood, by what is compared; empty for another reward",
    ]
    dominance_within: Annotated[Dominance | None, "by rank inside each prompt; null if too few prompts have both kinds"]
    dominance_pooled: Annotated[Dominance | None, "over all responses of all prompts"]
    efficiency: Annotated[
        tuple[RewardEfficiency, ...],
        "of every reward, correctness as the most that one can have; empty for single samples",
    ]


@dataclass(frozen=True)
class LengthConfound:
    """How much of likelihood's choice is a choice of length."""

    correlation: Annotated[Interval, "Spearman correlation of log-likelihood and length inside a prompt"]
    auc: Annotated[Interval, "AUC inside a prompt, on the prompts where the next one is defined"]
    auc_given_length: Annotated[Interval, "AUC over pairs of responses of one length"]
    accuracy: Annotated[Interval, "of best-of-N by log-likelihood at the largest N"]
    accuracy_adjusted: Annotated[Interval, "the same with the regression on length taken out"]
    slope: Annotated[float, "of that regression [nats per token]"]
    n_prompts: Annotated[int, "prompts with correct and wrong responses of one length"]


@dataclass(frozen=True)
class Length:
    """Tokens per response."""

    sampled: Annotated[float, "of one sample, mean"]
    best_of_n: Annotated[float, "of the best of the largest N by the report's reward, mean"]
    over_sampling: Annotated[Interval, "the second minus the first, paired over prompts"]
    confound: Annotated[
        LengthConfound | None, "null if nothing is graded, lengths do not vary inside a prompt, or for another reward"
    ]


@dataclass(frozen=True)
class Coverage:
    """What the pool proves about p*, the probability of a prompt's likeliest response."""

    certified: Annotated[float, "share of prompts whose likeliest response is certain"]
    coefficient: Annotated[Range, "coverage coefficient of these prompts, the mean of 1/p*"]
    log_coefficient_high: Annotated[float | None, "logarithm of its upper end, which may overflow [nats]"]
    at_least: Annotated[float | None, "lower 95 % confidence bound for the population of prompts, without assumptions"]
    low_estimate: Annotated[Interval, "lower end as an estimate for the population; skewed: too narrow for few prompts"]
    high_estimate: Annotated[Interval, "upper end, likewise"]
    median_log_p: Annotated[float | None, "median log-probability of the likeliest sampled response [nats]"]
    undersampled: Annotated[float, "share of prompts where that probability is below 1/samples"]
    renyi_2: Annotated[
        Range | None,
        "mean over prompts of the order-2 Rényi entropy [nats]; null if equal responses cannot be recognised",
    ]


@dataclass(frozen=True)
class HitRate:
    """A point of the exact law against measurement."""

    n: Annotated[int, "number of responses"]
    predicted: Annotated[float, "mean of 1 - (1 - p*)^N"]
    measured: Annotated[
        Interval, "share of held-out best-of-N that are the likeliest response; 95 % of the law's spread"
    ]


@dataclass(frozen=True)
class HitRates:
    """How often best-of-N returns the likeliest response: the exact law against held-out samples."""

    n_prompts: Annotated[int, "prompts whose likeliest response half of the samples certify"]
    n_samples: Annotated[int, "samples of the other half"]
    curve: Annotated[tuple[HitRate, ...], "at N = 1, 2, 4, …"]
    hits: Annotated[int, "samples of the other half that are the likeliest response"]
    expected: Annotated[float, "how many of them the law expects to be"]
    p_value: Annotated[
        float, "exact two-sided p-value of the hits, which is the law at N = 1, if each sample follows it"
    ]

    @property
    def refuted(self) -> bool:
        """Whether chance does not explain how far the samples are from the law at N = 1, at 5 %."""
        return self.p_value < 0.05

    @property
    def outside(self) -> list[int]:
        """The N whose prediction lies outside the measured interval."""
        return [point.n for point in self.curve if not point.measured.low <= point.predicted <= point.measured.high]


@dataclass(frozen=True)
class PluralityRate:
    """A point of the law of the plurality against measurement."""

    n: Annotated[int, "number of votes"]
    predicted: Annotated[float, "chance by the law that the majority of N samples is the likeliest answer"]
    measured: Annotated[Interval, "the same on samples that had no part in the prediction"]
    difference: Annotated[Interval, "measured minus predicted, paired over prompts"]


@dataclass(frozen=True)
class PluralityLaw:
    """How often the majority of N samples is the likeliest answer: the exact law against held-out samples."""

    by: Annotated[str, "what certified and predicted: likelihood or votes"]
    n_prompts: Annotated[int, "prompts on which a part of the samples says which answer that is; at most 100"]
    n_samples: Annotated[int, "samples that measure"]
    curve: Annotated[tuple[PluralityRate, ...], "at N = 1, 2, 4, … up to 32"]

    @property
    def disagreements(self) -> int:
        """How many points have an interval of the difference without 0."""
        return sum(point.difference.direction() != 0 for point in self.curve)


@dataclass(frozen=True)
class Answers:
    """The answer policy: responses taken by their answers. What is cut off or has no answer has no vote."""

    voting: Annotated[float, "share of samples that have a vote: finished, with an answer"]
    certified: Annotated[float | None, "share of prompts whose likeliest answer is certain; null without likelihoods"]
    shown: Annotated[float, "share of prompts whose likeliest answer the votes show, by a binomial test at 5 % each"]
    coefficient: Annotated[Range | None, "mean over these prompts of 1/(mass of the likeliest answer); null likewise"]
    at_least: Annotated[float, "lower 95 % confidence bound on it for the population of prompts, by votes"]
    low_estimate: Annotated[Interval, "it for the population, by votes, from below: mean of (M+1)/(most votes + 1)"]
    high_estimate: Annotated[Interval, "the same from above, by the votes of one half for the leader of the other"]
    unrepeated: Annotated[float, "share of prompts that gave no answer twice: not even rare answers are bounded there"]
    median_margin: Annotated[
        Range | None, "median over prompts of the margin of the likeliest answer over the second; null likewise"
    ]
    limit_low: Annotated[Interval | None, "lower end of the accuracy of ever more votes; null if nothing is graded"]
    limit_high: Annotated[Interval | None, "upper end, likewise"]
    limit_known: Annotated[float | None, "share of graded prompts where the two ends meet"]
    limit_by: Annotated[str | None, "likelihood (the ends are certain for these prompts) or votes (with 95 %)"]
    law: Annotated[PluralityLaw | None, "null if no prompt's likeliest answer is known from a part of its samples"]


@dataclass(frozen=True)
class Cost:
    """What an explicit bound asks for, per unit of log(|Π|/ρ), over the range of the coverage coefficient."""

    method: Annotated[str, "way of training"]
    source: Annotated[str, "theorem"]
    prompts: Annotated[Range, "prompts"]
    responses: Annotated[Range, "responses per prompt"]
    queries: Annotated[Range, "responses in all"]
    tokens: Annotated[Range | None, "tokens in all; null if lengths are unknown"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A diagnosis in numbers."""

    schema_version: Annotated[str, "version of this structure"] = SCHEMA_VERSION
    reward: Annotated[
        str | None,
        "what best-of-N selects by: log_likelihood, or what was asked for; null if there is nothing, then N is 1",
    ] = "log_likelihood"
    notes: Annotated[
        tuple[str, ...], "what was taken for what: by the reader of the file, and of columns as rewards"
    ] = ()
    sampling: Annotated[Sampling, "the samples"]
    greedy: Annotated[Greedy | None, "greedy decoding; null if the pool has no greedy responses"]
    best_of_n: Annotated[tuple[BestOfN, ...], "best-of-N by the report's reward, N = 1 first"]
    pass_at_n: Annotated[tuple[Accuracy, ...] | None, "any of N correct, N = 1 first; null if nothing is graded"]
    gain_over_sampling: Annotated[Gain, "best-of-N at the largest N minus one sample"]
    gain_over_greedy: Annotated[Gain | None, "the same minus greedy decoding"]
    missed: Annotated[
        Interval | None,
        "any of the largest N correct, minus best-of-N there, paired over prompts; null without a reward",
    ]
    peak: Annotated[Peak | None, "null if best-of-N is most accurate at the largest N, or nothing is graded"]
    rewards: Annotated[
        tuple[RewardCurve, ...], "every way to select, the report's reward first; empty if nothing is graded"
    ]
    prediction: Annotated[Prediction | None, "accuracy beyond the pool; null for fewer than 8 samples per prompt"]
    alignment: Annotated[
        Alignment | None, "the reward against correctness; null if nothing is graded, or without a reward"
    ]
    length: Annotated[Length | None, "tokens per response; null if lengths are unknown"]
    coverage: Annotated[Coverage | None, "what is proved about the likeliest responses; null if refused"]
    coverage_refused: Annotated[
        str | None, "why there are no likelihoods of samples: coverage, hit rates, prediction, cost are left out"
    ]
    unidentified: Annotated[
        str | None, "why equal responses cannot be recognised: hit rates and prediction are left out; null if they can"
    ]
    hit_rates: Annotated[HitRates | None, "null if half of the samples certify no prompt"]
    answers: Annotated[Answers | None, "responses taken by their answers; null if no sample has one"]
    cost: Annotated[tuple[Cost, ...], "what training would cost by the bounds; empty if coverage is refused"]
    provenance: Annotated[dict[str, Any], "where the numbers come from: seed, versions, device, revision"]

    @property
    def graded(self) -> bool:
        """Whether anything is known about correctness."""
        return self.sampling.n_graded_prompts > 0

    @property
    def likelihoods(self) -> bool:
        """Whether the pool has log-likelihoods."""
        return self.sampling.log_likelihood.value is not None

    @property
    def by_likelihood(self) -> bool:
        """Whether the report is about sharpening: best-of-N by log-likelihoods, not by a column that only has their name."""
        return self.reward == "log_likelihood" and self.coverage_refused is None

    @property
    def by_answers(self) -> bool:
        """Whether the samples hold too little of the mass for whole responses, so that the report speaks of answers.

        The certificate decides: the likeliest response is certain on fewer than a share `FEWEST_CERTIFIED` of the prompts.
        """
        return self.answers is not None and self.coverage is not None and self.coverage.certified < FEWEST_CERTIFIED

    @property
    def unmet(self) -> tuple[str, ...]:
        """Which premises of a verdict fail: "likelihoods", "unfinished", "mixed prompts", "law".

        What best-of-N selects by is called log_likelihood and cannot be one (`coverage_refused`); more than a share
        `UNFINISHED_LIMIT` of the samples is cut; fewer than `FEWEST_PROMPTS` prompts have correct and incorrect samples;
        or the samples contradict the law that their likelihoods imply (`HitRates.refuted`).
        """
        fails = {
            "likelihoods": self.reward == "log_likelihood" and self.coverage_refused is not None,
            "unfinished": (self.sampling.unfinished or 0.0) > UNFINISHED_LIMIT,
            "mixed prompts": self.sampling.n_mixed_prompts < FEWEST_PROMPTS,
            "law": self.hit_rates is not None and self.hit_rates.refuted,
        }
        return tuple(premise for premise, failed in fails.items() if failed)

    @property
    def judged(self) -> bool:
        """Whether there may be verdicts: no premise fails."""
        return not self.unmet

    @property
    def forecast(self) -> tuple[Accuracy, ...]:
        """Accuracy beyond the pool where it may be stated.

        Empty if the prediction is not trusted, not to be judged, or made from whole responses that are too rare for it.
        """
        stated = self.prediction and self.prediction.trusted and self.judged and not self.by_answers
        return self.prediction.curve if stated else ()

    def to_json(self) -> str:
        """The content of ``summary.json``."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """The summary that `to_json` wrote, equal to it in every field.

        Raises:
            UserError: not JSON, another version, or a field that is missing, unknown or of another type (named).
        """
        found = parse_json(text, "summary")
        version = found.get("schema_version") if isinstance(found, dict) else None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"summary: found schema_version {version!r}; expected {SCHEMA_VERSION!r} (diagnose the pool again)"
            )
        return _read(cls, found, "summary")


def number(value: float) -> float | None:
    """A number of JSON; None for NaN and infinities."""
    value = float(value)
    return value if math.isfinite(value) else None


# What follows from the annotations ------------------------------------------------------------------------------------


def json_schema() -> dict:
    """The JSON Schema (draft 2020-12) of ``summary.json``."""
    parts = {part.__name__: _object(part) for part in _parts(Summary)}
    root = parts.pop("Summary")
    root["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Summary", **root, "$defs": parts}


def field_list() -> str:
    """Every field in Markdown, one table for each part, the whole first."""
    lines = []
    for part in _parts(Summary):
        lines += [f"### {part.__name__}", "", part.__doc__, "", "| field | type | meaning |", "|---|---|---|"]
        for name, kind, meaning in _fields(part):
            lines.append(f"| `{name}` | {_name(kind)} | {meaning} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def _fields(part: type) -> list[tuple[str, Any, str]]:
    """Name, type and meaning of each field."""
    hints = get_type_hints(part, include_extras=True)
    return [(field.name, *get_args(hints[field.name])) for field in dataclasses.fields(part)]


def _parts(part: type) -> list[type]:
    """A dataclass and all that it is made of, each once, in order of appearance."""
    found = {part: None}
    for _, kind, _ in _fields(part):
        for inner in _dataclasses(kind):
            found |= dict.fromkeys(_parts(inner))
    return list(found)


def _dataclasses(kind: Any) -> list[type]:
    if dataclasses.is_dataclass(kind):
        return [kind]
    return [each for argument in get_args(kind) for each in _dataclasses(argument)]


def _object(part: type) -> dict:
    fields = _fields(part)
    return {
        "type": "object",
        "description": part.__doc__,
        "properties": {name: {"description": meaning, **_schema(kind)} for name, kind, meaning in fields},
        "required": [name for name, _, _ in fields],
        "additionalProperties": False,
    }


def _schema(kind: Any) -> dict:
    arguments = get_args(kind)
    if dataclasses.is_dataclass(kind):
        return {"$ref": f"#/$defs/{kind.__name__}"}
    match get_origin(kind):
        case origin if origin in (Union, UnionType):
            return {"anyOf": [_schema(argument) for argument in arguments]}
        case origin if origin is tuple:
            return {"type": "array", "items": _schema(arguments[0])}
        case origin if origin is dict:
            return {"type": "object", "additionalProperties": True if arguments[1] is Any else _schema(arguments[1])}
    return {"type": {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}[kind]}


def _name(kind: Any) -> str:
    """A type in words."""
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin in (Union, UnionType):
            return " or ".join(map(_name, arguments))
        case origin if origin is tuple:
            return f"list of {_name(arguments[0])}"
        case origin if origin is dict:
            return "object" if arguments[1] is Any else f"object of {_name(arguments[1])}"
    return {int: "integer", float: "number", str: "string", bool: "boolean", NoneType: "null"}.get(kind, kind.__name__)


def _read(kind: Any, value: Any, where: str) -> Any:
    """A value of JSON as the annotation has it."""
    if kind is Any:
        return value
    arguments, origin = get_args(kind), get_origin(kind)
    if origin in (Union, UnionType):
        return None if value is None else _read(arguments[0], value, where)
    is_part = dataclasses.is_dataclass(kind)
    held = dict if is_part else {tuple: list, dict: dict}.get(origin, (int, float) if kind is float else kind)
    if not isinstance(value, held) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{where}: found {value!r:.60}; expected {_name(kind)}")
    if origin is tuple:
        return tuple(_read(arguments[0], each, f"{where}[{i}]") for i, each in enumerate(value))
    if origin is dict:
        return {name: _read(arguments[1], each, f"{where}.{name}") for name, each in value.items()}
    if not is_part:
        return float(value) if kind is float else value
    fields = {name: inner for name, inner, _ in _fields(kind)}
    if wrong := set(fields) ^ set(value):
        raise UserError(f"{where}: field {min(wrong)!r} is {'missing' if min(wrong) in fields else 'unknown'}")
    return kind(**{name: _read(inner, value[name], f"{where}.{name}") for name, inner in fields.items()})
