"""Tasks: prompts, gold answers, and graders that read what a model wrote.

One file per task, with one `Entry` in it that `registry.TASKS` names. A user's own task is a file or an entry point, see
`user`.
"""

from sharptheory.tasks.answers import extractor
from sharptheory.tasks.entry import Entry
from sharptheory.tasks.registry import TASKS, load_task, names, split_task
from sharptheory.tasks.task import Task, choose

__all__ = ["TASKS", "Entry", "Task", "choose", "extractor", "load_task", "names", "split_task"]
