"""Load a model and its tokenizer from a folder or hub name: safetensors only, every weight from the checkpoint.

Nothing here runs code that a model brings along unless the caller trusts it, and nothing asks.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import os
import pickle
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from sharptheory.errors import UserError
from sharptheory.runs import digest

SHIPPED = Path(__file__).parents[1] / "models"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
DTYPES = ("float32", "bfloat16", "float16", "float64")
INDEX = "model.safetensors.index.json"
#: Files of a model folder that hold one JSON object, where they are there.
OBJECTS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", INDEX)
#: Fields of ``config.json`` that count something, under the names that architectures give them.
SIZES = (
    "hidden_size", "n_embd", "d_model", "num_hidden_layers", "n_layer", "n_layers", "num_attention_heads", "n_head",
    "n_heads", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size", "max_position_embeddings",
)  # fmt: skip
#: Those of them that count layers.
LAYERS = ("num_hidden_layers", "n_layer", "n_layers")
#: Tensors that an error names.
NAMED = 3


def load_model(
    model: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer.

    Args:
        model: folder, name of a shipped model, or hub name.
        device: ``cpu``, ``cuda``, ``cuda:1`` …; ``auto`` spreads the layers over all devices (with accelerate), for
            models that one cannot hold; default CUDA if there is one.
        dtype: ``float32``, ``bfloat16``, ``float16`` or ``float64``; default the checkpoint's own on CUDA, float32 on
            the CPU.
        trust_remote_code: let the model bring its own Python code (otherwise such a folder is refused).

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        UserError: the model is not there, or its folder is incomplete, broken, holds pickle weights only or code that is
            not trusted; its weights are not those that its configuration describes; the tokenizer is of another model;
            it cannot compute; `device` or `dtype` cannot be used.
    """
    name = resolve(model)
    device = _usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = _known_dtype(dtype or ("auto" if torch.cuda.is_available() and device != "cpu" else "float32"))
    options = dict(trust_remote_code=bool(trust_remote_code))
    if Path(name).exists():
        check_folder(Path(name), trust_remote_code=trust_remote_code)
    else:
        options["local_files_only"] = not _on_hub(name)
    with _reading(name):
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
    spread = {"device_map": "auto"} if device == "auto" else {}
    loaded = _load_weights(name, use_safetensors=True, dtype=dtype, **options, **spread)
    _check_vocabulary(name, loaded, tokenizer)
    if not spread:
        with _reading(name):
            loaded.to(device)
    _check_computes(name, loaded.eval(), tokenizer)
    return loaded, tokenizer


def convert_pickle(model: str | Path, *, trust_remote_code: bool = False) -> Path:
    """Write a safetensors copy of a folder with pickle weights beside it, and return the copy's folder.

    The pickle is read in weights-only mode, which runs none of the code that it may hold.

    Args:
        model: folder.
        trust_remote_code: let the model bring its own Python code (otherwise such a folder is refused).

    Raises:
        UserError: there is no such folder, it has no pickle weights or safetensors already, its weights cannot be read
            without running code, or they are not those that its configuration describes.
    """
    folder = Path(resolve(model)).resolve()
    if not folder.exists():
        raise UserError(f"{model} is no folder; --convert-pickle converts a folder on this machine")
    check_settings(folder, trust_remote_code=trust_remote_code)
    if any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has safetensors weights already; load it without --convert-pickle")
    if not _pickles(folder):
        raise UserError(f"{folder} has no weights to convert; is the download complete?")
    options = dict(trust_remote_code=bool(trust_remote_code), local_files_only=True)
    try:
        loaded = _load_weights(str(folder), use_safetensors=False, weights_only=True, dtype="auto", **options)
    except UserError as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            raise UserError(f"{folder} cannot be read without running code it contains; it was not loaded") from error
        raise
    with _reading(str(folder)):
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    target = folder.with_name(folder.name + "-safetensors")
    loaded.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


# Where a model is ----------------------------------------------------------------------------------------------------


def resolve(model: str | Path) -> str:
    """A folder as it is, the name of a shipped model as its folder, ``owner/name`` or a cached name as a hub name.

    Raises:
        UserError: it is none of these; says at once which names are near.
    """
    folder = Path(os.path.expanduser(model))
    if folder.exists():
        return str(folder)
    if (SHIPPED / str(model)).is_dir():
        return str(SHIPPED / str(model))
    if folder.is_absolute() or str(model).startswith((".", "~")) or str(model).count("/") > 1:
        raise UserError(f"model folder {model} does not exist; {_near(folder)}")
    if "/" not in str(model) and not _cached(str(model)):
        raise UserError(f"{model} is neither a folder, a shipped model nor a hub name (OWNER/NAME); {_near(folder)}")
    return str(model)


