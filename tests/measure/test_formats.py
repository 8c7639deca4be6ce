"""Samples as other tools write them. The files in tests/measure/data were written by these tools (tests/measure/foreign.py)."""

import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sharptheory import files
from sharptheory.errors import UserError
from sharptheory.measure.best_of_n import pass_at_n
from sharptheory.measure.formats import inspect
from sharptheory.measure.imports import pool_files, read_pool
from sharptheory.measure.pool import Pool
from sharptheory.tasks import arithmetic
from tests.measure.conftest import assert_same_pool, small_pool
from tests.measure.foreign import DATA


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


def grades_agree(pool: Pool) -> bool:
    """Whether a log's grades and answers of arithmetic are those that this package gives the same responses."""
    right = {prompt: answer for task in [arithmetic.load(6)] for prompt, answer in zip(task.prompts, task.answers)}
    read = list(map(arithmetic.extract, pool["response"]))
    correct = [answer == right[prompt] for answer, prompt in zip(read, pool["prompt"])]
    return read == pool["answer"].tolist() and correct == pool["correct"].tolist()


# lm-evaluation-harness ------------------------------------------------------------------------------------------------


def test_lm_eval_logs_repeats_with_a_grade_for_each():
    pool = read_pool(DATA / "samples_repeated.jsonl")
    assert pool.sizes.tolist() == [4] * 6 and "log_likelihood" not in pool and grades_agree(pool)
    assert pool["prompt"][0] == "-92-93+88=" and pool["response"][0] == "-185+88#-97"
    assert pool.notes == ("Read as samples of lm-evaluation-harness.", "Correct is the metric correct.")


def test_lm_eval_logs_greedy_tasks_once_for_each_filter():
    pool = read_pool(DATA / "samples_filtered.jsonl")
    assert pool.sizes.tolist() == [1] * 6 and grades_agree(pool)
    assert pool.notes[1:] == (
        "Correct is the metric exact_match.",
        "Answers are read by the filter strict-match (there is also flexible-extract).",
        "The responses are greedy (temperature 0), no samples: more of them tell nothing new.",
    )
    other = read_pool(DATA / "samples_filtered.jsonl", columns={"filter": "flexible-extract", "correct": "exact_match"})
    assert "the filter flexible-extract (there is also strict-match)" in other.notes[2]


def test_a_multiple_choice_log_is_refused_with_the_reason():
    with pytest.raises(
        UserError, match=r"samples_chosen\.jsonl:1: the log is of a multiple-choice or log-likelihood task"
    ):
        read_pool(DATA / "samples_chosen.jsonl")


def test_a_metric_of_all_responses_says_how_many_are_right(tmp_path):
    """As pass@1 of a code task: which of the four were right is not in the file."""
    rows = [row | {"pass@1": sum(row["correct"]) / 4, "metrics": ["pass@1"]} for row in lines("samples_repeated.jsonl")]
    pool, each = read_pool(written(tmp_path / "samples_x.jsonl", *rows)), read_pool(DATA / "samples_repeated.jsonl")
    pd.testing.assert_frame_equal(pass_at_n(pool, [1, 2, 4]), pass_at_n(each, [1, 2, 4]))
    assert "response" not in pool and "how many are right is known, not which" in pool.notes[2]


def test_a_metric_of_the_first_response_grades_no_other(tmp_path):
    rows = [
        row
        | {"filtered_resps": row["filtered_resps"][0][:1], "exact_match": row["correct"][0], "metrics": ["exact_match"]}
        for row in lines("samples_repeated.jsonl")
    ]
    pool = read_pool(written(tmp_path / "samples_x.jsonl", *rows))
    assert pool["correct"].notna().tolist() == [True, False, False, False] * 6
    assert "grades the first response of each prompt only" in pool.notes[2]


def test_a_metric_that_is_never_a_share_grades_the_first_response(tmp_path):
    kept = LM_EVAL | {"resps": [["a", "b", "c"]], "filtered_resps": [["a", "b", "c"]]}
    pool = read_pool(written(tmp_path / "a.jsonl", kept | {"m": 1.0}, kept | {"doc_id": 1, "m": 0.0}))
    assert pool["correct"].tolist() == [True, pd.NA, pd.NA, False, pd.NA, pd.NA]
    assert pool["response"].tolist() == ["a", "b", "c"] * 2


