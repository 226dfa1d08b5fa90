"""Health checks: an alarm for every provoked failure, none for good runs; rollbacks; and pausing D."""

import json
import math
import random
import threading
from contextlib import suppress

import pytest
import torch

import domtrans
from cliffs import cliff_recipe
from domtrans import DomtransError, Stopped, override
from domtrans.evaluation.health import (
    D_LOSS,
    DIVERSITY,
    HealthWatch,
    batch_deviation,
    const_chance_levels,
    normalised_d_loss,
    saturation_alarm,
)
from domtrans.interfaces import Discriminator, Outputs
from domtrans.recipe.schema import HealthConfig
from domtrans.runs.folder import RunFolder
from domtrans.training.trainer import Trainer
from paths import FIXTURES
from tiny import registry, tiny_recipe, tiny_trainer
from tiny_runs import go, losses, metrics, stop_at, unlike

STILL = {"name": "sgd", "lr": 1e-9}


def alarms_of(records, chances=None, **config):
    watch = HealthWatch(HealthConfig(**config), chances)
    return [name for record in records for name in watch.update(record)]


def d_loss(real=Discriminator.real_logits, **logits):
    return normalised_d_loss(Outputs(**logits), real)[D_LOSS]


def log_lines(**figures):
    """Lines of a log from columns: ``log_lines(**{D_LOSS: [1, 0.5]})``."""
    count = max(map(len, figures.values()))
    return [{"step": k, "seconds": 1.0, **{name: values[k] for name, values in figures.items()}} for k in range(count)]


def alarms(run):
    return {name for record in metrics(run.path) for name in record.get("alarms", {})}


# Quantities


def test_the_loss_of_d_is_one_at_chance_and_zero_at_certainty():
    even = torch.zeros(5, 3)
    assert d_loss(source_fake_logits=even, target_fake_logits=even, target_logits=even) == pytest.approx(1)
    sure = [torch.nn.functional.one_hot(torch.full((5,), kind), 3) * 50.0 for kind in range(3)]
    assert d_loss(source_fake_logits=sure[0], target_fake_logits=sure[1], target_logits=sure[2]) < 1e-6
    # Which domain a generated image comes from does not matter.
    assert d_loss(source_fake_logits=sure[1], target_fake_logits=sure[0], target_logits=sure[2]) < 1e-6
    assert d_loss(target_fake_logits=sure[2], target_logits=sure[2]) == pytest.approx(1)  # the same for all images
    assert d_loss(target_fake_logits=sure[2], target_logits=sure[0]) > 5
    # Only differences count: an objective of pairs trains no level of the log odds.
    real, fake, shift = torch.randn(9, 3), torch.randn(9, 3), torch.tensor([0.0, 0.0, 30.0])
    moved = d_loss(source_fake_logits=fake + shift, target_logits=real + shift)
    assert moved == pytest.approx(float(d_loss(source_fake_logits=fake, target_logits=real)), rel=1e-4)
    assert normalised_d_loss(Outputs(source_fake_logits=even)) == {} == normalised_d_loss(Outputs(target_logits=even))


@pytest.mark.parametrize(("count", "real"), [(2, (1,)), (4, (0, 3)), (5, (2,))])
def test_a_discriminator_says_which_of_its_logits_mean_real(count, real):
    even = torch.zeros(5, count)
    assert d_loss(real, source_fake_logits=even, target_logits=even) == pytest.approx(1)
    generated = next(kind for kind in range(count) if kind not in real)
    sure = {kind: torch.nn.functional.one_hot(torch.full((5,), kind), count) * 50.0 for kind in (real[0], generated)}
    assert d_loss(real, source_fake_logits=sure[generated], target_logits=sure[real[0]]) < 1e-6
    assert d_loss(real, source_fake_logits=sure[real[0]], target_logits=sure[generated]) > 5


def test_the_batch_deviation_is_zero_for_equal_images_and_ignores_a_common_image():
    image = torch.rand(1, 1, 8, 8)
    assert batch_deviation(image.expand(6, -1, -1, -1)) == pytest.approx(0, abs=1e-6)
    noise = torch.randn(500, 1, 8, 8)
    assert batch_deviation(noise + image) == pytest.approx(1, abs=0.05)


