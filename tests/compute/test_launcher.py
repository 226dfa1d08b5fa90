"""Which launcher started this process, and as which of how many."""

import os

import pytest

from domtrans.compute import launcher

SRUN = {"SLURM_JOB_ID": "12345", "SLURM_STEP_ID": "2", "SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "8"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(variable, raising=False)
    for variable in [variable for variable in os.environ if variable.startswith("SLURM_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(os, "cpu_count", lambda: 32)


def set_all(monkeypatch, **variables):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)


def test_a_single_process(monkeypatch):
    assert (launcher.name(), launcher.rank(), launcher.size(), launcher.cores()) == ("", 0, 1, 32)
    assert launcher.command() == ["domtrans"]
    set_all(monkeypatch, WORLD_SIZE="8")
    assert launcher.size() == 1  # a scheduler sets this variable too


def test_torchrun(monkeypatch):
    set_all(monkeypatch, WORLD_SIZE="8", RANK="5", LOCAL_RANK="1", LOCAL_WORLD_SIZE="4")
    assert (launcher.name(), launcher.rank(), launcher.size(), launcher.gpu(), launcher.cores()) == ("torchrun", 5, 8, 1, 8)
    assert launcher.command() == ["torchrun", "--nnodes", "2", "--nproc-per-node", "4", "-m", "domtrans"]
    assert launcher.init_method() == "env://"


def test_more_processes_than_cores_have_one_each(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    set_all(monkeypatch, WORLD_SIZE="4", RANK="0", LOCAL_WORLD_SIZE="4")
    assert launcher.cores() == 1


def test_srun(monkeypatch):
    tasks = {"SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "node[07-08]"}
    set_all(monkeypatch, **SRUN, **tasks)
    assert (launcher.name(), launcher.rank(), launcher.size(), launcher.gpu(), launcher.cores()) == ("srun", 5, 8, 1, 8)
    assert launcher.command() == ["srun", "--ntasks", "8", "domtrans"]
    assert launcher.init_method() == "tcp://node07:17347"  # every job and step has a port of its own
    set_all(monkeypatch, SLURM_CPUS_PER_TASK="3", SLURM_GPUS_PER_TASK="1", MASTER_ADDR="first", MASTER_PORT="29500")
    assert (launcher.cores(), launcher.gpu(), launcher.init_method()) == (3, 0, "tcp://first:29500")


def test_a_batch_script_of_a_job_with_several_tasks_is_a_single_process(monkeypatch):
    set_all(monkeypatch, SLURM_JOB_ID="12345", SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NTASKS="8")
    assert (launcher.name(), launcher.rank(), launcher.size()) == ("", 0, 1)


def test_torchrun_that_srun_started_on_every_machine(monkeypatch):
    set_all(monkeypatch, **SRUN, WORLD_SIZE="16", RANK="9", LOCAL_RANK="1", LOCAL_WORLD_SIZE="2")
    assert (launcher.name(), launcher.rank(), launcher.size(), launcher.cores()) == ("torchrun", 9, 16, 16)


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node7", "node7"),
        ("node[07-09,12],login1", "node07"),
        ("a1,b[2-3]", "a1"),
        ("rack[1-2]node[3,5]", "rack1node3"),
        ("gpu-[003].cluster.org", "gpu-003.cluster.org"),
        ("", "localhost"),
    ],
)
def test_the_first_machine_of_a_host_list(hosts, first):
    assert launcher.first_host(hosts) == first