def test_a_temperature_other_than_one_is_said(tmp_path):
    rows = lines("samples_repeated.jsonl")
    for row in rows:
        row["arguments"]["gen_args_0"]["arg_1"]["temperature"] = 0.6
    assert (
        "Sampled at temperature 0.6: all numbers are about that law"
        in read_pool(written(tmp_path / "a.jsonl", *rows)).notes[2]
    )


LM_EVAL = {"doc_id": 0, "resps": [["a"]], "filtered_resps": ["a"], "filter": "f", "metrics": ["m"], "m": 1.0}


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        ({"resps": 3}, {}, r"a\.jsonl:2, field 'resps': found 3; expected a list$"),
        ({"resps": [["a"], ["b"]]}, {}, r"a\.jsonl:2, field 'resps': found .*; expected a list of one list of texts"),
        ({"resps": [[1]]}, {}, r"a\.jsonl:2, field 'resps': found \[\[1\]\]"),
        ({"doc_id": None}, {}, r"a\.jsonl:2, field 'doc_id' is missing; expected a whole number or text"),
        ({"m": 0.5}, {}, r"a\.jsonl:2, field 'm': found 0\.5; expected 1 or 0"),
        ({"m": [1, 0]}, {}, r"a\.jsonl:2, field 'm': found \[1, 0\]; expected 1 or 0 for each of 1 responses"),
        ({"filtered_resps": [1]}, {}, r"a\.jsonl:2, field 'filtered_resps': found \[1\]; expected texts"),
        ({"filtered_resps": ["a", "b"]}, {}, r"a\.jsonl:2, field 'filtered_resps': found .* expected a list of one"),
        ({"resps": [["a", "b"]], "filtered_resps": [["a", "b"]], "m": 0.3}, {}, "expected a share of 2 responses"),
        ({}, {"correct": "bleu"}, r"correct=bleu; .*a\.jsonl:1 has the metrics m"),
        ({}, {"filter": "g"}, "filter=g; the log has f"),
        ({}, {"answer": "target"}, "answer=target: in samples of lm-evaluation-harness only correct and filter can be"),
    ],
)  # fmt: skip
def test_a_wrong_field_of_lm_eval_is_named(tmp_path, change, columns, message):
    with pytest.raises(UserError, match=message):
        read_pool(written(tmp_path / "a.jsonl", LM_EVAL, LM_EVAL | change), columns=columns)


def test_samples_of_two_tasks_are_not_of_one_prompt(tmp_path):
    for task in "ab":
        asked = {"gen_args_0": {"arg_0": f"{task}?", "arg_1": {"do_sample": True}}}
        written(tmp_path / f"samples_{task}.jsonl", LM_EVAL | {"arguments": asked})
    message = (
        r"samples_b\.jsonl:1, column 'prompt': found 'b\?' for prompt_id 0; expected 'a\?', as .*samples_a\.jsonl:1"
    )
    with pytest.raises(UserError, match=message):
        read_pool(f"{tmp_path}/samples_*.jsonl")


# inspect_ai -----------------------------------------------------------------------------------------------------------


def test_a_log_of_inspect_has_epochs_grades_and_likelihoods():
    pool = read_pool(DATA / "inspect.eval")
    assert pool.sizes.tolist() == [2] * 3 and grades_agree(pool)
    assert pool["finished"].all() and (pool["log_likelihood"] < 0).all()
    assert (pool["length"] == pool["response"].str.len() + 1).all()  # a token each, and the end of sequence
    assert pool.notes == ("Read as a log of inspect_ai.", "Correct is the scorer pattern (there is also includes).")


def test_log_probabilities_of_other_tokens_than_the_response_are_left_out():
    """As inspect_ai's provider hf/ logs them: of the likeliest token, whichever was sampled."""
    pool = read_pool(DATA / "inspect_hf.json")
    assert pool.sizes.tolist() == [2] * 3 and grades_agree(pool)
    assert "log_likelihood" not in pool and "length" not in pool and pool["finished"].isna().all()
    assert "left out: the tokens that they are of are not those of the response (6 of 6 samples)" in pool.notes[2]


def test_another_scorer_may_be_taken():
    pool = read_pool(DATA / "inspect_hf.json", columns={"correct": "includes"})
    assert pool.notes[1] == "Correct is the scorer includes (there is also pattern)."
    with pytest.raises(UserError, match="correct=exact; the log has the scorers pattern, includes"):
        read_pool(DATA / "inspect_hf.json", columns={"correct": "exact"})


