"""Completions and chat completions of OpenAI's interface, as JSON lines: of OpenAI, vLLM, SGLang, llama.cpp, and their batches.

A line is a response of the server, or of a batch (``custom_id`` and ``response.body``), or holds one as ``response``; each of its
choices is a row.

| field | becomes |
|---|---|
| custom_id, prompt_id or idx beside the response, else the prompt beside it, else the line | prompt_id |
| choices[].message.content or choices[].text | response |
| choices[].logprobs.content[].logprob or choices[].logprobs.token_logprobs | log_likelihood, summed |
| their number; of a single choice usage.completion_tokens | length |
| choices[].token_ids | tokens |
| choices[].finish_reason | finished: stop and tool_calls are, length, content_filter, abort and error are not |
| correct, answer and any number beside the response | themselves: one for all choices, or a list with one for each |
| the same beside ``choices`` itself | themselves: of a single choice, or a list with one for each |

Prompts are named alike in all lines: one without the name that others have is refused. An empty list of log-probabilities
beside text is none. ``prompt_id=NAME``, ``correct=NAME`` and ``answer=NAME`` take other fields beside the response. Requests of
a batch that failed are left out. A server may leave the end-of-sequence token out of its log-probabilities: then they are those
of a prefix, a little too likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sharptheory.errors import UserError
from sharptheory.measure.formats.record import Imported, Record, refuse_columns, table, total

FORMAT = "completions of an OpenAI-compatible server"
FINISHED = {"stop": True, "tool_calls": True, "function_call": True, "length": False, "content_filter": False,
            "abort": False, "error": False}  # fmt: skip
#: Numbers that a server writes beside its choices.
OF_SERVER = ("created", "prompt_token_ids")
IDS = ("prompt_id", "custom_id", "idx", "task_id", "question_id")


def recognises(first: Mapping[str, Any]) -> bool:
    """Whether a line is one of this format, by its fields."""
    return _completion(first) is not None or {"custom_id", "response"} <= first.keys()


def _completion(line: Mapping[str, Any]) -> tuple[Mapping[str, Any], str] | None:
    """The completion in a line, and where it is."""
    response = line.get("response")
    body = response.get("body") if isinstance(response, Mapping) else None
    for found, where in ((line, ""), (response, "response"), (body, "response.body")):
        if isinstance(found, Mapping) and isinstance(found.get("choices"), list):
            return found, where
    return None


def read(records: Iterable[Record], columns: Mapping[str, str]) -> Imported:
    """A pool's rows. Args: columns: ``prompt_id``, ``correct`` and ``answer`` name fields beside the response.

    Raises:
        UserError: a field that is not as above, or no request that succeeded.
    """
    refuse_columns(columns, ("prompt_id", "correct", "answer"), FORMAT)
    rows, places, failed, by, unclear = [], [], 0, {}, {}
    for number, record in enumerate(records, start=1):
        found = _completion(record.content)
        if found is None:
            if record.content.get("error") is None and "response" not in record:
                raise UserError(f"{record.where}, field 'choices' is missing; expected a list")
            failed += 1
            continue
        prompt_id, kind = _prompt_id(record, columns, number)
        by.setdefault(kind, record.where)
        choices = _choices(record.part(found[0], found[1]))
        beside = _beside(record, columns)
        if found[1] == "":
            unclear |= dict.fromkeys(taken := _unclear(beside, columns, len(choices)))
            beside = {name: value for name, value in beside.items() if name not in taken}
        for i, row in enumerate(choices):
            rows.append({"prompt_id": prompt_id, **_prompt(record), **row, **_own(record, beside, i, len(choices))})
            places.append(f"{record.where}, choice {i}")
    if not rows:
        raise UserError(f"no request of {failed:,} succeeded; expected lines with choices")
    notes = [f"Left out: {failed:,} of the requests, which failed."] if failed else []
    if len(by) > 1:
        (one, first), (other, second) = list(by.items())[:2]
        raise UserError(
            f"{second}: the prompt is named by {other}; expected {one}, as in {first}: ids of two kinds collide"
        )
    if "the line" in by:
        notes.append("Lines do not say which prompt they answer: each counts as a prompt of its own.")
    if unclear:
        notes.append(f"Left out: {', '.join(unclear)} beside several choices, without a value for each.")
    for name in ("log_likelihood", "length", "tokens"):
        if any(row.get(name) is None for row in rows):
            if any(row.get(name) is not None for row in rows):
                notes.append(f"{name} is known of some responses only and left out.")
            for row in rows:
                row.pop(name, None)
    return Imported(table(rows), places.__getitem__, FORMAT, tuple(notes))


def _prompt_id(record: Record, columns: Mapping[str, str], number: int) -> tuple[str | int, str]:
    if "prompt_id" in columns:
        return str(record.field(columns["prompt_id"], int, str)), columns["prompt_id"]
    for name in IDS:
        if isinstance(value := record.content.get(name), (int, str)) and not isinstance(value, bool):
            return str(value), name
    asked = record.content.get("request", record.content)
    for name in ("prompt", "messages"):
        if isinstance(asked, Mapping) and asked.get(name):
            return str(asked[name]), "its text"
    return str(number), "the line"


def _prompt(record: Record) -> dict[str, str]:
    """The text of the prompt, where it stands beside the response."""
    asked = record.content.get("request", record.content)
    prompt = asked.get("prompt") if isinstance(asked, Mapping) else None
    return {"prompt": prompt} if isinstance(prompt, str) else {}


def _beside(record: Record, columns: Mapping[str, str]) -> dict[str, Any]:
    """Numbers and grades that stand beside the response."""
    names = {columns.get(name, name): name for name in ("correct", "answer")}
    beside = {}
    for name, value in record.content.items():
        first = value[0] if isinstance(value, list) and value else value
        if name in names or (isinstance(first, (int, float)) and name not in (*IDS, *OF_SERVER)):
            beside[names.get(name, name)] = value
    for name in ("correct", "answer"):
        if name in columns:
            beside[name] = record.field(columns[name])
    return beside


def _unclear(beside: Mapping[str, Any], columns: Mapping[str, str], k: int) -> list[str]:
    """What of that may be of a server's own fields, or is one value for several choices that nobody asked for."""
    asked = [name for name in ("correct", "answer") if name in columns]
    single = [name for name, value in beside.items() if not isinstance(value, list) and k > 1]
    odd = [name for name, value in beside.items() if isinstance(value, list) and len(value) != k]
    return [name for name in single if name not in asked] + [name for name in odd if name not in ("correct", "answer")]


