"""Model folders that are missing, half-downloaded, pickled, broken, of another model, or fine."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import hf_hub_url
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, dynamic_module_utils

from sharptheory.errors import UserError
from sharptheory.llm.engines import loading
from sharptheory.llm.engines.loading import SHIPPED, convert_pickle, fingerprint, load_model
from tests.llm.conftest import random_llama


@pytest.fixture()
def folder(tmp_path, model, tokenizer):
    model.save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_saved_model_loads(folder, model):
    loaded, tokenizer = load_model(folder)
    assert loaded.dtype == torch.float32 and tokenizer.eos_token == "<eos>"
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(loaded(ids).logits, model(ids).logits)


def test_a_model_spread_over_devices_gives_the_same(folder, model):
    loaded, _ = load_model(folder, device="auto")
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(loaded(ids.to(loaded.device)).logits.cpu(), model(ids).logits)


def test_a_tokenizer_of_another_model(folder):
    """More tokens than embeddings: refused before anything is sampled."""
    _, tokenizer = load_model(folder)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(100)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match="the tokenizer has 117 tokens but the model embeds 17; they do not belong"):
        load_model(folder)


def edit(path: Path, **fields) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


# Where a model is


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "/nowhere/tiny",
            "model folder /nowhere/tiny does not exist; shipped models are arithmetic-1m, multihop-1m",
        ),
        ("arithmetic1m", r"did you mean arithmetic-1m\?"),
        ("./trained", r"did you mean trained-b\?"),
        ("nonsense", r"nonsense is neither a folder, a shipped model nor a hub name \(OWNER/NAME\)"),
        ("nobody/nothing", "nobody/nothing is neither a folder nor reachable on the hub"),
        ("models/trained", r"nor reachable on the hub .*did you mean models/trained-b\?"),
        ("no body/nothing", "neither a folder nor reachable on the hub"),
        ("~nobody/x", "model folder ~nobody/x does not exist"),
    ],
)
def test_a_model_that_is_not_there_is_refused_at_once(tmp_path, monkeypatch, name, message):
    """Also without a network: one request that fails, no retries."""
    (tmp_path / "trained-b").mkdir()
    (tmp_path / "models/trained-b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing answers there
    monkeypatch.setattr(loading, "hf_hub_url", lambda *args: hf_hub_url(*args, endpoint="http://127.0.0.1:9"))
    start = time.perf_counter()
    with pytest.raises(UserError, match=message):
        load_model(name)
    assert time.perf_counter() - start < 3


# Weights


def test_a_folder_of_shards_loads(folder, model):
    model.save_pretrained(folder, max_shard_size="10KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("*.safetensors"))) > 2
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(load_model(folder)[0](ids).logits, model(ids).logits)


def test_a_tensor_that_no_shard_holds_is_missing(folder, model):
    model.save_pretrained(folder, max_shard_size="10KB")
    (folder / "model.safetensors").unlink()
    for path in folder.glob("*.safetensors"):
        held = load_file(path)
        if held.pop("model.norm.weight", None) is not None:
            save_file(held, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 missing \(model\.norm\.weight\)"):
        load_model(folder)


@pytest.mark.parametrize("device", ["cpu", "auto"])
@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        ({}, lambda w: {k: v for k, v in w.items() if k != "model.norm.weight"}, r"1 missing \(model\.norm\.weight\)"),
        (
            {},
            lambda w: {k.replace("model.norm", "model.final"): v for k, v in w.items()},
            r"1 missing \(model\.norm\.weight\); 1 unexpected \(model\.final\.weight\)",
        ),
        ({}, lambda w: {}, r"21 missing \(lm_head\.weight, model\.embed_tokens\.weight, .*layernorm\.weight …\)"),
        ({}, lambda w: {k: v for k, v in w.items() if "embed" not in k}, r"1 missing \(model\.embed_tokens\.weight\)"),
        ({}, lambda w: w | {"v_head.weight": torch.ones(3)}, r"1 unexpected \(v_head\.weight\)"),
        (
            {},
            lambda w: w | {"model.norm.weight": torch.ones(5)},
            r"1 of another shape \(model\.norm\.weight: \[5\] instead of \[32\]\)",
        ),
        (
            {"num_hidden_layers": 2**63},
            None,
            r"num_hidden_layers is 9223372036854775808; weights of 21 tensors are those",
        ),
        ({"vocab_size": 10**9}, None, r"vocab_size is 1000000000; weights of [0-9,]+ bytes are those of another model"),
        ({"num_hidden_layers": 99}, None, r"873 missing \(model\.layers\.10\."),
        ({"num_hidden_layers": 1}, None, r"9 unexpected \(model\.layers\.1\."),
        ({"num_hidden_layers": 0}, None, r"config\.json: num_hidden_layers is 0; expected a positive integer"),
        ({"vocab_size": 20}, None, r"2 of another shape \(lm_head\.weight: \[17, 32\] instead of \[20, 32\]"),
        ({"model_type": "bert"}, None, r"missing \(bert\.embeddings.* …\); 21 unexpected"),
    ],
)
def test_weights_that_are_not_those_of_the_configuration_are_named(folder, device, fields, change, message):
    edit(folder / "config.json", **fields)
    if change:
        change_weights(folder, change)
    with pytest.raises(UserError, match=message):
        load_model(folder, device=device)


def test_weights_that_may_be_missing_or_more(folder, model, tokenizer, tmp_path, shared):
    """Tied embeddings, names without the prefix of the base model, buffers of older versions."""
    ids = torch.tensor([[3, 4, 5]])
    for name in ("arithmetic-1m", "multihop-1m", shared / "models/tinystories-260k"):
        load_model(name)
    change_weights(folder, lambda w: w | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    torch.testing.assert_close(load_model(folder)[0](ids).logits, model(ids).logits)
    tied = random_llama(tokenizer, tie_word_embeddings=True)
    tied.save_pretrained(folder)
    change_weights(folder, lambda w: {k.removeprefix("model."): v for k, v in w.items()})
    torch.testing.assert_close(load_model(folder)[0](ids).logits, tied(ids).logits)
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=17, n_embd=8, n_layer=1, n_head=2, n_positions=16)).eval()
    gpt.save_pretrained(folder)
    change_weights(folder, lambda w: w | {"transformer.h.0.attn.bias": torch.ones(1, 1, 16, 16)})
    torch.testing.assert_close(load_model(folder)[0](ids).logits, gpt(ids).logits)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: edit(f / "tokenizer_config.json", model_max_length="long"), "TypeError"),
        (lambda f: change_weights(f, lambda w: w | {"model.norm.weight": torch.full((32,), torch.nan)}), "NaN"),
    ],
)
def test_a_model_that_loads_but_cannot_compute(folder, spoil, message):
    spoil(folder)
    with pytest.raises(UserError, match=f"{folder}.*{message}"):
        load_model(folder)


# Files


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "[1]", r"config\.json holds a JSON list; expected an object"),
        ("config.json", '{"model_type": ', r"config\.json is not valid JSON"),
        ("config.json", "[" * 100_000, r"config\.json is not valid JSON"),
        ("config.json", b"\xff\xfe{\x00", r"config\.json is not valid JSON"),
        (
            "config.json",
            {"num_attention_heads": 0},
            r"config\.json: num_attention_heads is 0; expected a positive integer",
        ),
        ("config.json", {"num_hidden_layers": "two"}, r"config\.json: num_hidden_layers is 'two'"),
        ("config.json", {"hidden_size": True}, r"config\.json: hidden_size is True"),
        ("config.json", {"eos_token_id": "</s>"}, r"tiny cannot be loaded: .*'eos_token_id'.*expected int, got str"),
        ("config.json", {"hidden_act": "zzz"}, r"tiny cannot be loaded: KeyError: 'zzz'"),
        ("config.json", {"num_key_value_heads": 3}, "tiny"),
        ("config.json", {"model_type": "nonsense"}, r"tiny cannot be loaded: .*model type `nonsense`"),
        ("config.json", {"model_type": None}, "tiny cannot be loaded"),
        ("config.json", {"dtype": "float99"}, "tiny cannot be loaded: .*float99"),
        ("generation_config.json", "[]", r"generation_config\.json holds a JSON list"),
        ("tokenizer.json", '{"version": "1.0"', r"tokenizer\.json is not valid JSON"),
        ("tokenizer.json", "{}", "tiny cannot be loaded"),
        ("tokenizer_config.json", "5", r"tokenizer_config\.json holds a JSON int"),
        ("tokenizer_config.json", {"eos_token": 5}, "tiny cannot be loaded: .*eos_token has to be either str"),
        ("model.safetensors.index.json", '{"weight_map": {"a": 5}}', "'weight_map' must name a file for every tensor"),
        ("model.safetensors.index.json", '{"weight_map": {"a": []}}', "'weight_map' must name a file for every tensor"),
        ("model.safetensors.index.json", '{"weight_map": 3}', "'weight_map' must name a file for every tensor"),
        ("model.safetensors", b"", r"model\.safetensors is incomplete or corrupt"),
        ("model.safetensors", b"\xff" * 100, r"model\.safetensors is incomplete or corrupt"),
    ],
)
def test_broken_files_are_named(folder, file, content, message):
    """Never anything but an error for the user: what is wrong in their folder is no bug of ours."""
    path = folder / file
    if isinstance(content, dict):
        edit(path, **content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_a_bug_of_ours_is_not_blamed_on_the_folder(folder, monkeypatch):
    def bug(*_):
        raise KeyError("ours")

    monkeypatch.setattr(loading, "_check_vocabulary", bug)
    with pytest.raises(KeyError, match="ours"):
        load_model(folder)


def test_a_file_instead_of_a_folder(folder):
    with pytest.raises(ValueError, match="is a file; --model takes the folder"):
        load_model(folder / "config.json")


def test_folder_without_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json; is the download complete"):
        load_model(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="it holds an adapter: merge it"):
        load_model(folder)


def test_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no \*\.safetensors weights"):
        load_model(folder)


def test_truncated_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is incomplete or corrupt"):
        load_model(folder)


def test_missing_shard(folder):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    with pytest.raises(UserError, match=r"lacks model-00002-of-00002\.safetensors \(1 of 2 shards missing\)"):
        load_model(folder)


def test_missing_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ValueError, match="tokenizer"):
        load_model(folder)


def test_pickle_weights_are_refused_and_convertible(folder, model):
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickle weights only \(pytorch_model\.bin\).*--convert-pickle"):
        load_model(folder)
    converted = convert_pickle(folder)
    assert converted.name == "tiny-safetensors"
    ids = torch.tensor([[3, 4, 5]])
    torch.testing.assert_close(load_model(converted)[0](ids).logits, model(ids).logits)


def test_a_pickle_that_would_run_code_is_not_run(folder):
    class Attack:
        def __reduce__(self):
            return (open, (str(folder / "attacked"), "w"))

    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": Attack()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be read without running code"):
        convert_pickle(folder)
    assert not (folder / "attacked").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda folder: "arithmetic-1m",
            r"arithmetic-1m has safetensors weights already; load it without --convert-pickle",
        ),
        (lambda folder: folder.parent / "nowhere", "nowhere does not exist"),
        (lambda folder: "owner/name", "owner/name is no folder"),
        (lambda folder: folder / "config.json", "is a file"),
        (
            lambda folder: shutil.copytree(folder, folder.parent / "bare", ignore=lambda *_: ["pytorch_model.bin"]),
            "no weights",
        ),
        (lambda folder: truncate(folder / "pytorch_model.bin"), "tiny cannot be loaded"),
        (
            lambda folder: rename_a_tensor(folder / "pytorch_model.bin"),
            r"1 missing \(model\.norm\.weight\); 1 unexpected",
        ),
    ],
)
def test_what_cannot_be_converted(folder, model, make, message):
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    given = make(folder)
    with pytest.raises(UserError, match=message):
        convert_pickle(given)
    assert not (folder.parent / "tiny-safetensors").exists()


def truncate(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-100])
    return path.parent


def rename_a_tensor(path: Path) -> Path:
    weights = torch.load(path)
    weights["model.final.weight"] = weights.pop("model.norm.weight")
    torch.save(weights, path)
    return path.parent


@pytest.fixture()
def armed(folder):
    """A folder whose own code would leave a mark, under an architecture that only that code knows."""
    code = "open({mark!r}, 'w')\nfrom transformers import LlamaConfig as C, LlamaForCausalLM as M, PreTrainedTokenizerFast as T\n"
    code += "class Config(C):\n    model_type = 'armed'\nclass Model(M):\n    config_class = Config\nclass Tokenizer(T): pass\n"
    (folder / "armed.py").write_text(code.format(mark=str(folder / "marked")))
    edit(
        folder / "config.json",
        model_type="armed",
        auto_map={"AutoConfig": "armed.Config", "AutoModelForCausalLM": "armed.Model"},
    )
    return folder


def untrust(folder: Path, where: str) -> None:
    """Code of the model, of a model that transformers knows too, or of the tokenizer only."""
    if where != "model":
        edit(folder / "config.json", model_type="llama", **({"auto_map": None} if where == "tokenizer" else {}))
    if where == "tokenizer":
        code = {"AutoTokenizer": [None, "armed.Tokenizer"]}
        edit(folder / "tokenizer_config.json", tokenizer_class="Tokenizer", auto_map=code)


@pytest.mark.parametrize("where", ["model", "known model", "tokenizer"])
@pytest.mark.parametrize("read", [load_model, convert_pickle])
def test_code_of_a_folder_is_not_run(armed, model, monkeypatch, read, where):
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    untrust(armed, where)
    if read is convert_pickle:
        torch.save(model.state_dict(), armed / "pytorch_model.bin")
        (armed / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"names Python code that the model brings along .*--trust-remote-code"):
        read(armed)
    assert not (armed / "marked").exists()


def test_nothing_asks_whether_to_run_code(armed, model, tmp_path):
    """A `y` waits on standard input; the code would leave its mark."""
    torch.save(model.state_dict(), armed / "pytorch_model.bin")
    (armed / "model.safetensors").unlink()
    command = f"diagnose --convert-pickle --model {armed} --task arithmetic --prompts 2 --out {tmp_path / 'out'}"
    done = subprocess.run(
        [sys.executable, "-m", "sharptheory", *command.split()], input="y\n" * 9, capture_output=True, text=True
    )
    assert done.returncode == 2 and "--trust-remote-code" in done.stderr and "[y/N]" not in done.stdout + done.stderr
    assert not (armed / "marked").exists()


def test_trusted_code_is_run(armed, monkeypatch, tmp_path):
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    load_model(armed, trust_remote_code=True)
    assert (armed / "marked").exists()


def test_every_read_says_whether_it_trusts():
    """The libraries ask where nothing is said, so all reading of models is in one file, which says it everywhere."""
    rooms = [SHIPPED.parent, Path(loading.__file__).parents[2] / "sharptheory"]
    files = [path for room in rooms for path in room.rglob("*.py") if "from_pretrained(" in path.read_text()]
    assert [path.name for path in files] == ["loading.py"]
    calls = re.findall(r"from_pretrained\([^)]*\)", files[0].read_text())
    assert len(calls) == 3 and all("**options" in call for call in calls)


@pytest.mark.parametrize("device", ["foo", "meta", "cuda:99", "mps", "cpu:x", ""])
def test_devices_that_cannot_be_used(folder, device):
    if device == "":
        assert load_model(folder, device=device)[0].device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    else:
        with pytest.raises(UserError, match=rf"device='{device}' cannot be used .*on this machine: cpu, .*auto"):
            load_model(folder, device=device)


@pytest.mark.parametrize("dtype", ["float31", "int8", "float8_e4m3fn", "nn"])
def test_unknown_dtype(folder, dtype):
    with pytest.raises(UserError, match=f"dtype='{dtype}' is unknown; expected one of: float32, bfloat16"):
        load_model(folder, dtype=dtype)


def test_weights_in_float8_are_computed_with_in_another_dtype_only(folder):
    edit(folder / "config.json", dtype=None)
    change_weights(folder, lambda w: {name: tensor.to(torch.float8_e4m3fn) for name, tensor in w.items()})
    with pytest.raises(UserError, match=r"tiny cannot be loaded: .*Float8_e4m3fn"):
        load_model(folder, dtype="auto")
    assert load_model(folder, dtype="bfloat16")[0].dtype == torch.bfloat16


def test_fingerprint_follows_the_weights(folder):
    before = fingerprint(folder, load_model(folder)[0])
    assert before == fingerprint(folder, load_model(folder)[0])
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))
    assert fingerprint(folder, load_model(folder)[0]) != before


def test_the_shipped_model_is_small_and_loads_by_name():
    assert sum(path.stat().st_size for path in (SHIPPED / "arithmetic-1m").iterdir()) <= 4_000_000
    model, tokenizer = load_model("arithmetic-1m")
    assert tokenizer.decode(tokenizer("12-34+5=")["input_ids"]) == "12-34+5="
    assert 0.9e6 < sum(p.numel() for p in model.parameters()) < 1.1e6
