"""The way from the command to D's loss is short, and each frame is named for what it does."""

import inspect

import torch.nn.functional as F

from commands import SMALL, in_process
from paths import ROOT

FOLDERS = (str(ROOT / "domtrans"), str(ROOT / "plugins"))
WANTED = [
    ("cli/app.py", "main"),
    ("cli/commands.py", "train"),
    ("training/train.py", "train"),
    ("training/train.py", "_train_and_measure"),
    ("training/loop.py", "run"),
    ("training/trainer.py", "step"),
    ("training/trainer.py", "train_discriminator"),
    ("training/losses.py", "weighted_sum"),
    ("domtrans_dtn/losses.py", "forward"),
    ("domtrans_dtn/losses.py", "negative_log_likelihood"),
]


def test_ten_frames_lead_from_the_command_to_the_loss_of_d(tmp_path, data, capsys, monkeypatch):
    paths, cross_entropy = [], F.cross_entropy

    def recorded(*args, **options):
        frames = [(frame.filename, frame.function) for frame in reversed(inspect.stack()) if frame.filename.startswith(FOLDERS)]
        paths.append(frames)
        return cross_entropy(*args, **options)

    monkeypatch.setattr(F, "cross_entropy", recorded)
    code, _, err = in_process(capsys, "train", "digits-dtn-paper", *data, *SMALL, "--out", tmp_path / "run", "-q")
    assert code == 0, err
    of_d = next(path for path in paths if ("train_discriminator" in {function for _, function in path}))
    assert [function for _, function in of_d] == [function for _, function in WANTED]
    assert all(file.endswith(wanted) for (file, _), (wanted, _) in zip(of_d, WANTED, strict=True))
