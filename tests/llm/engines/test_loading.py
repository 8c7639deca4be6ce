"""Model folders that are missing, half-downloaded, pickled or fine."""

import json

import pytest
import torch

from sharptheory.llm.engines.loading import SHIPPED, convert_pickle, fingerprint, load_model


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


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; give a folder, a hub name or one of: arithmetic-1m"):
        load_model(tmp_path / "nowhere")


def test_unreachable_hub_name(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match="'nobody/nothing' is neither a folder nor reachable"):
        load_model("nobody/nothing")


def test_a_file_instead_of_a_folder(folder):
    with pytest.raises(ValueError, match="is a file; --model takes the folder"):
        load_model(folder / "config.json")


def test_folder_without_config(folder):
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load_model(folder)


def test_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no \*\.safetensors weights"):
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
    with pytest.raises(FileNotFoundError, match=r"lacks model-00002-of-00002\.safetensors \(1 of 2 shards missing\)"):
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


def test_unknown_dtype(folder):
    with pytest.raises(ValueError, match="dtype='float31' is not a torch dtype"):
        load_model(folder, dtype="float31")


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