def test_samples_with_an_error_are_left_out_and_counted(tmp_path):
    log = json.loads((DATA / "inspect_hf.json").read_text())
    log["samples"][0]["error"] = {"message": "no"}
    log["samples"][1]["scores"]["pattern"]["value"] = float("nan")
    (tmp_path / "a.json").write_text(json.dumps(log))
    pool = read_pool(tmp_path / "a.json")
    assert len(pool.samples) == 5 and pool["correct"].isna().sum() == 1
    assert "1 of 6 samples ended in an error and are left out." in pool.notes


def test_an_answer_of_several_turns_has_no_likelihood_of_its_last(tmp_path):
    log = json.loads((DATA / "inspect_hf.json").read_text())
    for sample in log["samples"]:
        sample["messages"] += sample["messages"][-1:]
    (tmp_path / "a.json").write_text(json.dumps(log))
    assert "they are of the last of several turns (6 of 6 samples)" in " ".join(read_pool(tmp_path / "a.json").notes)


def inspect_log(**changes) -> dict:
    sample = {"id": 1, "epoch": 1, "input": "x", "scores": {"s": {"value": "C"}},
              "output": {"choices": [{"message": {"content": "ab"}, "stop_reason": "max_tokens"}]}}  # fmt: skip
    return {"version": 2, "eval": {}, "samples": [sample | changes]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, r"samples\[0\], field 'id' is missing"),
        ({"epoch": "1"}, r"samples\[0\], field 'epoch': found '1'; expected a whole number"),
        ({"output": {"choices": [3]}}, r"field 'output\.choices\[0\]': found 3; expected an object"),
        ({"output": {"choices": 3}}, r"field 'output\.choices': found 3; expected a list"),
        ({"scores": {"s": {"value": 0.5}}}, r"field 'scores\.s\.value': found 0\.5; expected C or I"),
        ({"scores": {"s": 1}}, r"field 'scores\.s': found 1; expected an object"),
        ({"scores": {"s": {"value": "C", "answer": 3}}}, r"field 'scores\.s\.answer': found 3; expected text"),
        ({"error": "x"}, "has 1 samples, all of them with an error"),
        (
            {
                "output": {
                    "choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": 1}]}}]
                }
            },
            r"samples\[0\], output\.choices\[0\], field 'logprobs\.content\[0\]': found 1; expected a log-probability",
        ),
        (
            {"output": {"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"token": 3}]}}]}},
            r"field 'logprobs\.content\[0\]': found .*; expected an object with token and logprob",
        ),
    ],
)
def test_a_wrong_field_of_inspect_is_named(tmp_path, changes, message):
    (tmp_path / "a.json").write_text(json.dumps(inspect_log(**changes)))
    with pytest.raises(UserError, match=message) as error:
        read_pool(tmp_path / "a.json")
    assert "a.json" in str(error.value)


def zipped(**members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/") + ".json", content)
    return file.getvalue()


def test_a_zip_is_read_whichever_way_it_is_packed(tmp_path):
    log = inspect_log()
    (tmp_path / "a.eval").write_bytes(
        zipped(header='{"eval": {}}', samples__1=json.dumps(log["samples"][0]), summaries="not JSON, not read")
    )
    pool = read_pool(tmp_path / "a.eval")
    assert pool["correct"].tolist() == [True] and pool["finished"].tolist() == [False]
    assert {info.compress_type for info in zipfile.ZipFile(DATA / "inspect.eval").infolist()} == {inspect.ZSTD}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", r"a\.eval is not a whole \.eval file: File is not a zip file"),
        (zipped(other="{}"), r"a\.eval has neither header\.json nor _journal/start\.json"),
        (zipped(header="[]"), r"a\.eval:header\.json holds a list; expected a JSON object"),
        (zipped(header="{}", samples__1="{"), r"a\.eval:samples/1\.json:1 is not valid JSON"),
        (zipped(header="{}"), "has 0 samples, none of them with an error"),
    ],
)
def test_a_damaged_zip_is_refused(tmp_path, content, message):
    (tmp_path / "a.eval").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_pool(tmp_path / "a.eval")


