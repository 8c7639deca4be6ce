"""Model folders with files missing, damaged, or of another model: loaded and able to compute, or refused by name."""

import json
import resource
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sharptheory.llm.engines.loading import SHIPPED, load_model, quiet_transformers
from tests.fuzz.harness import FOLDERS, Choices, read
from tests.fuzz.mutations import HUGE, JSON, NUMBERS, WORDS, mutated
from tests.llm.conftest import model, random_llama, tokenizer  # noqa: F401

#: Bytes of address space beyond what is taken: a size in a damaged file must not fill the machine.
ROOM = 8 << 30
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
VALUES = (
    0, -1, 1, 2, 3, 7, 64, 10**3, 10**6, 10**9, 10**12, 2**63, 10**400, 0.5, -0.5, 1e-300, 1e300, None, True, "", "a", "2",
    "\u0000", "😀", [], {}, [1], [0, 1], ["a"], [[]], {"a": 1}, "llama", "gpt2", "bert", "t5", "mamba",
    "float16", "float8_e4m3fn", "int8",
    "complex64", "gelu", "silu", "linear", "yarn", "sdpa", "eager", "flash_attention_2", "LlamaForCausalLM", "GPT2LMHeadModel",
    "PreTrainedTokenizerFast", "LlamaTokenizer", "BertTokenizer", "{{ 1/0 }}", "{% for %}", "../../etc/passwd", "owner/name",
)  # fmt: skip
NAMES = (
    "model_type", "architectures", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "intermediate_size", "max_position_embeddings", "rope_parameters", "rope_scaling", "hidden_act", "dtype",
    "torch_dtype", "tie_word_embeddings", "eos_token_id", "pad_token_id", "bos_token_id", "quantization_config", "auto_map",
    "text_config", "rms_norm_eps", "attn_implementation", "sliding_window", "layer_types", "is_encoder_decoder", "id2label",
    "num_labels", "use_cache", "attention_bias", "tokenizer_class", "chat_template", "model_max_length", "added_tokens_decoder",
    "extra_special_tokens", "eos_token", "unk_token", "pad_token", "temperature", "do_sample", "max_length", "max_new_tokens",
    "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model", "type", "vocab", "merges", "version",
    "truncation", "padding", "processor_class", "transformers_version", "_name_or_path", "base_model_name_or_path",
)  # fmt: skip
#: Files that a folder may hold besides, and what may be in them.
EXTRA = (
    "model.safetensors.index.json", "adapter_config.json", "adapter_model.safetensors", "special_tokens_map.json",
    "added_tokens.json", "chat_template.jinja", "vocab.json", "tokenizer.model", "model-00001-of-00002.safetensors",
    "processor_config.json",
)  # fmt: skip
CONTENTS = (
    b"{}", b"[]", b"", b'{"weight_map": {}}', b'{"weight_map": {"a": 5}}', b"\xff", b'{"base_model_name_or_path": "x"}', b"{{ a",
)  # fmt: skip
TOKENS = tuple(text.encode() for text in (*NUMBERS, *WORDS, *JSON))


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tokenizer) -> list[Path]:  # noqa: F811
    """A tiny model, one that ties its embeddings, and a shipped one."""
    made = []
    for tied in (False, True):
        made.append(tmp_path_factory.mktemp("models") / "tiny")
        random_llama(tokenizer, num_hidden_layers=1, tie_word_embeddings=tied).save_pretrained(made[-1])
        tokenizer.save_pretrained(made[-1])
    return [*made, SHIPPED / "arithmetic-1m"]


