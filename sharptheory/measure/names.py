"""What the columns of a pool are called elsewhere, so that a message can say which column was perhaps meant."""

from __future__ import annotations

from collections.abc import Iterable

#: Columns of a pool, and the counts n and c, with names that other tools give them; lower case.
ELSEWHERE = {
    "prompt_id": ("idx", "id", "problem_id", "task_id", "question_id", "doc_id", "example_id", "prompt_idx", "qid", "uid"),
    "correct": ("is_correct", "iscorrect", "passed", "score", "label", "grade", "acc"),
    "log_likelihood": ("logprob", "logprobs", "log_prob", "cumulative_logprob", "sum_logprob", "loglikelihood", "logp"),
    "answer": ("pred", "prediction", "predicted_answer", "extracted_answer", "parsed_answer"),
    "response": ("completion", "output", "generation", "response_text", "generated_text"),
    "length": ("n_tokens", "num_tokens", "token_count", "completion_tokens", "response_length"),
    "n": ("total", "n_samples", "num_samples", "attempts"),
    "c": ("passed", "n_correct", "num_correct", "successes"),
}  # fmt: skip


def called(name: str, columns: Iterable[object]) -> str | None:
    """Which of the columns other tools use for what is called `name` here; None if it is there, or none is.

    >>> called("log_likelihood", ["prompt_id", "LogProb"])
    'LogProb'
    """
    there = {str(column).lower(): str(column) for column in columns}
    if name in there:
        return None
    return next((there[other] for other in ELSEWHERE.get(name, ()) if other in there), None)