def test_damage_anywhere_in_a_zip_of_zstd_is_refused_or_harmless(tmp_path):
    whole = (DATA / "inspect.eval").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(len(whole), size=40):
        (tmp_path / "a.eval").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        try:
            read_pool(tmp_path / "a.eval")
        except UserError as error:
            assert "a.eval" in str(error)


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_UNPACKED", 1000)
    monkeypatch.setattr(inspect, "MOST_UNPACKED", 1000)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b" " * 10**6))
    with pytest.raises(UserError, match=r"a\.jsonl\.gz unpacks to more than .* bytes"):
        read_pool(tmp_path / "a.jsonl.gz")
    (tmp_path / "a.eval").write_bytes(zipped(header="{}", samples__1=" " * 10**6))
    with pytest.raises(UserError, match=r"a\.eval unpacks to more than 200 times its size"):
        read_pool(tmp_path / "a.eval")


# Completions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chat.jsonl", "completions.jsonl"])
def test_completions_as_the_client_of_openai_has_them(name):
    rows = lines(name)
    pool = read_pool(DATA / name)
    assert pool.sizes.tolist() == [3] * 3 and pool["finished"].all() and "correct" not in pool
    choice = rows[1]["choices"][2]
    logged = choice["logprobs"]
    values = logged.get("token_logprobs") or [entry["logprob"] for entry in logged["content"]]
    assert pool["log_likelihood"][5] == pytest.approx(sum(values)) and pool["length"][5] == len(values)
    assert pool["response"][5] == choice.get("text", choice.get("message", {}).get("content"))
    assert pool.notes[1] == "Lines do not say which prompt they answer: each counts as a prompt of its own."


def test_a_batch_names_its_prompts_and_failures_are_left_out(tmp_path):
    rows = [{"custom_id": f"q{i}", "response": {"status_code": 200, "body": row}, "error": None}
            for i, row in enumerate(lines("chat.jsonl"))]  # fmt: skip
    rows.append({"custom_id": "q9", "response": None, "error": {"message": "too long"}})
    pool = read_pool(written(tmp_path / "batch.jsonl", *rows))
    assert pool.sizes.to_dict() == {"q0": 3, "q1": 3, "q2": 3}
    assert pool.notes[1:] == ("Left out: 1 of the requests, which failed.",)


def test_grades_and_rewards_beside_a_completion(tmp_path):
    rows = [
        {"idx": 5, "score": [True, False, True], "rm": [0.1, 0.2, 0.3], "tries": 3, "response": lines("chat.jsonl")[0]}
    ]
    pool = read_pool(written(tmp_path / "a.jsonl", *rows), columns={"correct": "score"})
    assert pool["prompt_id"].tolist() == ["5"] * 3 and pool["correct"].tolist() == [True, False, True]
    assert pool.numbers("rm").tolist() == [0.1, 0.2, 0.3] and pool.numbers("tries").tolist() == [3] * 3


def test_lines_of_one_prompt_are_its_samples(tmp_path):
    rows = [{"prompt": "a", "choices": [{"text": f"{i}", "finish_reason": "length"}], "usage": {"completion_tokens": 2}}
            for i in range(3)]  # fmt: skip
    pool = read_pool(written(tmp_path / "a.jsonl", *rows))
    assert pool.sizes.to_dict() == {"a": 3} and not pool["finished"].any() and pool["length"].tolist() == [2] * 3


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (3, r"a\.jsonl:1, field 'choices\[0\]': found 3; expected an object"),
        ({"text": 3}, r"a\.jsonl:1, choices\[0\], field 'text': found 3; expected text"),
        ({"text": "a", "logprobs": 3}, r"choices\[0\], field 'logprobs': found 3; expected an object"),
        ({"text": "a", "logprobs": {"content": [3]}}, r"field 'logprobs\.content': found \[3\]"),
        (
            {"text": "a", "logprobs": {"token_logprobs": [None, -1]}},
            r"token_logprobs\[0\]': found None; .*without echo",
        ),
        (
            {"text": "a", "logprobs": {"token_logprobs": [-1, "x"]}},
            r"token_logprobs\[1\]': found 'x'; expected a log-prob",
        ),
        ({"text": "a", "logprobs": {"content": [{"logprob": 0.5}]}}, r"content\[0\]': found 0\.5; expected a log-prob"),
        ({"text": "a", "finish_reason": 1}, r"field 'finish_reason': found 1; expected text"),
    ],
)
def test_a_wrong_field_of_a_completion_is_named(tmp_path, choice, message):
    with pytest.raises(UserError, match=message):
        read_pool(written(tmp_path / "a.jsonl", {"choices": [choice]}))