@pytest.fixture()
def little_memory() -> Iterator[None]:
    """Refuses what no file of these sizes needs, so that a number in one cannot end the tests of others."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").is_file() else 0
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def spoil(choices: Choices, folder: Path, name: str) -> str:
    """Spoil a file that is whole, and say how."""
    path = folder / name
    content = path.read_bytes()
    match choices.below(16):
        case 0:
            path.unlink()
            return f"{name} removed"
        case 1:
            path.write_bytes(mutated(choices, [content], TOKENS, most=2))
            return f"{name} {path.read_bytes()[:3_000]!r}"
        case 2:
            path.rename(folder / choices.pick(("pytorch_model.bin", "vocab.json", "adapter_config.json", "x")))
            return f"{name} renamed"
        case 3:
            extra = choices.pick(EXTRA)
            (folder / extra).write_bytes(choices.pick((*CONTENTS, content)))
            return f"{extra} added"
        case _ if name.endswith(".json"):
            held, how = respelled(choices, json.loads(content))
            text = json.dumps(held)
            if choices.once_in(32):
                text = text.replace('""', json.dumps(choices.pick(HUGE)), 1)
            path.write_text(text)
            return f"{name}: {how}"
        case _:
            path.write_bytes(rewired(choices, content))
            return f"{name} rewired"


def respelled(choices: Choices, held):
    """A JSON object with fields set, removed or renamed, at any depth; and what was done."""
    done = []
    for _ in range(choices.below(2) + 1):
        part = held
        while nested := [value for value in _parts(part) if isinstance(value, dict | list) and value]:
            if not choices.below(2):
                break
            part = choices.pick(nested)
        if isinstance(part, dict):
            key = choices.pick((*part, *part, *NAMES)) if choices.below(4) else choices.pick(NAMES)
        else:
            key = choices.below(len(part))
        match choices.below(8):
            case 0 if isinstance(part, dict):
                part.pop(key, None)
            case 1 if isinstance(part, dict) and part:
                part[key] = part[choices.pick(list(part))]
            case _:
                part[key] = choices.pick(VALUES)
        done.append(f"{key!r} in {str(held)[:1_500]}")
    return held, "; ".join(done)


def _parts(held) -> list:
    return list(held.values()) if isinstance(held, dict) else held if isinstance(held, list) else []


def rewired(choices: Choices, content: bytes) -> bytes:
    """Safetensors with another header: tensors renamed, of other types, shapes or places; or other numbers."""
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    name = choices.pick([name for name in header if name != "__metadata__"])
    match choices.below(8):
        case 0:
            header[name]["dtype"] = choices.pick(("F16", "BF16", "F64", "I8", "U8", "BOOL", "F8_E4M3", "X", 5, None))
        case 1:
            header[name]["shape"] = choices.pick(
                ([], [0], [1], [-1], [2**40], [2**63], "a", None, header[name]["shape"][::-1])
            )
        case 2:
            header[name]["data_offsets"] = choices.pick(([0, 0], [4, 0], [0, 2**62], [-4, 0], [0], "a", [1, 5]))
        case 3:
            header[choices.pick(("x", "", "lm_head.weight", "model.norm.weight"))] = header.pop(name)
        case 4:
            del header[name]
        case 5:
            header["__metadata__"] = choices.pick(
                ({}, {"format": "tf"}, {"format": 5}, None, [], {"format": "pt", "a": "b"})
            )
        case 6:
            data = struct.pack("<f", choices.pick((float("nan"), float("inf"), 1e38))) * (len(data) // 4)
        case _:
            data = data[: choices.below(len(data))]
    text = json.dumps(header).encode()
    return struct.pack("<Q", choices.pick((len(text), len(text), len(text), len(text) + 1, 2**63, 0))) + text + data


def test_model_folders(fuzz, folder, folders, little_memory):
    quiet_transformers()
    target = folder / "spoilt"

    def check(choices):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(choices.pick([*folders, folders[0]]), target, copy_function=shutil.copyfile)
        names = dict.fromkeys(choices.pick(FILES) for _ in range(choices.below(2) + 1))
        choices.made = [spoil(choices, target, name) for name in names]
        # Advice of transformers that a file is old or odd is no fault.
        loaded = read(lambda: load_model(target, device="cpu"), target.name, silent=Warning)
        if loaded is None:
            return "refused"
        model, tokenizer = loaded  # noqa: F811
        assert len(tokenizer) <= model.get_input_embeddings().num_embeddings
        assert not model(torch.tensor([tokenizer("1+1=")["input_ids"] or [0]])).logits.isnan().any()
        return "read"

    fuzz(check, FOLDERS, seconds=30)
