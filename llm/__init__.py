"""Language models: engines, decoding, training. Imported as ``sharptheory.llm``; needs the extra ``llm``."""

import os
from pathlib import Path

import sharptheory

# Threads that wait by spinning take the cores that busy ones need: on a shared machine 10 to 100 times the time. Read when
# PyTorch is first imported; no result depends on it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# In a checkout this folder stands beside the core. A copy that is not installed would run its own core with the
# language-model half of whichever checkout is.
_own = Path(sharptheory.__file__).parents[1] / "llm/__init__.py"
if _own.is_file() and not _own.samefile(__file__):
    raise ImportError(
        f"sharptheory comes from {_own.parents[1]} but sharptheory.llm from {Path(__file__).parents[1]}, which is installed; "
        f"install the checkout you work in: python -m pip install --editable {_own.parents[1]}"
    )