def test_values_beside_a_completion_are_one_for_each_choice(tmp_path):
    row = {"idx": 5, "rm": [0.1], "response": lines("chat.jsonl")[0]}
    with pytest.raises(
        UserError, match=r"a\.jsonl:1, field 'rm': found \[0\.1\]; expected one value for each of 3 choices"
    ):
        read_pool(written(tmp_path / "a.jsonl", row))


def said(text: str, **beside) -> dict:
    return {"choices": [{"text": text, "finish_reason": "stop"}], **beside}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"idx": 2}, {}, "named by the line; expected idx"),
        ({}, {"idx": 1}, "named by idx; expected the line"),
        ({"idx": 2}, {"custom_id": "2"}, "named by custom_id; expected idx"),
        ({"idx": 2}, {"prompt": "2"}, "named by its text; expected idx"),
    ],
)
def test_a_line_without_the_others_id_joins_none_of_them(tmp_path, first, second, message):
    with pytest.raises(UserError, match=rf"a\.jsonl:2: the prompt is {message}, as in .*a\.jsonl:1: "):
        read_pool(written(tmp_path / "a.jsonl", said("a", **first), said("b", **second)))


def test_an_id_of_completions_has_one_prompt(tmp_path):
    with pytest.raises(
        UserError, match=r"a\.jsonl:2, choice 0, column 'prompt': found 'q' for prompt_id '2'; expected 'p'"
    ):
        read_pool(written(tmp_path / "a.jsonl", said("a", idx=2, prompt="p"), said("b", idx=2, prompt="q")))


@pytest.mark.parametrize("logged", [{"content": []}, {"token_logprobs": []}])
def test_no_log_probabilities_are_not_those_of_a_certain_response(tmp_path, logged):
    row = {"idx": 1, "choices": [{"text": "long", "logprobs": logged}]}
    known = {"idx": 1, "choices": [{"text": "b", "logprobs": {"token_logprobs": [-1.0]}}]}
    pool = read_pool(written(tmp_path / "a.jsonl", row, known))
    assert "log_likelihood" not in pool and "length" not in pool
    assert "log_likelihood is known of some responses only and left out." in pool.notes
    only = read_pool(written(tmp_path / "a.jsonl", row | {"usage": {"completion_tokens": 3}}))
    assert "log_likelihood" not in only and only["length"].tolist() == [3]


def test_grades_beside_choices_are_taken(tmp_path):
    rows = [
        said("a", idx=2, created=5, correct=True, rm=0.5, answer="4"),
        said("b", idx=2, created=6, correct=False, rm=1),
    ]
    pool = read_pool(written(tmp_path / "a.jsonl", *rows))
    assert pool["correct"].tolist() == [True, False] and pool.numbers("rm").tolist() == [0.5, 1.0]
    assert pool["answer"].tolist() == ["4", None] and "created" not in pool
    two = {
        "idx": 3,
        "choices": [{"text": "a"}, {"text": "b"}],
        "correct": [True, False],
        "rm": 0.5,
        "prompt_token_ids": [1],
    }
    pool = read_pool(written(tmp_path / "a.jsonl", two))
    assert pool["correct"].tolist() == [True, False] and "rm" not in pool
    assert pool.notes[1:] == ("Left out: rm beside several choices, without a value for each.",)
    with pytest.raises(UserError, match=r"field 'correct': found \[True\]; expected one value for each of 2 choices"):
        read_pool(written(tmp_path / "a.jsonl", two | {"correct": [True]}))


def test_aborted_completions_are_not_finished(tmp_path):
    reasons = ["stop", "length", "abort", "error", "other"]
    rows = [{"idx": 1, "choices": [{"text": "a", "finish_reason": reason}]} for reason in reasons]
    pool = read_pool(written(tmp_path / "a.jsonl", *rows))
    assert pool.samples["finished"].tolist() == [True, False, False, False, pd.NA]


# NeMo-Skills ----------------------------------------------------------------------------------------------------------


def nemo(seed: int) -> list[dict]:
    return [{"problem": f"p{i}", "generation": f"\\boxed{{{i + seed}}}", "predicted_answer": str(i + seed),
             "expected_answer": str(i), "symbolic_correct": seed == 0, "judgement": "Reasoning: …\nJudgement: Yes",
             "num_generated_tokens": 7, "reward_model_score": 0.5 * seed} for i in range(3)]  # fmt: skip


