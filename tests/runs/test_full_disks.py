"""A disk that is full, is removed or becomes read-only: the run stops with one sentence, and resumes as if it had not."""

import os
import random
import resource
import signal
from contextlib import ExitStack, contextmanager

import pytest

from domtrans import DomtransError, load
from domtrans.storage.atomic import UNFINISHED_PREFIX
from permissions import as_anyone
from tiny import tiny_recipe
from tiny_runs import go, losses, metrics, unlike


@pytest.fixture(scope="module", autouse=True)
def _imported(tmp_path_factory):
    """Import what a run imports later, which may be unreadable then."""
    folder = tmp_path_factory.mktemp("before")
    go(tiny_recipe(folder), folder / "run")


@contextmanager
def full(run):
    """Files are limited to 100,000 bytes; the system refuses more as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield "cannot be written: File too large"
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def vanished(run):
    """As with a drive that was removed or a mount that failed."""
    away = run.rename(run.with_name("elsewhere"))
    yield "cannot be written: No such file or directory"
    away.rename(run)


@contextmanager
def closed(run):
    """As with a file system that became read-only after a fault."""
    folders = [run, run / "samples"]
    for folder in folders:
        folder.chmod(0o500)
    (run / "metrics.jsonl").chmod(0o400)
    yield "cannot be written: Permission denied"
    for folder in folders:
        folder.chmod(0o700)
    (run / "metrics.jsonl").chmod(0o600)


@pytest.mark.parametrize("fault", [full, vanished, closed])
def test_a_disk_that_fails_in_the_middle_of_a_run(fault):
    with as_anyone() as folder, ExitStack() as later:
        recipe = tiny_recipe(folder, train__steps=8, train__save_every=2)
        whole, step, said = go(recipe, folder / "whole"), random.randrange(2, 7), []

        def fail(progress):
            if progress.phase == "train" and progress.step == step:
                said.append(later.enter_context(fault(folder / "run")))

        with later, pytest.raises(DomtransError) as caught:
            go(recipe, folder / "run", listeners=(fail,))
        assert said[0] in str(caught.value) and str(caught.value).isprintable()
        assert not list((folder / "run").rglob(f"{UNFINISHED_PREFIX}*"))
        resumed = go(recipe, folder / "run")
        assert unlike(whole, resumed) == [], f"failed after step {step}"
        assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(resumed.path)]


def test_a_cache_without_permissions_costs_only_time(monkeypatch):
    with as_anyone() as folder:
        recipe = tiny_recipe(folder, train__steps=2)
        monkeypatch.setenv("DOMTRANS_CACHE", str(folder / "open"))
        whole = go(recipe, folder / "whole")
        monkeypatch.setenv("DOMTRANS_CACHE", str(folder / "closed"))
        for permissions in (0, 0o500):
            (folder / "closed").mkdir(permissions)
            assert unlike(whole, go(recipe, folder / f"run{permissions}")) == []
            (folder / "closed").rmdir()


def test_a_run_in_a_folder_without_permissions():
    with as_anyone() as folder:
        (folder / "mine").mkdir(0)
        with pytest.raises(DomtransError, match="cannot be opened: Permission denied"):
            load(folder / "mine" / "run")
        with pytest.raises(DomtransError, match="cannot be created: Permission denied"):
            go(tiny_recipe(folder), folder / "mine" / "run")
        (folder / "mine").chmod(0o700)


def test_another_process_locks_the_folder_while_it_runs(tmp_path):
    recipe = tiny_recipe(tmp_path)
    whole = go(recipe, tmp_path / "whole")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:

        def wait(progress):
            if progress.phase == "train" and progress.step == 2:
                os.write(writing, b"here")
                signal.pause()

        try:
            go(recipe, tmp_path / "run", listeners=(wait,))
        finally:
            os._exit(1)
    assert os.read(reading, 4) == b"here"
    with pytest.raises(DomtransError, match="another process is training in"):
        go(recipe, tmp_path / "run")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert unlike(whole, go(recipe, tmp_path / "run")) == []
