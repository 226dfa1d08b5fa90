"""domtrans bench: the plain loop is the same training, the clock and the counts are right, and the command says so."""

import itertools
import json
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from commands import SMALL, domtrans, in_process
from domtrans import DomtransError, Session, bench, to_float
from domtrans.benchmark import scaling
from domtrans.benchmark.bench import LOADED, LONG, OURS, PLAIN, set_up
from domtrans.benchmark.plain_loop import PlainLoop, RandomPairs, held, loaded
from domtrans.benchmark.profile import REST, Stopwatch, Times, parts
from domtrans.benchmark.roofline import Floor, floor, stored
from domtrans.benchmark.tables import circumstances, milliseconds, tables
from tiny import registry, tiny_recipe, tiny_trainer

CPU = torch.device("cpu")
TINY = [word for word in SMALL if not word.startswith(("fit", "metrics"))]


def next_batch(trainer):
    """What the trainer sees in its next step, for the plain loop."""
    seen = {name: side.feed[trainer.step_number] for name, side in trainer.sides.items()}
    return itertools.repeat({name: to_float(pixels).contiguous() for name, (_, pixels) in seen.items()})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train__updates": "separate"},
        {"discriminator__norm": "spectral", "discriminator__classes": 4},
        {"generator": {"name": "digit-image-generator", "width": 4}},
        {"align_features": True},
    ],
    ids=lambda changes: ", ".join(map(str, changes)) or "as it is",
)
def test_the_plain_loop_is_the_same_training(tmp_path, changes):
    trainer = tiny_trainer(tiny_recipe(tmp_path, encoder__head=4, **changes))
    for layer in trainer.g.modules():
        if isinstance(layer, nn.BatchNorm2d):  # the engine's sees both domains at once
            layer.forward = lambda images: images
    plain = PlainLoop(trainer, next_batch(trainer))
    ours, theirs = trainer.step(), plain.step()
    assert {name for name in ours if not name.startswith("health")} == theirs.keys()
    for name, value in theirs.items():
        assert value == pytest.approx(float(ours[name]), rel=2e-3, abs=1e-5), name


def test_images_of_the_loader_are_those_of_the_set(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    (tmp_path / "scratch").mkdir()
    for images in (trainer.source, trainer.target):
        kept = scaling.from_files(images, 0, tmp_path / "scratch")
        assert not kept.in_memory and torch.equal(kept.images, images.images)
        for one in (images, kept):
            seen = RandomPairs(one, one)[0]
            matches = [torch.allclose(seen["source"], to_float(pixels), atol=1e-6) for pixels in images.images]
            assert any(matches)
            if images.labels is not None:
                assert int(seen["source_labels"]) in {int(images.labels[i]) for i, same in enumerate(matches) if same}
    batch = next(loaded(trainer.source, trainer.target, 6, workers=0))
    ready = next(held(trainer.source, trainer.target, 6))
    assert batch.keys() == ready.keys() == {"source", "target", "source_labels"}
    assert all(batch[name].shape == ready[name].shape and batch[name].dtype == ready[name].dtype for name in batch)
    assert batch["source"].is_contiguous() and -1 <= float(batch["source"].min()) < float(batch["source"].max()) <= 1


class Slow(torch.autograd.Function):
    """Two seconds forward, three backward, on a clock of the test."""

    now = 0.0

    @staticmethod
    def forward(context, images):
        Slow.now += 2
        return images.clone()

    @staticmethod
    def backward(context, gradient):
        Slow.now += 3
        return gradient


def test_the_stopwatch_gives_a_part_its_forward_and_backward_time(monkeypatch):
    monkeypatch.setattr("domtrans.benchmark.profile.time", SimpleNamespace(perf_counter=lambda: Slow.now))
    watch, start = Stopwatch(CPU), torch.ones(3, requires_grad=True)

    def outer(images):
        Slow.now += 0.5
        return watch.around("inner", Slow.apply)(images) + 1

    loss = watch.around("outer", outer)(start).sum()
    Slow.now += 0.25
    loss.backward()
    watch.begin(REST)
    assert watch.seconds == {"inner": 5, "outer": 0.5, REST: 0.25}


def test_the_parts_of_a_step_are_found_and_the_trainer_is_left_as_it_was(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, "digits-dtn", train__steps=100))
    trainer.step_number = 50
    view = trainer.experiment.view
    found = parts(trainer, 2)
    assert found.keys() == {"data", "f", "g", "D", "views", "optimizers", REST} and all(spent > 0 for spent in found.values())
    assert trainer.experiment.view is view and "look" not in vars(trainer)
    assert not any(network._forward_hooks for network in (trainer.f, trainer.g, trainer.D))
    assert trainer.step_number == 53
    trainer.step()


def test_the_work_of_a_step_is_counted():
    layer, images = nn.Linear(7, 5, bias=False), torch.ones(3, 7)
    found = floor(lambda: layer(images).relu(), CPU, torch.float32)
    assert found.operations == 2 * 3 * 7 * 5
    assert found.moved == 4 * (3 * 7 + 7 * 5 + 3 * 5) + 4 * (2 * 3 * 5)  # a transposed weight is a view
    assert found.operations_per_second > 0 and found.moved_per_second > 0
    assert stored(torch.ones(1, 4).expand(100, 4)) == 16
    slow_memory = Floor(operations=10, moved=100, operations_per_second=10, moved_per_second=50)
    assert (slow_memory.arithmetic, slow_memory.traffic, slow_memory.seconds) == (1, 2, 2)


