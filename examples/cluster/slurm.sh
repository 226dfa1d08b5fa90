#!/bin/bash
# Train on SLURM, in as many jobs as it takes:
#     sbatch slurm.sh svhn-dtn /shared/runs/svhn-dtn
# The run folder must be on storage that all machines share.
#SBATCH --job-name=domtrans
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

# Two minutes before the end, SLURM sends USR1 to every process: domtrans saves and exits with 130. It exits with 138 if a
# process was lost. Both times the same command continues. With any other code, a new attempt would end in the same way.
srun domtrans train "$1" --out "$2" "${@:3}"
code=$?
if [[ $code == 130 || $code == 138 ]] && ((${SLURM_RESTART_COUNT:-0} < 100)); then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
