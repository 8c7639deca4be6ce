import gc

import pytest


@pytest.fixture(scope="session", autouse=True)
def imports_are_no_garbage():
    """The trainer collects garbage whenever it starts, which would look through all that was imported each time."""
    gc.freeze()
    yield
    gc.unfreeze()