def test_the_chance_level_of_a_const_loss_is_its_value_for_unrelated_images():
    features = torch.randn(400, 16)
    terms = {"const": "feature-consistency", "tid": "target-identity", "gan": "ternary-generator"}
    built = {name: registry().build("loss", domtrans.use(loss)) for name, loss in terms.items()}
    before = torch.get_rng_state()
    found = const_chance_levels(built, features, lambda x: x)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.keys() == {"const"} and found["const"] == pytest.approx(2, abs=0.15)


def test_the_quantities_are_logged_and_change_nothing(tmp_path):
    recipe = tiny_recipe(tmp_path)
    watched = go(recipe, tmp_path / "watched")
    assert all(0 <= line[D_LOSS] < 3 and 0 <= line[DIVERSITY] < 3 for line in metrics(watched.path))
    unwatched = go(override(recipe, {"train.health.watch": False}, registry()), tmp_path / "unwatched")
    assert unlike(watched, unwatched) == []
    assert not any(name.startswith("health.") for line in metrics(unwatched.path) for name in line)
    assert watched.results["health"] == {} == unwatched.results["health"]


# Alarms on records


@pytest.mark.parametrize("name", ["dlr", "even", "watched"])
@pytest.mark.parametrize("window", [2, 3, 5])
def test_good_runs_raise_no_alarm(name, window):
    """Good runs of digits-dtn. Only "watched" was logged with the quantities of the health checks."""
    records = json.loads((FIXTURES / f"good-run-{name}.json").read_text())
    assert (D_LOSS in records[-1]) == (name == "watched")
    for chance in (1.0, 8.0):
        assert alarms_of(records, {"generator.const": chance}, window=window) == []


def test_noise_around_a_good_level_raises_no_alarm():
    rng = random.Random(0)
    for _ in range(50):
        records = log_lines(
            **{
                D_LOSS: [max(0.02, rng.gauss(0.6, 0.3)) for _ in range(100)],
                DIVERSITY: [max(0.0, rng.gauss(0.7, 0.25)) for _ in range(100)],
                "generator.const": [0.3 * math.exp(rng.gauss(0, 0.25)) for _ in range(100)],
            }
        )
        assert alarms_of(records, {"generator.const": 2.0}) == []


def test_d_wins_as_in_figure_6_of_the_study():
    plummeting = [max(0.02, 0.9 * 0.8**k) for k in range(40)]
    assert alarms_of(log_lines(**{D_LOSS: plummeting})) == ["d-wins"]
    assert alarms_of(log_lines(**{D_LOSS: [0.8, 0.05] * 20})) == []  # it must hold in a whole window


def test_d_is_lost():
    assert alarms_of(log_lines(**{D_LOSS: [1.02] * 12})) == ["d-lost"]
    assert alarms_of(log_lines(**{D_LOSS: [1.02] * 9})) == []  # too few lines


def test_an_alarm_is_raised_once_and_again_after_a_recovery():
    bad, good = [0.02] * 12, [0.6] * 6
    assert alarms_of(log_lines(**{D_LOSS: bad + bad})) == ["d-wins"]
    assert alarms_of(log_lines(**{D_LOSS: bad + good + bad})) == ["d-wins", "d-wins"]


def test_const_that_falls_and_rises_again_as_in_figure_6_of_the_study():
    const = [1.5, 0.9, 0.5, 0.4, *[0.35] * 12, *[0.35 + 0.05 * k for k in range(20)]]
    assert alarms_of(log_lines(**{"generator.const": const}), {"generator.const": 2.0})[0] == "const-rising"
    tiny = [value / 100 for value in const]
    assert alarms_of(log_lines(**{"generator.const": tiny}), {"generator.const": 2.0}) == []  # too small to matter


def test_const_on_a_high_plateau():
    chances = {"generator.const": 2.0}
    assert alarms_of(log_lines(**{"generator.const": [1.9] * 5 + [1.2] * 30}), chances) == ["const-high"]
    assert alarms_of(log_lines(**{"generator.const": [0.95**k * 2 for k in range(40)]}), chances) == []  # it still falls
    assert alarms_of(log_lines(**{"generator.const": [1.9] * 5 + [0.5] * 30}), chances) == []


def test_values_before_a_loss_started_are_discarded():
    early = log_lines(**{"generator.const": [0.1] * 20})
    late = log_lines(**{"generator.const": [0.25] * 20, D_LOSS: [0.7] * 20})
    assert alarms_of(early + late, {"generator.const": 1.0}) == []


