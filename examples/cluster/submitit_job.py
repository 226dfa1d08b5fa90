"""Train on SLURM from Python with submitit: when the time of the job is over, it saves, and submitit queues it again.

python submitit_job.py svhn-dtn /shared/runs/svhn-dtn
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import submitit

import domtrans


class Training:
    """Trains in a thread, because submitit handles its signal in the main thread."""

    def __call__(self, recipe: str, out: str) -> dict[str, Any]:
        """Train; submitit calls this in the job."""
        self.stop, self.pool = threading.Event(), ThreadPoolExecutor(1)
        return dict(self.pool.submit(domtrans.train, recipe, out, stop=self.stop).result().results)

    def checkpoint(self, recipe: str, out: str) -> Any:
        """Stop and save; submitit calls this shortly before the end, and queues what it returns."""
        self.stop.set()
        self.pool.shutdown(wait=True)
        return submitit.helpers.DelayedSubmission(Training(), recipe, out)


if __name__ == "__main__":
    executor = submitit.AutoExecutor("jobs", slurm_max_num_timeout=100)
    executor.update_parameters(timeout_min=240, gpus_per_node=1, cpus_per_task=8, slurm_signal_delay_s=120)
    print(executor.submit(Training(), *sys.argv[1:3]).job_id)