def _own(record: Record, beside: Mapping[str, Any], i: int, k: int) -> dict[str, Any]:
    """What of that belongs to the i-th of k choices."""
    row = {}
    for name, value in beside.items():
        if isinstance(value, list):
            if len(value) != k:
                raise record.wrong(name, value, f"one value for each of {k} choices")
            value = value[i]
        row[name] = value
    return row


def _choices(completion: Record) -> list[dict[str, Any]]:
    choices = completion.field("choices", list)
    rows = []
    for i, content in enumerate(choices):
        if not isinstance(content, Mapping):
            raise completion.wrong(f"choices[{i}]", content, "an object")
        choice = completion.part(content, f"choices[{i}]")
        row = {"response": _text(choice), "finished": FINISHED.get(choice.field("finish_reason", str, default=""))}
        values, path = _log_probs(choice)
        if values or (values is not None and not row["response"]):
            row["log_likelihood"], row["length"] = total(values, path, choice), len(values)
        elif len(choices) == 1:
            row["length"] = completion.field("usage.completion_tokens", int, default=None)
        if (tokens := choice.field("token_ids", list, default=None)) is not None:
            row["tokens"] = tokens
        rows.append(row)
    return rows


def _text(choice: Record) -> str | None:
    if "text" in choice:
        return choice.field("text", str, default=None)
    content = choice.field("message.content", str, list, default=None)
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content


def _log_probs(choice: Record) -> tuple[list | None, str]:
    """The log-probabilities of a choice's tokens, and the field that they are in."""
    logged = choice.field("logprobs", dict, default=None)
    if logged is None:
        return None, ""
    if (entries := logged.get("content")) is not None:
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            raise choice.wrong("logprobs.content", entries, "a list of objects with logprob")
        return [entry.get("logprob") for entry in entries], "logprobs.content"
    values = choice.field("logprobs.token_logprobs", list, default=None)
    if values and values[0] is None:
        raise choice.wrong(
            "logprobs.token_logprobs[0]", None, "a number (the prompt's own tokens are there too: ask without echo)"
        )
    return values, "logprobs.token_logprobs"