def test_times_tell_waiting_from_working():
    times = Times()
    times.take(lambda: time.sleep(0.05), CPU)
    assert times.seconds[0] >= 0.05 > times.cpu[0]


def test_it_stands_where_the_most_terms_count(tmp_path):
    recipe = tiny_recipe(tmp_path, "digits-dtn", generator_losses__tid__stop=0.9)
    with_session = Session.start("cpu", precision="float32")
    trainer, setup = set_up(recipe, registry(), with_session)
    progress = trainer.step_number / LONG
    assert all(item.term.active(progress) for item in trainer.experiment.generator_losses)
    assert setup > 0 and trainer.sides["target"].features is not None


def test_bench_compares_with_the_plain_loop_and_with_itself(tmp_path):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    recipe = tiny_recipe(tmp_path, train__workers=0)
    found = bench(recipe, against=("plain", "train.updates=separate"), steps=3, device="cpu", registry=registry())
    assert torch.equal(torch.get_rng_state(), state)
    times = found["times"]
    assert list(times) == [OURS, PLAIN, LOADED, "train.updates=separate"]
    for name, one in times.items():
        assert len(one["seconds"]) == 3 and one["quartiles"][0] <= one["median"] <= one["quartiles"][1]
        assert name == OURS or one["ratio"] == one["median"] / times[OURS]["median"]
    assert 0 < found["floor"]["seconds"] == max(found["floor"]["arithmetic_seconds"], found["floor"]["traffic_seconds"])
    assert json.loads(json.dumps(found)) == found
    words = "\n".join(" ".join(cell for row in (header, *rows) for cell in row) for header, rows in tables(found))
    assert "plain loop and its data" in words and "GFLOP/s" in words and "optimizers" in words
    assert circumstances(found).endswith("medians of 3 steps at batch 4")


def test_digits_of_milliseconds():
    assert [milliseconds(value) for value in (0.00052, 0.0314, 1.402)] == ["0.52 ms", "31.4 ms", "1,402 ms"]


def test_the_command_prints_json_or_tables(data):
    small = [*data, *TINY, "train.workers=1"]
    done = domtrans(
        "bench", "digits-dtn-paper", *small, "--batch-size", 6, "--steps", 2, "--device", "cpu", "--json", timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["recipe"], found["batch_size"], found["steps"]) == ("digits-dtn-paper", 6, 2)
    assert LOADED in found["times"] and "Traceback" not in done.stderr


def test_the_command_prints_tables(capsys, data):
    words = ["digits-dtn-paper", *data, *TINY, "--steps", 1, "--against", "train.ema=0.9", "--device", "cpu", "-q"]
    code, out, _ = in_process(capsys, "bench", *words)
    assert code == 0 and PLAIN not in out
    assert [line.split("  ")[0] for line in out.splitlines() if line.startswith(("a step", "where", "floor", "train."))] == [
        "a step of",
        "train.ema=0.9",
        "where the time goes",
        "floor of a step",
    ]


def test_curves_are_written_and_say_what_a_recipe_cannot_do(tmp_path, monkeypatch):
    axes = {
        "batch size": scaling.Axis((2, 3), "train.batch_size"),
        "image size": scaling.Axis((16,), "image_size"),
        "images of each domain": scaling.Axis((20,), images=scaling.repeated),
        "processes that decode": scaling.Axis((0, 1), "train.workers", scaling.from_files),
    }
    out = tmp_path / "deep" / "curves"
    recipe = tiny_recipe(tmp_path, train__workers=0)
    found = scaling.curves(recipe, out, steps=1, device="cpu", registry=registry(), axes=axes)
    assert json.loads((out / "growth.json").read_text()) == found
    with Image.open(out / "growth.png") as chart:
        assert chart.size[0] >= 1200  # three axes that could be measured
    lines = (out / "growth.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:7]] == [
        "| batch size 2",
        "| batch size 3",
        "| images of each domain 20",
        "| processes that decode 0",
        "| processes that decode 1",
    ]
    assert lines[-1].startswith("not measured: image size 16, for ") and "works at 32 pixels" in lines[-1]
    assert all(("data_wait" in point) == (point["axis"] == "processes that decode") for point in found["points"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no-such-recipe"], "no-such-recipe"),
        (["digits-dtn", "--against", "no.such=path"], "no"),
        (["digits-dtn", "--curves", "out", "--against", "plain"], "leave --against out"),
        (["digits-dtn", "--steps", "0"], "'--steps'"),
        (["digits-dtn", "--batch-size", "1"], "train.batch_size"),
        (["digits-dtn", "--device", "abacus"], "'abacus' is not available"),
        (["digits-dtn", "--curves", "/dev/null/out"], "/dev/null/out cannot be written"),
    ],
)
def test_bad_input_gets_a_sentence(capsys, words, sentence):
    code, out, err = in_process(capsys, "bench", *words)
    assert code == 2 and sentence in err and "Traceback" not in err and not out


def test_too_few_steps_are_refused_in_python():
    with pytest.raises(DomtransError, match="cannot be timed"):
        bench("digits-dtn", steps=0)
