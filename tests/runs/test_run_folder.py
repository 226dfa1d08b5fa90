"""What a run folder holds: every file is among those that are published, and sample grids are in the order of their steps."""

from domtrans.runs.folder import RunFolder
from domtrans.storage.run_files import RUN_FILES


def test_the_newest_sample_is_that_of_the_last_step(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.newest_sample() is None and folder.sample_grids() == {}
    folder.samples.mkdir()
    written = {step: folder.save_sample(step, b"png") for step in (999_000, 1_000_000, 0)}
    (folder.samples / "step-new.png").touch()
    assert list(folder.sample_grids().items()) == sorted(written.items())
    assert folder.newest_sample() == written[1_000_000]


def test_every_file_of_a_run_is_among_its_files(tmp_path):
    files = {value.name for name, value in vars(RunFolder(tmp_path)).items() if name.endswith("_file")}
    assert files < set(RUN_FILES)
