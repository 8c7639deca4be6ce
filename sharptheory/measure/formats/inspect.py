"""inspect_ai: logs ``.eval`` (a zip of JSON files) and ``.json`` (one object), format version 2.

| field of a sample | becomes |
|---|---|
| id | prompt_id |
| epoch | sample_id |
| input | prompt, if it is text |
| output.completion, or output.choices[0].message.content | response |
| output.choices[0].logprobs.content[].logprob | log_likelihood, summed; their number is the length |
| output.choices[0].stop_reason | finished: stop is, max_tokens and model_length are not |
| output.usage.output_tokens | length, if there are no log-probabilities |
| scores.NAME.value | correct: C is, I and N are not; true, false, 1 and 0 as they are; NaN is not graded |
| scores.NAME.answer | answer |

Of several scorers the first that grades so is taken, ``correct=NAME`` takes another. Samples that ended in an error are left out.
Log-probabilities count only where the tokens that they are of make up the response: the provider ``hf/`` logs those of the
likeliest tokens, whatever was sampled, and counts the tokens of the longest response in a batch for all of them. Those of an agent
with several turns are of the last turn only. In these cases they are left out, for all samples.
Members of a zip may be packed with zstd, which Python's `zipfile` reads from version 3.14 on: they are unpacked here.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sharptheory.errors import UserError
from sharptheory.files import decode, parse_json, unpack
from sharptheory.measure.formats.record import (
    Imported,
    Record,
    grade,
    of_temperature,
    others,
    refuse_columns,
    table,
    total,
)

FORMAT = "a log of inspect_ai"
ZSTD = 93
#: All members of a log together, unpacked: as many bytes, and as many times the size of the file.
MOST_UNPACKED, MOST_TIMES = 2**28, 200
FINISHED = {"stop": True, "tool_calls": True, "max_tokens": False, "model_length": False, "content_filter": False}
GRADES = {"C": True, "I": False, "N": False, "P": False}


def recognises(content: Any) -> bool:
    """Whether the content of a JSON file is a log, by its fields."""
    return isinstance(content, Mapping) and {"eval", "samples"} <= content.keys()


def read_zip(path: Path, columns: Mapping[str, str]) -> Imported:
    """The pool's rows of a ``.eval`` file; as `read`.

    Raises:
        UserError: not such a file, or damaged; and as `read`.
    """
    members = dict(_members(path))
    header = next((members[name] for name in ("header.json", "_journal/start.json") if name in members), None)
    if header is None:
        raise UserError(f"{path} has neither header.json nor _journal/start.json; expected a log of inspect_ai")
    samples = [Record(_object(text, f"{path}:{name}"), f"{path}:{name}") for name, text in members.items()
               if name.startswith("samples/") and name.endswith(".json")]  # fmt: skip
    return _imported(Record(_object(header, f"{path}:header.json"), f"{path}:header.json"), samples, columns)


def read(content: Mapping[str, Any], path: Path, columns: Mapping[str, str]) -> Imported:
    """The pool's rows of a ``.json`` log. Args: columns: ``correct`` names a scorer.

    Raises:
        UserError: no samples, an unknown scorer, or a field that is not as above.
    """
    log = Record(content, str(path))
    samples = log.field("samples", list)
    if wrong := [i for i, sample in enumerate(samples) if not isinstance(sample, Mapping)]:
        raise log.wrong(f"samples[{wrong[0]}]", samples[wrong[0]], "an object")
    return _imported(log, [log.part(sample, f"samples[{i}]") for i, sample in enumerate(samples)], columns)


def _imported(log: Record, samples: list[Record], columns: Mapping[str, str]) -> Imported:
    refuse_columns(columns, ("correct",), FORMAT)
    whole = [sample for sample in samples if sample.content.get("error") is None]
    if not whole:
        raise UserError(f"{log.where} has {len(samples)} samples, {'all' if samples else 'none'} of them with an error")
    scorer, names = _scorer(whole, columns.get("correct"))
    found = [_row(sample, scorer) for sample in whole]
    rows, refused = [row for row, _ in found], [why for _, why in found]
    notes = []
    if scorer is not None:
        notes.append(f"Correct is the scorer {scorer}{others(names, scorer)}.")
    if len(whole) < len(samples):
        notes.append(f"{len(samples) - len(whole):,} of {len(samples):,} samples ended in an error and are left out.")
    if why := next(filter(None, refused), None):
        notes.append(f"Log-probabilities are left out: {why} ({sum(map(bool, refused)):,} of {len(rows):,} samples).")
    if why or any("log_likelihood" not in row for row in rows):
        for row in rows:
            row.pop("log_likelihood", None)
    if any(row.get("length") is None for row in rows):
        for row in rows:
            row.pop("length", None)
    if note := of_temperature(log.field("eval.model_generate_config.temperature", float, default=None)):
        notes.append(note)
    return Imported(table(rows), [sample.where for sample in whole].__getitem__, FORMAT, tuple(notes))


def _scorer(samples: list[Record], wanted: str | None) -> tuple[str | None, list[str]]:
    """The scorer that grades, and the names of all."""
    scores = [sample.field("scores", dict, default={}) for sample in samples]
    names = list(dict.fromkeys(name for each in scores for name in each))
    if wanted is not None and wanted not in names:
        found = f"the scorers {', '.join(names)}" if names else "no scores"
        raise UserError(f"columns: correct={wanted}; the log has {found}")
    binary = [name for name in names if all(_is_grade(each.get(name)) for each in scores)]
    return wanted or next(iter(binary or names), None), names


def _is_grade(score: Any) -> bool:
    """Whether a score says right, wrong, or nothing."""
    value = score.get("value") if isinstance(score, Mapping) else None
    return value is None or _grade(value) is not None


def _grade(value: Any) -> bool | None:
    return GRADES.get(value) if isinstance(value, str) else grade(value)


def _row(sample: Record, scorer: str | None) -> tuple[dict, str | None]:
    """One row, and why its log-probabilities cannot be used."""
    row = {"prompt_id": str(sample.field("id", int, str)), "sample_id": sample.field("epoch", int)}
    if isinstance(prompt := sample.content.get("input"), str):
        row["prompt"] = _attached(sample, prompt)
    choices = sample.field("output.choices", list, default=[])
    if choices and not isinstance(choices[0], Mapping):
        raise sample.wrong("output.choices[0]", choices[0], "an object")
    choice = sample.part(choices[0] if choices else {}, "output.choices[0]")
    row["response"] = _response(sample, choice)
    row["finished"] = FINISHED.get(choice.field("stop_reason", str, default="unknown"))
    if sample.content.get("limit") is not None:
        row["finished"] = False
    if scorer is not None:
        row |= _score(sample, scorer)
    why = _likelihood(sample, choice, row)
    if "log_likelihood" not in row and not _model(sample).startswith("hf/"):
        row["length"] = sample.field("output.usage.output_tokens", int, default=None)
    return row, why


def _model(sample: Record) -> str:
    """The model as it was asked for: ``hf/local``."""
    return next(iter(sample.field("model_usage", dict, default={})), "")


def _response(sample: Record, choice: Record) -> str | None:
    content = choice.field("message.content", str, list, default=None)
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        content = "".join(part for part in parts if isinstance(part, str))
    if content is None:
        content = sample.field("output.completion", str, default=None)
    return None if content is None else _attached(sample, content)


def _attached(sample: Record, text: str) -> str:
    """A long text, which logs keep once and refer to."""
    found = sample.field("attachments", dict, default={}).get(text.removeprefix("attachment://"))
    return found if text.startswith("attachment://") and isinstance(found, str) else text


def _score(sample: Record, scorer: str) -> dict:
    score = sample.field("scores", dict, default={}).get(scorer)
    if score is None:
        return {"correct": None, "answer": None}
    if not isinstance(score, Mapping):
        raise sample.wrong(f"scores.{scorer}", score, "an object")
    value, answer = score.get("value"), score.get("answer")
    if value is not None and _grade(value) is None:
        raise sample.wrong(
            f"scores.{scorer}.value", value, "C or I, true or false, 1 or 0 (correct=NAME takes another)"
        )
    if answer is not None and not isinstance(answer, str):
        raise sample.wrong(f"scores.{scorer}.answer", answer, "text")
    return {"correct": _grade(value), "answer": answer or None}


def _likelihood(sample: Record, choice: Record, row: dict) -> str | None:
    """Adds log-likelihood and length to a row; or says why its log-probabilities are not of the response."""
    logged = choice.field("logprobs.content", list, default=None)
    if logged is None:
        return None
    for i, entry in enumerate(logged):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("token"), str):
            raise choice.wrong(f"logprobs.content[{i}]", entry, "an object with token and logprob")
    turns = [message for message in sample.field("messages", list, default=[])
             if isinstance(message, Mapping) and message.get("role") == "assistant"]  # fmt: skip
    if len(turns) > 1:
        return "they are of the last of several turns"
    if not _spells(logged, row["response"] or ""):
        return "the tokens that they are of are not those of the response"
    row["log_likelihood"] = total([entry.get("logprob") for entry in logged], "logprobs.content", choice)
    row["length"] = len(logged)
    return None


def _spells(logged: list[Mapping], response: str) -> bool:
    """Whether the tokens make up a response, one special token that ends it aside."""
    bytes_ = [entry.get("bytes") for entry in logged]
    if all(isinstance(each, list) and all(isinstance(b, int) and 0 <= b < 256 for b in each) for each in bytes_):
        pieces, whole = list(map(bytes, bytes_)), response.encode()
    else:
        pieces, whole = [entry["token"].encode() for entry in logged], response.encode()
    strip = lambda text: text.strip()  # noqa: E731 - providers cut spaces at the ends
    return strip(whole) in (strip(b"".join(pieces)), strip(b"".join(pieces[:-1])))


# The zip --------------------------------------------------------------------------------------------------------------


def _object(text: bytes, where: str) -> dict:
    content = parse_json(decode(text, where), where, expected="a JSON object", constants=True)
    if not isinstance(content, dict):
        raise UserError(f"{where} holds a {type(content).__name__}; expected a JSON object")
    return content


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of the members that say something, bounded in all they unpack to."""
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            left = max(MOST_UNPACKED, MOST_TIMES * len(data))
            for info in archive.infolist():
                if not info.filename.startswith(("header.json", "_journal/start.json", "samples/")):
                    continue
                left -= info.file_size
                if left < 0:
                    raise UserError(f"{path} unpacks to more than {MOST_TIMES} times its size; unpack it yourself")
                yield info.filename, _content(archive, info, data, path)
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        struct.error,
    ) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a whole .eval file: {' '.join(str(error).split())[:200]}") from None


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes, path: Path) -> bytes:
    if info.compress_type != ZSTD:
        with archive.open(info) as member:
            content = member.read(info.file_size + 1)
    else:
        # Behind the local header, whose name and extra field may be of another length than in the directory.
        signature, name, extra = struct.unpack_from("<4s22xHH", data, info.header_offset)
        if signature != b"PK\x03\x04":
            raise zipfile.BadZipFile(f"no member at {info.header_offset}")
        start = info.header_offset + 30 + name + extra
        content = unpack(data[start : start + info.compress_size], "zstd", f"{path}:{info.filename}")
    if len(content) != info.file_size:
        raise UserError(f"{path}:{info.filename} has {len(content):,} bytes; expected {info.file_size:,}")
    return content