def test_lines_without_values_and_a_watch_that_is_off():
    assert alarms_of([{"step": 0, "seconds": 0.0, "alarms": {"rollback-1": "x"}}] * 20) == []
    assert alarms_of(log_lines(**{D_LOSS: [0.01] * 40}), watch=False) == []


def test_a_saturated_f():
    features = torch.randn(50, 20)
    assert saturation_alarm(features) == {}
    features[:, :18] = 0.3
    assert saturation_alarm(features) == {}
    features[:, 18] = 0.3
    assert "19 of its 20 features" in saturation_alarm(features)["f-saturated"]


# Alarms of real trainings that fail

SHORT = {"train__steps": 30, "train__save_every": 100, "train__sample_every": 100, "train__health__window": 3}


def test_a_training_in_which_d_wins(tmp_path):
    fast = {"name": "adam", "lr": 3e-3}
    notes = []
    recipe = tiny_recipe(
        tmp_path, **SHORT, train__generator_optimizer=STILL, train__discriminator_optimizer=fast, discriminator__norm="none"
    )
    run = go(recipe, tmp_path / "run", listeners=(lambda progress: notes.append(progress.note),))
    assert "d-wins" in alarms(run)
    assert "try train.health.act=true" in run.results["health"]["d-wins"]
    assert [note for note in notes if note.startswith("D wins: its normalised loss is 0.0")]


def test_a_training_in_which_d_is_lost(tmp_path):
    run = go(tiny_recipe(tmp_path, **SHORT, train__discriminator_optimizer=STILL), tmp_path / "run")
    assert "d-lost" in alarms(run)


def test_a_training_in_which_g_collapses(tmp_path):
    flat = {"tv": {"name": "total-variation", "form": "absolute", "weight": 100}}
    quick = {"name": "adam", "lr": 0.02}
    recipe = tiny_recipe(tmp_path, **SHORT, generator_losses=flat, train__generator_optimizer=quick)
    assert "g-collapsed" in alarms(go(recipe, tmp_path / "run"))


def test_a_training_in_which_const_stays_high(tmp_path):
    run = go(tiny_recipe(tmp_path, **SHORT, train__generator_optimizer=STILL), tmp_path / "run")
    assert "const-high" in alarms(run) and "generator_losses.const.weight" in run.results["health"]["const-high"]


def test_a_training_with_an_f_of_constant_features(tmp_path):
    class Deadly:
        @domtrans.hookimpl
        def register(self, registry):
            registry.fit("deadly", deadly)

    def deadly(encoder, source, session):
        """Makes all features constant."""
        with torch.no_grad():
            encoder.classify[6].bias.fill_(-1e6)

    extended = domtrans.load_plugins(Deadly()).registry
    recipe = override(tiny_recipe(tmp_path), ["fit=deadly"], extended)
    run = domtrans.train(recipe, tmp_path / "run", device="cpu", registry=extended)
    assert "f-saturated" in metrics(run.path)[0]["alarms"] and "128 of its 128" in run.results["health"]["f-saturated"]


# Rollbacks


def test_a_training_that_diverges_continues_from_a_checkpoint_with_lower_rates(tmp_path, cliffs):
    notes = []
    run = domtrans.train(
        cliff_recipe(tmp_path, cliffs),
        tmp_path / "run",
        device="cpu",
        registry=cliffs,
        listeners=(lambda progress: notes.append(progress.note),),
    )
    assert run.results["steps"] == 16 and any(name.startswith("rollback-1") for name in alarms(run))
    assert "generator.cliff is not a finite number; going on from step" in run.results["health"]["rollback-1"]
    assert any(note.startswith("training diverged at step") for note in notes)
    assert [line["step"] for line in metrics(run.path) if "generator.cliff" in line] == [4, 8, 12, 16]
    state = RunFolder(run.path).load_training()
    assert state is not None and state["rollbacks"] >= 1 and state["step"] == 16


def test_without_rollbacks_left_it_stops_with_a_diagnosis(tmp_path, cliffs):
    recipe = cliff_recipe(tmp_path, cliffs, train__rollbacks=0)
    with pytest.raises(DomtransError, match=r"diverged at step \d+: generator.cliff is not a finite number; the last save"):
        domtrans.train(recipe, tmp_path / "run", device="cpu", registry=cliffs)
    steep = cliff_recipe(tmp_path, cliffs, train__generator_optimizer__lr=1.0)
    with pytest.raises(DomtransError, match=r"after 2 rollbacks to lower learning rates: generator.cliff"):
        domtrans.train(steep, tmp_path / "steep", device="cpu", registry=cliffs)


