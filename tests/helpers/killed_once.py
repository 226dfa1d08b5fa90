"""``domtrans`` under torchrun, where the process of rank 1 is killed once, in the middle of the training.

torchrun --max-restarts 1 ... killed_once.py STEP train RECIPE ...
"""

import os
import signal
import sys

from domtrans.cli.app import main
from domtrans.training.trainer import Trainer

if __name__ == "__main__":
    last_step, step = int(sys.argv[1]), Trainer.step

    def step_or_die(trainer):
        losses = step(trainer)
        if trainer.step_number == last_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return losses

    if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        Trainer.step = step_or_die
    main(sys.argv[2:])
