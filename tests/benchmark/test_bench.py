"""domtrans bench: the plain loop trains alike, times and counts are right, and the command prints them."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch import nn

from commands import SMALL, domtrans, in_process
from domtrans import DomtransError, Session, bench, to_float
from domtrans.benchmark import scaling
from domtrans.benchmark.bench import OURS, PLAIN, PLAIN_WITH_DATA, RUN_STEPS, build_trainer
from domtrans.benchmark.plain_loop import PlainLoop, RandomPairs, data_loader_batches, fixed_batch
from domtrans.benchmark.profile import REST, PartTimer, StepTimes, profile_step
from domtrans.benchmark.roofline import LowerBound, bytes_in_memory, lower_bound
from domtrans.benchmark.tables import circumstances, milliseconds, tables
from tiny import registry, tiny_recipe, tiny_trainer

CPU = torch.device("cpu")
TINY = [word for word in SMALL if not word.startswith(("fit", "metrics"))]


def next_batch(trainer):
    """The trainer's next batch, for the plain loop."""
    seen = {name: domain.loader[trainer.step_number] for name, domain in trainer.domains.items()}
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


def test_the_data_loader_returns_images_of_the_set(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path))
    (tmp_path / "scratch").mkdir()
    for images in (trainer.source, trainer.target):
        kept = scaling.write_to_file(images, 0, tmp_path / "scratch")
        assert not kept.in_memory and torch.equal(kept.images, images.images)
        for one in (images, kept):
            seen = RandomPairs(one, one)[0]
            matches = [torch.allclose(seen["source"], to_float(pixels), atol=1e-6) for pixels in images.images]
            assert any(matches)
            if images.labels is not None:
                assert int(seen["source_labels"]) in {int(images.labels[i]) for i, same in enumerate(matches) if same}
    batch = next(data_loader_batches(trainer.source, trainer.target, 6, workers=0))
    ready = next(fixed_batch(trainer.source, trainer.target, 6))
    assert batch.keys() == ready.keys() == {"source", "target", "source_labels"}
    assert all(batch[name].shape == ready[name].shape and batch[name].dtype == ready[name].dtype for name in batch)
    assert batch["source"].is_contiguous() and -1 <= float(batch["source"].min()) < float(batch["source"].max()) <= 1


class Slow(torch.autograd.Function):
    """Takes two seconds forward and three backward, on a clock of its own."""

    now = 0.0

    @staticmethod
    def forward(context, images):
        Slow.now += 2
        return images.clone()

    @staticmethod
    def backward(context, gradient):
        Slow.now += 3
        return gradient


def test_the_timer_gives_a_part_its_forward_and_backward_time(monkeypatch):
    monkeypatch.setattr("domtrans.benchmark.profile.time", SimpleNamespace(perf_counter=lambda: Slow.now))
    timer, start = PartTimer(CPU), torch.ones(3, requires_grad=True)

    def outer(images):
        Slow.now += 0.5
        return timer.wrap("inner", Slow.apply)(images) + 1

    loss = timer.wrap("outer", outer)(start).sum()
    Slow.now += 0.25
    loss.backward()
    timer.begin(REST)
    assert timer.seconds == {"inner": 5, "outer": 0.5, REST: 0.25}


def test_the_parts_of_a_step_are_timed_and_the_trainer_is_restored(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, "digits-dtn", train__steps=100))
    trainer.step_number = 50
    view = trainer.experiment.view
    found = profile_step(trainer, 2)
    assert found.keys() == {"data", "f", "g", "D", "views", "optimizers", REST} and all(spent > 0 for spent in found.values())
    assert trainer.experiment.view is view and "load_micro_batch" not in vars(trainer)
    assert not any(network._forward_hooks for network in (trainer.f, trainer.g, trainer.D))
    assert trainer.step_number == 53
    trainer.step()


def test_the_work_of_a_step_is_counted():
    layer, images = nn.Linear(7, 5, bias=False), torch.ones(3, 7)
    found = lower_bound(lambda: layer(images).relu(), CPU, torch.float32)
    assert found.operations == 2 * 3 * 7 * 5
    assert found.bytes_moved == 4 * (3 * 7 + 7 * 5 + 3 * 5) + 4 * (2 * 3 * 5)  # a transposed weight is a view
    assert found.operations_per_second > 0 and found.bytes_per_second > 0
    assert bytes_in_memory(torch.ones(1, 4).expand(100, 4)) == 16
    slow_memory = LowerBound(operations=10, bytes_moved=100, operations_per_second=10, bytes_per_second=50)
    assert (slow_memory.arithmetic_seconds, slow_memory.traffic_seconds, slow_memory.seconds) == (1, 2, 2)


def test_wall_clock_and_processor_time_are_measured(monkeypatch):
    now = {"perf_counter": 5.0, "process_time": 7.0}
    clocks = {name: lambda name=name: now[name] for name in now}
    monkeypatch.setattr("domtrans.benchmark.profile.time", SimpleNamespace(**clocks))
    times = StepTimes()
    times.add(lambda: now.update(perf_counter=5.5, process_time=7.25), CPU)
    assert (times.seconds, times.cpu_seconds) == ([0.5], [0.25])


