"""What the exit codes of the commands mean. 0 is done."""

SOME_FAILED = 1
USER_ERROR = 2
INTERRUPTED = 130
LOST_PROCESS = 138
"""Schedulers retry a job that ends with one of the last two codes, and not with the others."""