@pytest.mark.parametrize("seed", range(3))
def test_stopped_before_or_after_a_rollback_it_ends_as_if_never_stopped(tmp_path, cliffs, monkeypatch, seed):
    recipe = cliff_recipe(tmp_path, cliffs)
    whole = domtrans.train(recipe, tmp_path / "whole", device="cpu", registry=cliffs)
    assert whole.results["health"]
    stop, turns, step = threading.Event(), random.Random(seed).sample(range(1, 18), 3), Trainer.step
    left = [sorted(turns), 0]

    def step_and_stop(trainer):
        """Counts all steps, including those that a rollback discards."""
        done = step(trainer)
        left[1] += 1
        if left[1] in left[0]:
            stop.set()
        return done

    monkeypatch.setattr(Trainer, "step", step_and_stop)
    for _ in turns:
        stop.clear()
        with suppress(Stopped):
            domtrans.train(recipe, tmp_path / "cut", device="cpu", registry=cliffs, stop=stop)
    monkeypatch.undo()
    cut = domtrans.train(recipe, tmp_path / "cut", device="cpu", registry=cliffs)
    assert unlike(whole, cut) == []
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(cut.path)]


# Acting


def acting_recipe(folder, **changes):
    fast = {"name": "adam", "lr": 3e-3}
    options = {"train__generator_optimizer": STILL, "train__discriminator_optimizer": fast, "discriminator__norm": "none"}
    return tiny_recipe(folder, **SHORT | options | {"train__health__act": True} | changes)


def test_d_pauses_while_it_wins():
    watch = HealthWatch(HealthConfig(window=3, act=True))
    held = []
    for record in log_lines(**{D_LOSS: [0.5] * 3 + [0.05] * 5 + [0.2, 0.31, 0.31]}):
        watch.update(record)
        held.append(watch.hold_discriminator)
    assert held == [False] * 5 + [True] * 4 + [False] * 2
    only_watching = HealthWatch(HealthConfig(window=3))
    for record in log_lines(**{D_LOSS: [0.05] * 9}):
        only_watching.update(record)
    assert not only_watching.hold_discriminator


def test_a_paused_d_does_not_change(tmp_path):
    trainer = tiny_trainer(tiny_recipe(tmp_path, discriminator__norm="none"))
    trainer.hold_discriminator = True
    before = [weight.detach().clone() for weight in trainer.D.parameters()]
    assert D_LOSS in trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.D.parameters(), strict=True))


def test_a_run_that_acts_resumes_exactly(tmp_path):
    recipe = acting_recipe(tmp_path)
    whole = go(recipe, tmp_path / "whole")
    assert "its optimizer pauses until D recovers" in whole.results["health"]["d-wins"]
    idle = go(override(recipe, {"train.health.act": False}, registry()), tmp_path / "idle")
    assert any("discriminator." in name for name in unlike(whole, idle))
    for step in (13, 22, 27):
        stop = threading.Event()
        with pytest.raises(Stopped):
            go(recipe, tmp_path / "cut", stop=stop, listeners=(stop_at(step, stop),))
    cut = go(recipe, tmp_path / "cut")
    assert unlike(whole, cut) == []
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(cut.path)]


def test_stopped_between_two_lines_the_log_is_the_same(tmp_path, monkeypatch):
    recipe = tiny_recipe(tmp_path, train__steps=8, train__log_every=4, train__save_every=3)
    whole, stop = go(recipe, tmp_path / "whole"), threading.Event()
    step = Trainer.step

    def step_and_stop(trainer):
        done = step(trainer)
        if trainer.step_number == 2:
            stop.set()
        return done

    monkeypatch.setattr(Trainer, "step", step_and_stop)
    with pytest.raises(Stopped, match="stopped at step 2 of 8"):
        go(recipe, tmp_path / "cut", stop=stop)
    monkeypatch.undo()
    assert unlike(whole, go(recipe, tmp_path / "cut")) == []
    assert [losses(line) for line in metrics(whole.path)] == [losses(line) for line in metrics(tmp_path / "cut")]