def test_the_timed_steps_are_where_the_most_terms_are_active(tmp_path):
    recipe = tiny_recipe(tmp_path, "digits-dtn", generator_losses__tid__stop=0.9)
    with_session = Session.start("cpu", precision="float32")
    trainer, setup = build_trainer(recipe, registry(), with_session)
    progress = trainer.step_number / RUN_STEPS
    assert all(item.term.active(progress) for item in trainer.experiment.generator_losses)
    assert setup > 0 and trainer.domains["target"].features is not None


def test_bench_compares_with_the_plain_loop_and_with_itself(tmp_path):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    recipe = tiny_recipe(tmp_path, train__workers=0)
    found = bench(recipe, against=("plain", "train.updates=separate"), steps=3, device="cpu", registry=registry())
    assert torch.equal(torch.get_rng_state(), state)
    times = found["times"]
    assert list(times) == [OURS, PLAIN, PLAIN_WITH_DATA, "train.updates=separate"]
    for name, one in times.items():
        assert len(one["seconds"]) == 3 and one["quartiles"][0] <= one["median"] <= one["quartiles"][1]
        assert name == OURS or one["ratio"] == one["median"] / times[OURS]["median"]
    assert 0 < found["floor"]["seconds"] == max(found["floor"]["arithmetic_seconds"], found["floor"]["traffic_seconds"])
    assert json.loads(json.dumps(found)) == found
    words = "\n".join(" ".join(cell for row in (header, *rows) for cell in row) for header, rows in tables(found))
    assert "plain loop and its data" in words and "GFLOP/s" in words and "optimizers" in words
    assert circumstances(found).endswith("medians of 3 steps at batch size 4")
    assert found["images_in_a_step"] == 8


def test_digits_of_milliseconds():
    assert [milliseconds(value) for value in (0.00052, 0.0314, 1.402)] == ["0.52 ms", "31.4 ms", "1,402 ms"]


def test_the_command_prints_json_or_tables(data):
    small = [*data, *TINY, "train.workers=1"]
    done = domtrans("bench", "digits-dtn-paper", *small, "--batch-size", 6, "--steps", 2, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["recipe"], found["batch_size"], found["steps"]) == ("digits-dtn-paper", 6, 2)
    assert PLAIN_WITH_DATA in found["times"] and "Traceback" not in done.stderr


def test_the_command_prints_tables(capsys, data):
    words = ["digits-dtn-paper", *data, *TINY, "--steps", 1, "--against", "train.ema=0.9", "--device", "cpu", "-q"]
    code, out, _ = in_process(capsys, "bench", *words)
    assert code == 0 and PLAIN not in out
    assert [line.split("  ")[0] for line in out.splitlines() if line.startswith(("step of", "part of", "lower", "train."))] == [
        "step of",
        "train.ema=0.9",
        "part of a step",
        "lower bound of a step",
    ]


def test_curves_are_written_and_name_what_a_recipe_cannot_do(tmp_path, monkeypatch):
    axes = {
        "batch size": scaling.Axis((2, 3), "train.batch_size"),
        "image size": scaling.Axis((16,), "image_size"),
        "images of each domain": scaling.Axis((20,), images=scaling.repeat_images),
        "processes that decode": scaling.Axis((0, 1), "train.workers", scaling.write_to_file),
    }
    out = tmp_path / "deep" / "curves"
    recipe = tiny_recipe(tmp_path, train__workers=0)
    found = scaling.measure_scaling(recipe, out, steps=1, device="cpu", registry=registry(), axes=axes)
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
    assert lines[-1].startswith("not measured: image size 16: ") and "supports 32 pixels" in lines[-1]
    two, three = found["points"][:2]
    assert 0 < two["memory_mb"] <= three["memory_mb"] <= 2 * two["memory_mb"]
    assert all(("data_wait" in point) == (point["axis"] == "processes that decode") for point in found["points"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["no-such-recipe"], "no-such-recipe"),
        (["digits-dtn", "--against", "no.such=path"], "no"),
        (["digits-dtn", "--curves", "out", "--against", "plain"], "leave out --against"),
        (["digits-dtn", "--steps", "0"], "'--steps'"),
        (["digits-dtn", "--batch-size", "1"], "train.batch_size"),
        (["digits-dtn", "--device", "abacus"], "'abacus' is not available"),
        (["digits-dtn", "--curves", "/dev/null/out"], "/dev/null/out cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(capsys, words, sentence):
    code, out, err = in_process(capsys, "bench", *words)
    assert code == 2 and sentence in err and "Traceback" not in err and not out


def test_too_few_steps_are_refused_in_python():
    with pytest.raises(DomtransError, match="at least 1 step to time"):
        bench("digits-dtn", steps=0)