def test_seeds_of_nemo_skills_are_samples_of_the_same_problems(tmp_path):
    for seed in (0, 10, 2):
        written(tmp_path / f"output-rs{seed}.jsonl", *nemo(seed))
    for source in (tmp_path, f"{tmp_path}/output-rs*.jsonl"):
        assert [path.name for path in pool_files(source)] == [f"output-rs{seed}.jsonl" for seed in (0, 2, 10)]
        pool = read_pool(source)
        assert pool.sizes.to_dict() == {0: 3, 1: 3, 2: 3} and pool["answer"].tolist()[:3] == ["0", "2", "10"]
        assert pool["correct"].tolist() == [True, False, False] * 3
        assert pool.numbers("reward_model_score").tolist()[:3] == [0.0, 1.0, 5.0]
    assert pool.notes == ("Read as outputs of NeMo-Skills.", "Correct is symbolic_correct (there is also judgement).")
    assert read_pool(tmp_path, columns={"correct": "judgement"})["correct"].all()


def test_a_lost_line_of_nemo_skills_shifts_no_prompt(tmp_path):
    written(tmp_path / "output-rs0.jsonl", *nemo(0))
    written(tmp_path / "output-rs1.jsonl", nemo(1)[0], nemo(1)[2])
    with pytest.raises(
        UserError,
        match=r"rs1\.jsonl:2, column 'prompt': found 'p2' for prompt_id 1; expected 'p1', as .*rs0\.jsonl:2 has",
    ):
        read_pool(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generation": 3}, r"output-rs1\.jsonl:3, field 'generation': found 3; expected text"),
        (
            {"symbolic_correct": "x"},
            r"output-rs1\.jsonl:3, field 'symbolic_correct': found 'x'; expected true or false",
        ),
        ({"num_generated_tokens": 1.5}, r"output-rs1\.jsonl:3, field 'num_generated_tokens': found 1\.5"),
        ({"num_generated_tokens": -1}, r"output-rs1\.jsonl:3, column 'length': found -1"),
    ],
)
def test_a_wrong_field_of_nemo_skills_is_named_with_its_file(tmp_path, change, message):
    written(tmp_path / "output-rs0.jsonl", *nemo(0))
    rows = nemo(1)
    written(tmp_path / "output-rs1.jsonl", *rows[:2], rows[2] | change)
    with pytest.raises(UserError, match=message):
        read_pool(tmp_path)


# Tables ---------------------------------------------------------------------------------------------------------------


def test_one_problem_per_line_with_parallel_lists(tmp_path):
    rows = [
        {
            "idx": 7,
            "answer": "4",
            "score": [True, False],
            "pred": ["4", "5"],
            "pred_score": [[-0.1, -0.2], [-3.0]],
            "rm": [1, 2],
        },
        {"idx": 8, "answer": "1", "score": [False], "pred": [None], "pred_score": [[-0.5]], "rm": [3]},
    ]
    path = written(tmp_path / "a.jsonl", *rows)
    pool = read_pool(path, columns={"prompt_id": "idx", "correct": "score", "log_likelihood": "pred_score"})
    assert pool["prompt_id"].tolist() == [7, 7, 8] and pool["correct"].tolist() == [True, False, False]
    assert pool["log_likelihood"].tolist() == pytest.approx([-0.3, -3.0, -0.5])
    assert pool["answer"].tolist() == ["4", "5", None] and pool.numbers("rm").tolist() == [1, 2, 3]
    plain = read_pool(path)
    assert plain["correct"].tolist() == pool["correct"].tolist() and "pred_score" not in plain
    assert plain.notes == (
        "Read as one problem per line, with parallel lists.",
        "Taken as prompt_id: idx, correct: score, answer: pred.",
        "pred_score has several numbers for each response and is left out.",
    )
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read_pool(tmp_path / "a.parquet")["correct"].tolist() == pool["correct"].tolist()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"score": [True], "pred": ["1", "2"]}, r"line 2, column 'answer': found \['1', '2'\]; expected a list of 1 entries"),
        ({"score": True, "pred": ["1"]}, r"line 2, column 'correct': found True; expected a list"),
        ({"score": ["maybe"], "pred": ["1"]}, "line 2, entry 0, column 'correct': found 'maybe'"),
    ],
)  # fmt: skip
def test_a_wrong_list_is_named(tmp_path, row, message):
    path = written(tmp_path / "a.jsonl", {"idx": 0, "score": [True], "pred": ["1"]}, {"idx": 1, **row})
    with pytest.raises(UserError, match=message):
        read_pool(path)


