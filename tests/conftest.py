"""What tests share: a cache of their own, never the user's, and one finished run of the command line."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tiny networks lose more by waiting for threads than they gain

import pytest
from commands import SMALL, domtrans
from tiny import write_bars


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    before = os.environ.get("DOMTRANS_CACHE")
    os.environ["DOMTRANS_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["DOMTRANS_CACHE"]
    else:
        os.environ["DOMTRANS_CACHE"] = before


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> list[str]:
    """Assignments that name bars instead of digits."""
    folder = tmp_path_factory.mktemp("data")
    return [
        "source=arrays",
        f"source.path={write_bars(folder / 'source.npz')}",
        "source.holdout=0.25",
        "target=arrays",
        f"target.path={write_bars(folder / 'target.npz', channels=1, seed=1)}",
        "target.holdout=0.25",
    ]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data):
    """A finished run, and the process that made it."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, domtrans("train", "digits-dtn-paper", *data, *SMALL, "--out", out)
