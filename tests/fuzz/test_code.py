"""Files of a user's own code, spoilt: a task or a reward that works, or an error that names the file."""

import pandas as pd

from sharptheory.measure.pool import Pool
from sharptheory.measure.rewards import load_reward
from sharptheory.tasks import load_task
from tests.fuzz.harness import TEXTS, read
from tests.fuzz.mutations import mutated
from tests.measure.conftest import small_pool

TASK = b'''from sharptheory.tasks import Task

def load(n_prompts, *, seed, digits=2):
    """Sums."""
    prompts = ["1+1=", "2+2="][:n_prompts]
    return Task("mine", prompts, ["2", "4"][:n_prompts], extract=lambda response: response.strip(),
                equal=lambda answer, gold: answer == gold, max_new_tokens=digits + 8)
'''
REWARD = b'''import pandas as pd

def mine(pool):
    """Short responses first."""
    return -pool["log_likelihood"] * 2 + 1
'''
TOKENS = (
    b"None", b"5", b"[]", b"()", b"1/0", b"lambda: 0", b"raise", b"yield", b"return", b"import nothing", b"exit()", b"object()",
    b"float('nan')", b"'x'", b"*", b"**", b"async def", b"class", b"@", b"seed", b"n_prompts", b"Task", b"pool", b"pd.NA",
    b"print", b"-", b"[None]", b"b''", b"{}", b"pool.samples", b"'\\ud800'", b"raise SystemExit",
)  # fmt: skip


def test_tasks_of_code(fuzz, no_packages, folder):
    path = folder / "mine.py"

    def check(choices):
        choices.made = mutated(choices, [TASK], TOKENS)
        path.write_bytes(choices.made)

        def run():
            task = load_task(str(path), 2)
            return [task.grade(text, task.answers[0]) for text in ("2", "", " 4\n")]

        return "refused" if read(run, path.name, silent=Warning) is None else "read"

    fuzz(check, TEXTS)


def test_rewards_of_code(fuzz, no_packages, folder):
    path, pool = folder / "mine.py", Pool.from_frame(small_pool())
    before = pool.frame()

    def check(choices):
        choices.made = mutated(choices, [REWARD], TOKENS)
        path.write_bytes(choices.made)
        values = read(lambda: load_reward(f"{path}:mine")(pool), "mine", silent=Warning)
        pd.testing.assert_frame_equal(pool.frame(), before)
        if values is None:
            return "refused"
        assert values.notna().all() and len(values) == 4
        return "read"

    fuzz(check, TEXTS)
