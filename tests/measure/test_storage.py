"""A pool on disk survives a kill at any moment."""

from sharptheory.measure.pool import Pool
from sharptheory.measure.storage import PoolWriter
from tests.measure.conftest import assert_same_pool, small_pool


def test_writer_ignores_half_written_pieces(tmp_path):
    writer = PoolWriter(tmp_path)
    writer.write(small_pool()[:2])
    (writer.parts / "00000001.partial").write_bytes(b"half")
    (tmp_path / "pool.partial").write_bytes(b"half")
    writer = PoolWriter(tmp_path)
    assert writer.done() == {0} and not list(tmp_path.rglob("*.partial"))
    writer.write(small_pool()[2:])
    assert_same_pool(writer.finish(), Pool.from_frame(small_pool()))
    assert not writer.parts.exists()
    assert_same_pool(PoolWriter(tmp_path).finish(), Pool.from_frame(small_pool()))


def test_writer_killed_between_merge_and_clean_up_loses_nothing(tmp_path):
    writer = PoolWriter(tmp_path)
    writer.write(small_pool()[:2])
    writer.write(small_pool()[2:])
    pieces = {path.name: path.read_bytes() for path in writer.parts.iterdir()}
    merged = writer.finish()
    writer.parts.mkdir()
    for name, content in pieces.items():
        (writer.parts / name).write_bytes(content)
    assert_same_pool(PoolWriter(tmp_path).finish(), merged)
