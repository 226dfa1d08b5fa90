"""How torchrun, or srun of SLURM, started this process, read from environment variables. It does not import torch."""

from __future__ import annotations

import os
import re

FIRST_PORT, PORTS = 15_000, 10_000
"""Under srun, the ports that job numbers are spread over; systems give none of these to outgoing connections."""


def name() -> str:
    """Return "torchrun" or "srun", if one of them started several processes; empty for a single process."""
    if "RANK" in os.environ:  # also where a script sets torchrun's variables itself, or srun started torchrun
        return "torchrun" if _number("WORLD_SIZE", 1) > 1 else ""
    # A batch script has the variables of the job, but only a process that srun started has those of a step.
    return "srun" if "SLURM_PROCID" in os.environ and _number("SLURM_STEP_NUM_TASKS", 1) > 1 else ""


def rank() -> int:
    """Return the number of this process; 0 is the main process, also of a single one."""
    return _by_launcher("RANK", "SLURM_PROCID", 0)


def size() -> int:
    """Return how many processes were started together."""
    return _by_launcher("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", 1)


def gpu() -> int:
    """Return the number of this process's GPU among those that it sees."""
    if name() == "srun" and "SLURM_GPUS_PER_TASK" in os.environ:  # each process sees its own GPU only
        return 0
    return _by_launcher("LOCAL_RANK", "SLURM_LOCALID", 0)


def cores() -> int:
    """Return the number of CPU cores for each process on this machine; 1 where the processes are more than the cores."""
    cores = os.cpu_count() or 1
    if name() == "srun":
        return max(1, _number("SLURM_CPUS_PER_TASK", cores // _tasks_on_this_machine()))
    return max(1, cores // max(1, _number("LOCAL_WORLD_SIZE", 1)))


def processes_option() -> str:
    """Return the launcher's option for the number of processes on each machine."""
    return "--ntasks-per-node" if name() == "srun" else "--nproc-per-node"


def init_method() -> str:
    """Return the address of the main process, as torch.distributed takes it."""
    if name() != "srun":
        return "env://"
    job, step = _number("SLURM_JOB_ID", 0), _number("SLURM_STEP_ID", 0)
    address = os.environ.get("MASTER_ADDR") or first_host(os.environ.get("SLURM_STEP_NODELIST", ""))
    return f"tcp://{address}:{_number('MASTER_PORT', FIRST_PORT + (job + step) % PORTS)}"


def attempt() -> int:
    """Return how often torchrun has restarted the processes."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def command() -> list[str]:
    """Return the command that starts domtrans as this process was started."""
    if name() == "srun":
        return ["srun", "--ntasks", str(size()), "domtrans"]
    if size() == 1:
        return ["domtrans"]
    local_size = _number("LOCAL_WORLD_SIZE", size())
    machines = [] if local_size == size() else ["--nnodes", str(size() // local_size)]
    return ["torchrun", *machines, "--nproc-per-node", str(local_size), "-m", "domtrans"]


def first_host(hosts: str) -> str:
    """Return the first name of a SLURM host list, e.g. ``node07`` of ``node[07-09,12],login1``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", hosts)
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", first[0] if first else "") or "localhost"


def _tasks_on_this_machine() -> int:
    """The part of this machine in SLURM's list of tasks, e.g. 4 on the first two machines of ``4(x2),3``."""
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")):
        counts += int(times or 1) * [int(count)]
    machine = _number("SLURM_NODEID", 0)
    return max(1, counts[machine]) if machine < len(counts) else size()


def _by_launcher(torchrun: str, srun: str, alone: int) -> int:
    """The variable of the launcher that started this process; ``alone`` for a single process."""
    variables = {"torchrun": torchrun, "srun": srun}
    return _number(variables[name()], alone) if name() else alone


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else default
