"""Hugging Face datasets on disk: a folder of ``save_to_disk``, and arrow files.

| file | is |
|---|---|
| state.json | ``_data_files[].filename``: the arrow files, in order |
| \\*.arrow | a stream of record batches; columns as in a pool, or renamed |
| dataset_dict.json | ``splits``: a folder for each; give one of them |
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sharptheory.errors import UserError
from sharptheory.files import read_json
from sharptheory.measure.formats.record import Imported, Record

FORMAT = "a data set of Hugging Face"


def arrow_files(folder: Path) -> list[Path]:
    """The arrow files of a folder that `save_to_disk` wrote.

    Raises:
        UserError: several splits, or a state.json that names no file of the folder.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = Record(_object(folder / "dataset_dict.json"), f"{folder}/dataset_dict.json").field("splits", list)
        if len(splits) != 1:
            raise UserError(f"{folder} holds the splits {', '.join(map(str, splits))}; give the folder of one of them")
        return arrow_files(folder / Path(str(splits[0])).name)
    state = Record(_object(folder / "state.json"), f"{folder}/state.json")
    files = []
    for i, entry in enumerate(state.field("_data_files", list)):
        name = entry.get("filename") if isinstance(entry, dict) else None
        # Only the name: a path would lead out of the folder.
        if not isinstance(name, str) or not (folder / Path(name).name).is_file():
            raise state.wrong(f"_data_files[{i}].filename", name, "the name of a file in the folder")
        files.append(folder / Path(name).name)
    if not files:
        raise state.wrong("_data_files", [], "the names of the arrow files")
    return files


def read_arrow(path: Path) -> Imported:
    """The rows of an arrow file, of a stream or with an index at its end.

    Raises:
        UserError: neither.
    """
    try:
        with pa.memory_map(str(path)) as source:
            start = source.read(6)
            source.seek(0)
            found = pa.ipc.open_file(source) if start == b"ARROW1" else pa.ipc.open_stream(source)
            return Imported(from_arrow(found.read_all()), format=FORMAT)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable arrow file: {' '.join(str(error).split())[:200]}") from None


def from_arrow(table: pa.Table):
    """A table as a data frame, whole numbers beside nulls as they are: as floats, large ones would merge."""
    return table.to_pandas(ignore_metadata=True, integer_object_nulls=True)


def _object(path: Path) -> dict:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}; expected a JSON object")
    return content