def test_a_single_likelihood_beside_lists_of_grades_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"line 1, column 'log_likelihood': found -1\.0; expected a list of 2 entries"):
        read_pool(written(tmp_path / "a.jsonl", {"correct": [True, False], "log_likelihood": -1.0}))


def test_no_token_log_probabilities_are_no_certainty(tmp_path):
    row = {"idx": 0, "correct": [True, False], "log_likelihood": [[-1, -2], []]}
    with pytest.raises(
        UserError, match=r"line 1, entry 1, column 'log_likelihood': found \[\]; expected the nats of each"
    ):
        read_pool(written(tmp_path / "a.jsonl", row))
    assert "log_likelihood" not in read_pool(written(tmp_path / "a.jsonl", row | {"log_likelihood": [[], []]}))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_counts_are_as_many_responses(tmp_path, suffix):
    if suffix == "csv":
        (tmp_path / "a.csv").write_text("task_id,n,c\nx,5,2\ny,4,0\n")
    else:
        written(tmp_path / "a.jsonl", {"task_id": "x", "n": 5, "c": 2}, {"task_id": "y", "n": 4, "c": 0})
    pool = read_pool(tmp_path / f"a.{suffix}")
    assert pool.sizes.to_dict() == {"x": 5, "y": 4}
    assert pass_at_n(pool, [1, 2]).loc["x"].tolist() == pytest.approx([0.4, 0.7])
    assert pass_at_n(pool, [1, 2]).loc["y"].tolist() == [0.0, 0.0]
    assert pool.notes == ("Read as counts.", "Counts only: how many responses are right, and nothing else of any.")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x,2,3", "line 2, column 'c': found 3.0; expected how many of n are right"),
        ("x,0,0", "line 2, column 'n': found 0.0; expected a number of responses from 1"),
        ("x,1.5,1", "line 2, column 'n': found 1.5"),
        ("x,,1", "line 2, column 'n': found nan"),
        ("x,100000000000,1", "line 2, column 'n': found 100000000000.0"),
    ],
)
def test_counts_that_cannot_be_are_named(tmp_path, line, message):
    (tmp_path / "a.csv").write_text(f"task_id,n,c\n{line}\n")
    with pytest.raises(UserError, match=message):
        read_pool(tmp_path / "a.csv")


def test_columns_are_renamed(tmp_path):
    frame = small_pool().rename(columns={"prompt_id": "idx", "correct": "score"}).assign(correct="no grade")
    frame.to_csv(tmp_path / "a.csv", index=False)
    pool = read_pool(tmp_path / "a.csv", columns={"prompt_id": "idx", "correct": "score"})
    assert_same_pool(
        pool,
        read_pool(
            small_pool()[["sample_id", "log_likelihood", "correct", "prompt_id"]][list(pool.samples.columns[:4])]
        ),
    )
    for columns, message in (
        ({"prompt_id": "nr"}, "prompt_id=nr: column 'nr' is missing; found idx, sample_id"),
        ({"prompt_id": "idx", "sample_id": "idx"}, "'idx' is given two names"),
    ):
        with pytest.raises(UserError, match=message):
            read_pool(tmp_path / "a.csv", columns=columns)


def test_tables_in_memory():
    assert_same_pool(read_pool(small_pool()), Pool.from_frame(small_pool()))
    table = pa.table({"idx": [2**53 + 1, 2**53 + 1], "correct": [True, None]})
    assert read_pool(table, columns={"prompt_id": "idx"})["prompt_id"].tolist() == [2**53 + 1] * 2


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_packed_text_is_unpacked(tmp_path, packed, suffix):
    text = small_pool().to_csv(index=False) if suffix == "csv" else small_pool().to_json(orient="records", lines=True)
    path = tmp_path / f"a.{suffix}.{ {'gzip': 'gz', 'zstd': 'zst'}[packed] }"
    with pa.CompressedOutputStream(str(path), packed) as stream:
        stream.write(text.encode())
    assert_same_pool(read_pool(path), Pool.from_frame(small_pool()))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=f"{path.name} is not a whole {packed} file|{path.name} .*"):
        read_pool(path)


def test_a_json_file_may_be_a_list_of_rows(tmp_path):
    (tmp_path / "a.json").write_text(small_pool().to_json(orient="records"))
    assert_same_pool(read_pool(tmp_path / "a.json"), Pool.from_frame(small_pool()))
    for content, message in (
        ("3", r"a\.json holds a int; expected a log of inspect_ai or a list of objects"),
        ('[{"prompt_id": 0, "log_likelihood": 3}]', r"a\.json: entry 0, column 'log_likelihood': found 3"),
    ):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(UserError, match=message):
            read_pool(tmp_path / "a.json")


