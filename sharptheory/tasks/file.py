"""A task from a JSON-lines file of ``{"prompt": …, "answer": …}``, with a choice of answer extractor."""

from __future__ import annotations

from pathlib import Path

from sharptheory.errors import UserError
from sharptheory.files import read_jsonl
from sharptheory.tasks.answers import extractor
from sharptheory.tasks.task import Task, choose


def load(
    path: str | Path, n_prompts: int | None, *, seed: int = 0, extract: str = "last-number", max_new_tokens: int = 512
) -> Task:
    """`n_prompts` problems of a file, in an order that `seed` decides.

    Args:
        path: of the file. An answer is a text or a number, a bare answer or a solution that is read as a response is;
            it may be missing or null (likelihood-only).
        n_prompts: how many, all if None or if there are fewer.
        seed: decides which.
        extract: as `answers.extractor`.
        max_new_tokens: budget of a response.

    Raises:
        UserError: names file, line and field of the first bad row.
    """
    path, prompts, answers = Path(path), [], []
    read = extractor(extract)
    for line, row in enumerate(read_jsonl(path), start=1):
        prompt, answer = row.get("prompt"), row.get("answer")
        if not isinstance(prompt, str) or not prompt:
            raise UserError(f"{path}:{line}, field 'prompt': found {prompt!r}; expected a non-empty string")
        if not isinstance(answer, (str, int, float, type(None))) or isinstance(answer, bool):
            raise UserError(f"{path}:{line}, field 'answer': found {answer!r}; expected a string or a number")
        gold = None
        if answer is not None:
            gold = read(str(answer)) or str(answer).strip()
            if not gold or (extract == "last-number" and read(gold) is None):
                raise UserError(
                    f"{path}:{line}, field 'answer': found {answer!r}, in which {extract} reads no answer; leave it out, "
                    "or choose another way to read answers"
                )
        prompts.append(prompt)
        answers.append(gold)
    return choose(Task(path.stem, prompts, answers, read, max_new_tokens=max_new_tokens), n_prompts, seed=seed)
