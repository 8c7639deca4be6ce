"""Load a model and its tokenizer from a folder or hub name: safetensors only, checked before anything is read."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from sharptheory.errors import UserError

SHIPPED = Path(__file__).parents[1] / "models"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def resolve(model: str | Path) -> str:
    """A folder as it is, the name of a shipped model as its folder, anything else as a hub name."""
    folder = Path(model).expanduser()
    if folder.exists():
        return str(folder)
    if (SHIPPED / str(model)).is_dir():
        return str(SHIPPED / str(model))
    if folder.is_absolute() or str(model).startswith((".", "~")) or str(model).count("/") > 1:
        shipped = ", ".join(sorted(p.name for p in SHIPPED.iterdir()))
        raise FileNotFoundError(f"model folder {model} does not exist; give a folder, a hub name or one of: {shipped}")
    return str(model)


def check_folder(folder: Path) -> None:
    """Raise an error that says what is missing or broken in a model folder, and what to do about it."""
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; --model takes the folder that holds config.json and *.safetensors")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} has no config.json; is the download complete?")
    index = folder / "model.safetensors.index.json"
    shards = {path.name for path in folder.glob("*.safetensors")}
    if index.is_file():
        try:
            named = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise UserError(f"{index} is not a valid index ({error!r}); download it again") from None
        if missing := sorted(named - shards):
            raise FileNotFoundError(f"{folder} lacks {missing[0]} ({len(missing)} of {len(named)} shards missing)")
    if not shards:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLE_SUFFIXES)
        if pickles:
            raise UserError(
                f"{folder} has pickle weights only ({pickles[0]}), which can run code when loaded; --convert-pickle "
                "reads them without running code and writes a safetensors copy beside the folder"
            )
        raise FileNotFoundError(f"{folder} has no *.safetensors weights; is the download complete?")
    for name in sorted(shards):
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except SafetensorError as error:
            raise UserError(f"{folder / name} is incomplete or corrupt ({error}); download it again") from None


def convert_pickle(folder: str | Path) -> Path:
    """Write a safetensors copy of a folder with pickle weights, read in weights-only mode; returns the new folder."""
    folder = Path(folder)
    target = folder.with_name(folder.name + "-safetensors")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=False, weights_only=True, local_files_only=True
        )
    except pickle.UnpicklingError as error:
        raise UserError(f"{folder} cannot be read without running code it contains; it was not loaded") from error
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(target)
    return target


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
        dtype: ``float32``, ``bfloat16`` …; default the checkpoint's own on CUDA, float32 on the CPU.
        trust_remote_code: allow the model folder to bring its own Python code (off unless asked for).

    Raises:
        FileNotFoundError, ValueError: the folder is missing, incomplete, or holds pickle weights only.
    """
    name = resolve(model)
    if Path(name).exists():
        check_folder(Path(name))
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("auto" if torch.cuda.is_available() and device != "cpu" else "float32")
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise UserError(f"dtype={dtype!r} is not a torch dtype; use float32, bfloat16 or float16")
    options = dict(trust_remote_code=trust_remote_code)
    spread = {"device_map": "auto"} if device == "auto" else {}
    if spread and importlib.util.find_spec("accelerate") is None:
        raise UserError("device='auto' needs accelerate: pip install 'sharptheory[train]'")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        loaded = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype if dtype == "auto" else getattr(torch, dtype), use_safetensors=True, **options, **spread
        )
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        where = "" if Path(name).exists() else f"{name!r} is neither a folder nor reachable on the hub: "
        raise UserError(f"{where}{reason}") from error
    rows = loaded.get_input_embeddings().num_embeddings
    if rows < len(tokenizer):
        raise UserError(
            f"{model}: the tokenizer has {len(tokenizer)} tokens but the model embeds {rows}; they do not belong together"
        )
    return (loaded if spread else loaded.to(device)).eval(), tokenizer


def fingerprint(model: str | Path, loaded: PreTrainedModel) -> str:
    """A short hash that changes when a model's weights or configuration do (ends of large files, not all of them)."""
    digest, folder = hashlib.blake2b(digest_size=8), Path(resolve(model))
    if not folder.is_dir():
        digest.update(f"{folder}@{getattr(loaded.config, '_commit_hash', None)}".encode())
        return digest.hexdigest()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 22))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()


def quiet_transformers() -> None:
    """No progress bars or advice from transformers: this program draws its own."""
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
