"""Logs of other tools, written by these tools themselves from the shipped model: the long tests read them whole.

``python -m tests.measure.foreign`` writes the small files of tests/measure/data again; it needs lm_eval and inspect_ai.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from sharptheory.tasks import arithmetic

DATA = Path(__file__).with_name("data")
MODEL = Path(__file__).parents[2] / "llm/models/arithmetic-1m"
#: What every run asks for; `do_sample` and no filter of tokens make it sampling at temperature 1.
MAX_TOKENS = 96
LIMITS = f"until: ['<eos>'], max_gen_toks: {MAX_TOKENS}"
SAMPLED = f"{{do_sample: true, temperature: 1.0, top_k: 0, top_p: 1.0, {LIMITS}}}"
GREEDY = f"{{do_sample: false, {LIMITS}}}"
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
"""
GENERATED = """
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {kwargs}
repeats: {repeats}
"""
#: All responses kept and each graded: what best-of-N needs of a log.
REPEATED = (
    TASK
    + GENERATED
    + """
filter_list:
  - name: all
    filter:
      - {{function: regex, regex_pattern: '#([+-]?[0-9]+)$', fallback: "none"}}
      - {{function: take_first_k, k: {repeats}}}
process_results: !function grades.each
metric_list:
  - {{metric: correct, aggregation: !function grades.mean, higher_is_better: true}}
"""
)
#: As gsm8k has it: two ways to read the answer, one metric for each, greedy.
FILTERED = (
    TASK
    + GENERATED
    + """
filter_list:
  - name: strict-match
    filter:
      - {{function: regex, regex_pattern: '#([+-]?[0-9]+)$'}}
      - {{function: take_first}}
  - name: flexible-extract
    filter:
      - {{function: regex, group_select: -1, regex_pattern: '([+-]?[0-9]+)'}}
      - {{function: take_first}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
  - {{metric: bleu}}
"""
)
CHOSEN = (
    TASK
    + """
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: ["#1", "#-17", "{{{{'#' ~ answer}}}}"]
doc_to_target: 2
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
)
GRADES = """
def each(doc, results):
    answers = results[0] if isinstance(results[0], list) else results
    return {"correct": [float(answer == doc["answer"]) for answer in answers]}


def mean(items):
    return sum(map(sum, items)) / sum(map(len, items))
"""
INSPECT = """
import json, sys
from inspect_ai import Epochs, Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import includes, pattern
from inspect_ai.solver import generate

model, data, folder, form, epochs, tokens, url = sys.argv[1:]
rows = [json.loads(line) for line in open(data)]
config = GenerateConfig(temperature=1.0, top_k=0, top_p=1.0, max_tokens=int(tokens), logprobs=True, seed=0)
task = Task(
    dataset=[Sample(id=i + 1, input=row["prompt"], target=row["answer"]) for i, row in enumerate(rows)],
    solver=generate(), scorer=[pattern("#([+-]?[0-9]+)$"), includes()], name="arithmetic",
)
if url:
    asked = get_model("openai-api/local/arithmetic", base_url=url, api_key="none", config=config)
else:
    asked = get_model("hf/local", model_path=model, chat_template="{{ messages[-1].content }}", config=config)
eval(task, model=asked, epochs=int(epochs), log_dir=folder, log_format=form, display="none")
"""


def write_prompts(path: Path, n_prompts: int, *, seed: int = 0) -> Path:
    """The arithmetic task's first prompts and answers as JSON lines."""
    task = arithmetic.load(n_prompts, seed=seed)
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in zip(task.prompts, task.answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run_lm_eval(folder: Path, kind: str, *, n_prompts: int, repeats: int = 1, seed: int = 0) -> Path:
    """The samples file that lm_eval logs for one task; `kind` is ``repeated``, ``filtered`` or ``chosen``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = write_prompts(folder / "prompts.jsonl", n_prompts, seed=seed)
    template = {"repeated": REPEATED, "filtered": FILTERED, "chosen": CHOSEN}[kind]
    kwargs = SAMPLED if kind == "repeated" else GREEDY
    (folder / "task.yaml").write_text(template.format(name=kind, data=data, kwargs=kwargs, repeats=repeats))
    (folder / "grades.py").write_text(GRADES)
    _run(
        "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={MODEL},dtype=float32", "--tasks", kind,
        "--include_path", str(folder), "--log_samples", "--output_path", str(folder / "out"), "--device", "cpu",
        "--batch_size", "64", "--seed", str(seed),
        cwd=folder,
    )  # fmt: skip
    (found,) = folder.glob("out/**/samples_*.jsonl")
    return found


def run_inspect(folder: Path, form: str, *, n_prompts: int, epochs: int, url: str = "") -> Path:
    """The log that inspect_ai writes, ``eval`` or ``json``; of a server at `url`, or of its own provider ``hf/``."""
    folder.mkdir(parents=True, exist_ok=True)
    data = write_prompts(folder / "prompts.jsonl", n_prompts)
    (folder / "task.py").write_text(INSPECT)
    _run("task.py", MODEL, data, folder / "logs", form, epochs, MAX_TOKENS, url, cwd=folder)
    (found,) = folder.glob(f"logs/*.{form}")
    return found


def run_client(folder: Path, *, n_prompts: int, n: int, url: str) -> tuple[Path, Path]:
    """What the client of OpenAI's interface gets, one completion per line: of chats, and of completions."""
    from openai import OpenAI

    folder.mkdir(parents=True, exist_ok=True)
    data = [json.loads(line) for line in write_prompts(folder / "prompts.jsonl", n_prompts).read_text().splitlines()]
    client = OpenAI(base_url=url, api_key="none")
    chats, texts = folder / "chat.jsonl", folder / "completions.jsonl"
    common = dict(model="arithmetic", max_tokens=MAX_TOKENS, temperature=1.0, n=n)
    with chats.open("w") as chat_file, texts.open("w") as text_file:
        for row in data:
            chat = client.chat.completions.create(
                messages=[{"role": "user", "content": row["prompt"]}], logprobs=True, **common
            )
            chat_file.write(chat.model_dump_json() + "\n")
            text = client.completions.create(prompt=row["prompt"], logprobs=1, **common)
            text_file.write(text.model_dump_json() + "\n")
    return chats, texts


@contextmanager
def server() -> Iterator[str]:
    """The shipped model behind OpenAI's interface; yields its address."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(MODEL), AutoModelForCausalLM.from_pretrained(MODEL)
    torch.manual_seed(0)

    def sampled(prompt: str, n: int, most: int) -> Iterator[tuple[str, list[str], list[float], str]]:
        """Text, tokens, log-probabilities and why it ended, of n responses; the end of sequence is among the tokens."""
        ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]] * n)
        found = model.generate(ids, do_sample=True, temperature=1.0, top_k=0, max_new_tokens=most)
        with torch.no_grad():
            log_probs = model(found).logits[:, ids.shape[1] - 1 : -1].log_softmax(-1)
        for tokens, table in zip(found[:, ids.shape[1] :].tolist(), log_probs):
            ended = tokenizer.eos_token_id in tokens
            tokens = tokens[: tokens.index(tokenizer.eos_token_id) + 1] if ended else tokens
            values = [float(row[token]) for row, token in zip(table, tokens)]
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            yield text, tokenizer.convert_ids_to_tokens(tokens), values, "stop" if ended else "length"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat = "messages" in asked
            prompt = asked["messages"][-1]["content"] if chat else asked["prompt"]
            if isinstance(prompt, list):
                prompt = "".join(part["text"] for part in prompt)
            most = asked.get("max_tokens") or asked.get("max_completion_tokens") or MAX_TOKENS
            choices, used = [], 0
            for i, (text, tokens, values, reason) in enumerate(sampled(prompt, asked.get("n") or 1, most)):
                used += len(tokens)
                content = [dict(token=t, logprob=v, bytes=None, top_logprobs=[]) for t, v in zip(tokens, values)]
                if chat:
                    said = dict(message=dict(role="assistant", content=text), logprobs=dict(content=content))
                else:
                    said = dict(text=text, logprobs=dict(tokens=tokens, token_logprobs=values))
                choices.append(dict(index=i, finish_reason=reason, **said))
            usage = dict(prompt_tokens=len(prompt), completion_tokens=used, total_tokens=len(prompt) + used)
            kind = "chat.completion" if chat else "text_completion"
            body = dict(id="1", object=kind, created=0, model="arithmetic", choices=choices, usage=usage)
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1"
    finally:
        httpd.shutdown()


def _run(*arguments, cwd: Path) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(cwd / "cache")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env={**os.environ, **offline}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def main() -> None:
    """Small logs of every kind; of inspect_ai's JSON what nothing here reads is cut out: events, likeliest tokens."""
    DATA.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, server() as url:
        folder = Path(temporary)
        for kind, repeats in (("repeated", 4), ("filtered", 1), ("chosen", 1)):
            log = run_lm_eval(folder / kind, kind, n_prompts=6, repeats=repeats)
            shutil.copy(log, DATA / f"samples_{kind}.jsonl")
        shutil.copy(run_inspect(folder / "eval", "eval", n_prompts=3, epochs=2, url=url), DATA / "inspect.eval")
        log = json.loads(run_inspect(folder / "json", "json", n_prompts=3, epochs=2).read_text())
        for sample in log["samples"]:
            del sample["events"]
            for entry in sample["output"]["choices"][0]["logprobs"]["content"]:
                del entry["top_logprobs"]
        (DATA / "inspect_hf.json").write_text(json.dumps(log))
        for file in run_client(folder / "client", n_prompts=3, n=3, url=url):
            shutil.copy(file, DATA / file.name)


if __name__ == "__main__":
    main()
