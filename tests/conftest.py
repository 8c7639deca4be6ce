import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test workers with two spinning threads each stall one another

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # on a busy machine any example may be slow
settings.load_profile("untimed")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the shared folder with task data and public models is not beside this clone")
    return SHARED


def pool_from_table(
    probs: np.ndarray, m: int, rng: np.random.Generator, correct: np.ndarray | None = None
) -> pd.DataFrame:
    """A pool of `m` samples per prompt from a table of probabilities ``[X, Y]``; response y has token ``(y,)``."""
    probs = np.asarray(probs, dtype=float)
    drawn = np.stack([rng.choice(len(row), size=m, p=row) for row in probs])
    prompt = np.repeat(np.arange(len(probs)), m)
    response = drawn.ravel()
    pool = pd.DataFrame(
        {
            "prompt_id": prompt,
            "sample_id": np.tile(np.arange(m), len(probs)),
            "tokens": [(int(y),) for y in response],
            "log_likelihood": np.log(probs[prompt, response]),
            "length": 1,
            "finished": True,
            "source": "table",
        }
    )
    if correct is not None:
        pool["correct"] = pd.array(np.asarray(correct, dtype=bool)[prompt, response], dtype="boolean")
    return pool
