"""A small training in a process of its own, killed at a moment or at a change of its folder, and what its folder holds."""

import contextlib
import io
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import torch

from sharptheory.llm.engines.loading import quiet_transformers
from sharptheory.llm.training.config import Config
from sharptheory.llm.training.sharpen import sharpen
from tests.llm.training.tiny import tiny, tiny_oracle, tiny_task

TASK = tiny_task(["a", "b", "c", "ab", "bc", "ca"], ["a", "b", "c", "a", "b", "c"])
HELD_OUT = tiny_task(["a", "b", "c", "ab"], [None, "b", "c", "a"])
TRAININGS = {
    "sft": dict(rounds=2),
    "dpo": dict(method="dpo"),
    "xpo": dict(method="xpo", rounds=2, optimism=1e-3),
    "adapters": dict(lora_rank=8, rounds=2),
}
#: Wall times, locks, and the folder's own path in the Trainer's words: what no two runs share.
APART = ("times.jsonl", "run.lock", "training_args.bin")


def train(folder: Path, kind: str = "sft", *, oracle=None, **options):
    settings = dict(n_samples=8, epochs=3, batch_size=4, learning_rate=4e-3) | TRAININGS[kind]
    changed = {name: options.pop(name) for name in list(options) if name in Config.__dataclass_fields__}
    config = Config(**settings | changed)
    return sharpen(oracle or tiny_oracle(tiny()), TASK, HELD_OUT, folder, config, **dict(n_eval=8) | options)


def content(folder: Path) -> dict:
    """Of every file its bytes; its values, where bytes depend on more than what is written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in APART]
    return {path.relative_to(folder).as_posix(): _content(path) for path in files}


def _content(path: Path):
    if path.suffix in (".pt", ".pth"):  # a zip file that names itself
        return _listed(torch.load(io.BytesIO(path.read_bytes()), weights_only=False))
    if path.name == "adapter_config.json":  # of a set, whose order is another in each process
        return {
            key: sorted(value) if isinstance(value, list) else value
            for key, value in json.loads(path.read_text()).items()
        }
    if path.name == "digests.json":  # of bytes, which may depend on more than what is written
        return sorted(json.loads(path.read_text()))
    return path.read_bytes()


def _listed(value):
    """Tensors and arrays as lists, which can be compared."""
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(each) for each in value]
    return value.tolist() if hasattr(value, "tolist") else value


# Processes ------------------------------------------------------------------------------------------------------------

#: What changes a folder, as the interpreter audits it; what libraries write in other languages lies between.
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


def changes_of(folder: Path, callback) -> None:
    """Call ``callback(path)`` before every change of a folder that this process makes from now on."""

    def hook(event, arguments):
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        elif event in CHANGES:
            path, writes = arguments[0], True
        else:
            return
        if writes and isinstance(path, (str, Path)) and str(path).startswith(str(folder)):
            callback(str(path))

    sys.addaudithook(hook)


def _work(
    folder: Path, kind: str, kill_at: int | None, kill_before: str | None, listing: Path | None, options: dict
) -> None:
    torch.set_num_threads(1)
    quiet_transformers()
    made = []

    def callback(path):
        if len(made) == kill_at or path == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)
        made.append(path)

    changes_of(folder, callback)
    train(folder, kind, **options)
    if listing is not None:
        listing.write_text("\n".join(made))


def start(
    folder: Path,
    kind: str,
    *,
    kill_at: int | None = None,
    kill_before: str | None = None,
    listing: Path | None = None,
    **options,
):
    """A process that trains in a folder.

    Args:
        kill_at: number of the change before which it kills itself; kill_before: what it then is about to write.
        listing: where to write down all changes. options: of `train`.
    """
    context = multiprocessing.get_context("forkserver")  # whose children find torch imported
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_work, args=(folder, kind, kill_at, kill_before, listing, options))
    process.start()
    return process


def ended(process) -> int:
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def killed_after(process, seconds: float, signal_number: int) -> bool:
    """Whether the signal found it working."""
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal_number)
    code = ended(process)
    assert code in (0, -signal_number)
    return code != 0