# Data sets ------------------------------------------------------------------------------------------------------------


def save_to_disk(folder, *tables: pa.Table, **state) -> None:
    """As `datasets` does it: a stream for each shard, and state.json that names them in order."""
    folder.mkdir()
    names = [f"data-{i:05d}-of-{len(tables):05d}.arrow" for i in range(len(tables))]
    for name, table in zip(names, tables):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": n} for n in names], **state}))


def test_a_data_set_on_disk_is_a_pool(tmp_path):
    table = pa.Table.from_pandas(small_pool())
    save_to_disk(tmp_path / "data", table[:1], table[1:])
    assert_same_pool(read_pool(tmp_path / "data"), Pool.from_frame(small_pool()))
    assert_same_pool(read_pool(DATA / "dataset"), Pool.from_frame(small_pool()))  # written by datasets 5.2
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["data"]}')
    assert_same_pool(read_pool(tmp_path), Pool.from_frame(small_pool()))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["data", "train"]}')
    with pytest.raises(UserError, match="holds the splits data, train; give the folder of one of them"):
        read_pool(tmp_path)


def test_a_data_set_names_only_files_of_its_folder(tmp_path):
    save_to_disk(tmp_path / "data", pa.Table.from_pandas(small_pool()))
    for name in ("../secret.arrow", 3, None):
        (tmp_path / "data/state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
        (tmp_path / "secret.arrow").write_text("x")
        with pytest.raises(
            UserError, match=r"state\.json, field '_data_files\[0\]\.filename': found .* expected the name"
        ):
            read_pool(tmp_path / "data")
    (tmp_path / "a.arrow").write_text("no arrow")
    with pytest.raises(UserError, match=r"a\.arrow is not a readable arrow file"):
        read_pool(tmp_path / "a.arrow")


def test_a_folder_of_parquet_files_is_one_pool(tmp_path):
    small_pool().iloc[:2].to_parquet(tmp_path / "part-0.parquet")
    small_pool().iloc[2:].to_parquet(tmp_path / "part-1.parquet")
    assert_same_pool(read_pool(tmp_path), Pool.from_frame(small_pool()))
    small_pool(log_likelihood=[-1, -1, -1, 3]).iloc[2:].to_parquet(tmp_path / "part-1.parquet")
    with pytest.raises(UserError, match=r"part-1\.parquet: row 1, column 'log_likelihood'"):
        read_pool(tmp_path)


def test_what_a_folder_holds_beside_the_files_read_is_said(tmp_path):
    small_pool().to_parquet(tmp_path / "pool.parquet")
    (tmp_path / "config.json").write_text("{}")
    assert read_pool(tmp_path).notes == ()
    for name in ("a.csv", "b.jsonl.gz", "output-rs0.jsonl", "z.csv"):
        (tmp_path / name).write_text("")
    note = "Left unread in the folder: a.csv, b.jsonl.gz, output-rs0.jsonl and 1 more."
    assert read_pool(tmp_path).notes == (note,) == read_pool(tmp_path, texts=False).notes
    assert read_pool(tmp_path / "pool.parquet").notes == () and len(read_pool(tmp_path).samples) == 4


def test_a_folder_of_several_logs_asks_which(tmp_path):
    for name in ("samples_a.jsonl", "samples_b.jsonl"):
        written(tmp_path / name, LM_EVAL)
    with pytest.raises(UserError, match=r"holds 2 logs; give one of them, as .*samples_a\.jsonl"):
        read_pool(tmp_path)
    (tmp_path / "samples_b.jsonl").unlink()
    assert len(read_pool(tmp_path).samples) == 1


def test_files_of_several_formats_are_not_one_pool(tmp_path):
    written(tmp_path / "a1.jsonl", LM_EVAL)
    written(tmp_path / "a2.jsonl", *nemo(0))
    with pytest.raises(UserError, match="files of several formats: samples of lm-evaluation-harness, outputs of NeMo"):
        read_pool(f"{tmp_path}/a*.jsonl")
    with pytest.raises(UserError, match=r"pool file .*b\*\.jsonl does not exist"):
        read_pool(f"{tmp_path}/b*.jsonl")