def _near(folder: Path) -> str:
    """Shipped models and folders whose names are like that of a folder that is not there."""
    shipped = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
    beside = [path for path in folder.parent.iterdir() if path.is_dir()] if folder.parent.is_dir() else []
    near = difflib.get_close_matches(folder.name, [*shipped, *(path.name for path in beside)], cutoff=0.7)
    if near:
        known = {**{path.name: str(path) for path in beside}, **dict(zip(shipped, shipped))}
        return f"did you mean {' or '.join(known[name] for name in dict.fromkeys(near))}?"
    return f"shipped models are {', '.join(shipped)}"


def _cached(name: str) -> bool:
    try:
        return isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        return False


def _on_hub(name: str) -> bool:
    """Whether the hub answers for a model; False if only a cached copy can be read.

    One request without retries: the library's own repeat theirs for most of a minute where there is no network.
    """
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=10)
    except Exception as error:
        if _cached(name):
            return False
        near = _near(Path(name))
        raise UserError(f"{name} is neither a folder nor reachable on the hub ({_reason(error)}); {near}") from error
    return True


# What a folder holds -------------------------------------------------------------------------------------------------


def check_folder(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Check that a model folder is complete and can be read, before anything is loaded from it.

    Raises:
        UserError: says what is missing or broken, and what to do about it.
    """
    check_settings(folder, trust_remote_code=trust_remote_code)
    shards = sorted(folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        _check_index(folder / INDEX, {path.name for path in shards})
    if not shards and (pickles := _pickles(folder)):
        raise UserError(
            f"{folder} has pickle weights only ({pickles[0]}), which can run code when loaded; --convert-pickle "
            "reads them without running code and writes a safetensors copy beside the folder"
        )
    if not shards:
        raise UserError(f"{folder} has no *.safetensors weights; is the download complete?")
    tensors = 0
    for path in shards:
        try:
            with safe_open(path, framework="pt") as held:
                tensors += len(held.keys())
        except Exception as error:
            raise UserError(f"{path} is incomplete or corrupt ({_reason(error)}); download it again") from None
    _check_sizes(folder / "config.json", tensors, sum(path.stat().st_size for path in shards))


def check_settings(folder: Path, *, trust_remote_code: bool = False) -> None:
    """Check the files of a model folder other than its weights: JSON objects, sensible sizes, no code unless trusted.

    Raises:
        UserError: names the file and the field.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; --model takes the folder that holds config.json and *.safetensors")
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        cure = "it holds an adapter: merge it into its model and save that" if adapter else "is the download complete?"
        raise UserError(f"{folder} has no config.json; {cure}")
    held = {name: _json_object(folder / name) for name in OBJECTS if (folder / name).is_file()}
    for file, content in held.items():
        if content.get("auto_map") and not trust_remote_code:
            raise UserError(
                f"{folder / file} names Python code that the model brings along ('auto_map'); it was not run: read it, "
                "then allow it with --trust-remote-code, or delete 'auto_map' if transformers knows the architecture"
            )
    for part in _parts(held["config.json"]):
        for field in SIZES:
            value = part.get(field)
            if value is not None and not isinstance(value, list) and (type(value) is not int or value < 1):
                raise UserError(f"{folder / 'config.json'}: {field} is {value!r}; expected a positive integer")


def _check_sizes(config: Path, tensors: int, held: int) -> None:
    """Refuse a model that would take hours, or all memory, to build: of more layers or units than its weights can hold.

    What is small enough to build is left to the comparison with the weights, which names tensors.

    Args:
        tensors: in the weights. held: their bytes.
    """
    for part in _parts(_json_object(config)):
        for field in set(SIZES).intersection(part) - {"max_position_embeddings"}:
            there, most = (tensors, max(tensors, 1_000)) if field in LAYERS else (held, max(held, 10_000))
            if isinstance(value := part[field], int) and value > most:
                what = "tensors" if field in LAYERS else "bytes"
                raise UserError(f"{config}: {field} is {value}; weights of {there:,} {what} are those of another model")


def _parts(config: dict) -> list[dict]:
    """A configuration, and that of the language model inside it if there is one."""
    nested = config.get("text_config")
    return [config, nested] if isinstance(nested, dict) else [config]


def _json_object(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({_reason(error)}); download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a JSON {type(content).__name__}; expected an object")
    return content


def _check_index(index: Path, shards: Collection[str]) -> None:
    named = _json_object(index).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(shard, str) for shard in named.values()):
        raise UserError(f"{index}: 'weight_map' must name a file for every tensor; download it again")
    if missing := sorted(set(named.values()) - set(shards)):
        all_ = len(set(named.values()))
        raise UserError(f"{index.parent} lacks {missing[0]} ({len(missing)} of {all_} shards missing)")


def _pickles(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)


# What is loaded ------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn whatever the libraries raise while they read a model into one line that names it.

    Wrapped around calls of the libraries only, so that a bug of ours still shows as one.
    """
    try:
        yield
    except Exception as error:
        raise UserError(f"{name} cannot be loaded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line of an error that says something, with the error's kind where the text alone would not do."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if text.endswith(":") and len(lines) > 1:
        text = f"{text} {lines[1]}"
    return text if isinstance(error, OSError | ValueError) and text else f"{type(error).__name__}: {text}"


def _load_weights(name: str, **options) -> PreTrainedModel:
    """A model of which no parameter is left at its random start and no tensor of the checkpoint unused."""
    with _reading(name):
        loaded, found = AutoModelForCausalLM.from_pretrained(
            name, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    faults = [
        f"{len(tensors)} {fault} ({', '.join(sorted(tensors)[:NAMED])}{' …' * (len(tensors) > NAMED)})"
        for fault, tensors in (
            ("missing", found["missing_keys"]),
            ("unexpected", found["unexpected_keys"]),
            (
                "of another shape",
                [f"{tensor}: {list(held)} instead of {list(due)}" for tensor, held, due in found["mismatched_keys"]],
            ),
        )
        if tensors
    ]
    if faults:
        raise UserError(
            f"{name}: its weights are not those that its config.json describes, tensors {'; '.join(faults)}; "
            "what is missing would be random: check that both belong together, or download the model again"
        )
    return loaded


def _check_vocabulary(name: str, loaded: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    rows = loaded.get_input_embeddings().num_embeddings
    if rows < len(tokenizer):
        raise UserError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens but the model embeds {rows}; they do not belong together"
        )


def _check_computes(name: str, loaded: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """One pass over one character: a field or a weight that nothing reads before then is found before anything is sampled."""
    with _reading(name), torch.inference_mode():
        ids = tokenizer("1")["input_ids"] or [0]
        logits = loaded(torch.tensor([ids], device=loaded.device)).logits
    if logits.isnan().any():
        raise UserError(f"{name}: its weights give no numbers for probabilities (NaN); download it again")


def _usable_device(device: str) -> str:
    """`device`, if sampling can compute on it (in float64 too)."""
    if device == "auto":
        if importlib.util.find_spec("accelerate") is None:
            raise UserError("device='auto' needs accelerate: pip install 'sharptheory[train]'")
        return device
    try:
        float(torch.zeros(1, dtype=torch.float64, device=device))
    except Exception as error:
        known = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())), "auto"]
        raise UserError(
            f"device={device!r} cannot be used ({_reason(error)}); on this machine: {', '.join(known)}"
        ) from error
    return device


def _known_dtype(dtype: str) -> str | torch.dtype:
    if dtype != "auto" and dtype not in DTYPES:
        raise UserError(f"dtype={dtype!r} is unknown; expected one of: {', '.join(DTYPES)}")
    return dtype if dtype == "auto" else getattr(torch, dtype)


def fingerprint(model: str | Path, loaded: PreTrainedModel) -> str:
    """A short hash that changes when a model's weights or configuration do: what identifies a model in a run.

    Of large files it reads the two ends; of a model from the hub, the name and the commit.

    Args:
        model: as given to `load_model`. loaded: the model it returned.
    """
    folder, parts = Path(resolve(model)), hashlib.blake2b(digest_size=8)
    if not folder.is_dir():
        return digest(f"{folder}@{getattr(loaded.config, '_commit_hash', None)}")
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        size = path.stat().st_size
        parts.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            parts.update(file.read(1 << 22))
            file.seek(max(0, size - (1 << 20)))
            parts.update(file.read())
    return digest(parts.hexdigest())


def quiet_transformers() -> None:
    """No progress bars or advice from transformers: the command line has its own."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
