"""Draw every figure from committed results, with its caption beside it, and the gallery of them all.

make figures            # or: python -m experiments.figures [NAME ...]
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.drawing import FIGURES as DRAW
from experiments.drawing import calibration, paper, theory, training  # noqa: F401  (they register their figures)
from experiments.record import RESULTS
from sharptheory.report import plots as plotting

FIGURES = Path(__file__).parents[1] / "figures"
CHARACTERS_PER_INCH = 8  # of a title in bold
#: In reading order: what sharpening costs, when it fails, what it does to a model.
CHAPTERS = {
    "What sharpening costs, and when it fails": (
        "laws", "minimax", "coverage_error", "adaptive", "margin", "separation", "realizability", "greedy", "bon_aware", "iterated",
        "reward_error", "errata"),
    "At inference": ("paper_lift", "paper_curves", "paper_likelihood", "paper_rewards", "answer_mass", "decoding", "pool_size"),
    "By training": ("sharpening", "methods", "limits", "amortisation", "diversity", "training_cost"),
    "How sure the numbers are": ("calibration", "planning"),
}  # fmt: skip


def draw(name: str, results: Path, folder: Path) -> Path:
    """One figure as ``.png`` and ``.pdf`` with its caption as ``.md``."""
    chosen = DRAW[name]
    with plt.style.context(plotting.STYLE):
        table = pd.read_parquet(results / f"{chosen.data}.parquet")
        rows, columns = chosen.panels(table)
        fig, axes = plt.subplots(rows, columns, figsize=(chosen.width * columns, chosen.height * rows))
        chosen.draw(table, *np.ravel(axes))
        title = textwrap.fill(chosen.title, int(CHARACTERS_PER_INCH * chosen.width * columns), break_on_hyphens=False)
        fig.suptitle(title, x=0.01, ha="left", weight="bold")
        fig.savefig(folder / f"{name}.png")
        # Without a date, so that the same data give the same file.
        fig.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        plt.close(fig)
    (folder / f"{name}.md").write_text(chosen.caption + "\n")
    return folder / f"{name}.png"


def gallery(folder: Path) -> str:
    """The figures that a folder holds, in reading order, with captions and what redraws and recomputes each."""
    parts = [
        "# Figures\n\nWritten by `make figures`, which redraws them all from `experiments/results/`; each experiment "
        "recomputes its own data, and each figure is here as PDF too.\n"
    ]
    for chapter, names in CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        for name in names:
            if (folder / f"{name}.png").is_file():
                data = DRAW[name].data
                parts.append(
                    f"### {DRAW[name].title}\n\n![{name}]({name}.png)\n\n{DRAW[name].caption}\n\n"
                    f"`python -m experiments.{data}` writes "
                    f"[the data](../experiments/results/{data}.parquet) with [its provenance](../experiments/results/{data}.json); "
                    f"`python -m experiments.figures {name}` draws it ([PDF]({name}.pdf)).\n"
                )
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"default all: {', '.join(DRAW)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=FIGURES)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(DRAW):
        parser.error(f"no figure {', '.join(sorted(unknown))}; there are {', '.join(DRAW)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or DRAW:
        print(draw(name, arguments.results, arguments.out))
    (arguments.out / "README.md").write_text(gallery(arguments.out))


if __name__ == "__main__":
    main()
