"""A pool on disk survives a kill at any moment, and grows."""

import pytest

from sharptheory.measure.pool import Pool
from sharptheory.measure.storage import PoolStore
from sharptheory.runs import claim
from tests.measure.conftest import assert_same_pool, small_pool


@pytest.fixture()
def run(tmp_path):
    with claim(tmp_path, {"content": "samples"}) as run:
        yield run


def test_half_written_pieces_are_ignored(run):
    PoolStore(run).write(small_pool()[:2])
    (run.folder / "pool.parts/00000001.0.parquet.partial").write_bytes(b"half")
    (run.folder / "pool.parquet.partial").write_bytes(b"half")
    store = PoolStore(run)
    assert store.done() == set(zip(small_pool()["prompt_id"][:2], small_pool()["sample_id"][:2]))
    store.write(small_pool()[2:])
    assert_same_pool(store.finish(), Pool.from_frame(small_pool()))
    assert not (run.folder / "pool.parts").exists()
    assert_same_pool(PoolStore(run).finish(), Pool.from_frame(small_pool()))


def test_a_kill_between_merge_and_clean_up_doubles_nothing(run):
    store = PoolStore(run)
    store.write(small_pool()[:2])
    store.write(small_pool()[2:])
    pieces = {path.name: path.read_bytes() for path in store.parts.iterdir()}
    merged, content = store.finish(), store.path.read_bytes()
    store.parts.mkdir()
    for name, old in pieces.items():
        (store.parts / name).write_bytes(old)
    assert_same_pool(PoolStore(run).finish(), merged)
    assert store.path.read_bytes() == content


def test_more_rows_join_a_finished_pool(run):
    store = PoolStore(run)
    store.write(small_pool()[:2])
    store.finish()
    store.write(small_pool()[2:])
    assert_same_pool(store.finish(), Pool.from_frame(small_pool()))


@pytest.mark.parametrize("name", ["pool.parquet", "pool.parts/00000000.0.parquet"])
def test_a_damaged_piece_is_named_with_its_cure(run, name):
    path = run.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=rf"{name} is damaged .*delete it, and its responses are sampled again"):
        PoolStore(run).done()
