"""Python processes for tests.

``python -m domtrans`` spends seconds on importing torch. On Linux, a server that has imported it forks the processes
instead. Each has its own id, signals, files and exit code, as any process has.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import site
import socket
import subprocess
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Self

SETTINGS = {"NO_COLOR": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
HANGING_SECONDS = 300


def start(
    *words: object, env: Mapping[str, object] | None = None, python: str = sys.executable, **options: Any
) -> "Process | subprocess.Popen[str]":
    """Start ``python WORDS``, e.g. ``start("-m", "domtrans", "recipes")``.

    ``env`` are variables to add to the environment, or with None to remove from it. Options are those of Popen: ``stdin``
    (nothing by default), ``stdout`` and ``stderr`` (pipes of text by default) and ``cwd``. ``python`` may be that of another
    environment.
    """
    command, variables = [*map(str, words)], {**os.environ, **SETTINGS, **(env or {})}
    environment = {name: str(value) for name, value in variables.items() if value is not None}
    if sys.platform == "linux":
        return Process(python, command, environment, **options)
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([python, *command], env=environment, text=True, **options)


def start_group(size: int, *words: object) -> list["Process | subprocess.Popen[str]"]:
    """Start ``python WORDS`` as several processes that work together, with the variables that torchrun sets."""
    group = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    return [start(*words, env=group | {"RANK": rank, "LOCAL_RANK": rank}) for rank in range(size)]


def start_step(size: int, *words: object, others: tuple[object, ...] | None = None) -> list["Process | subprocess.Popen[str]"]:
    """Start ``domtrans WORDS`` as several processes that work together, with the variables that srun sets.

    ``others`` are the words of every process but the first, if they differ.
    """
    step = {"SLURM_JOB_ID": 1, "SLURM_STEP_ID": 0, "SLURM_STEP_NUM_TASKS": size, "SLURM_STEP_NODELIST": "localhost"}
    step |= {"MASTER_PORT": free_port()}
    ranks = [{"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in range(size)]
    commands = [words, *[words if others is None else others] * (size - 1)]
    return [start("-m", "domtrans", *command, env=step | rank) for command, rank in zip(commands, ranks, strict=True)]


def free_port() -> int:
    """A port that no program uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Start ``python WORDS`` and wait for the end."""
    process = start(*words, **options)
    output, errors = process.communicate(timeout=HANGING_SECONDS)
    return subprocess.CompletedProcess(words, process.returncode, output, errors)


def wait_until(happened: Callable[[], object], process: "Process | subprocess.Popen[str] | None" = None) -> None:
    """Wait for something that shows outside of a process; fails if the process ends first."""
    began = time.monotonic()
    while not happened():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() - began < HANGING_SECONDS, "it does not happen"
        time.sleep(0.02)


class Process:
    """A process that the server forks, with the part of Popen's interface that tests need."""

    def __init__(
        self,
        python: str,
        command: list[str],
        environment: dict[str, str],
        *,
        stdin: IO[Any] | int = subprocess.DEVNULL,
        stdout: IO[Any] | int = subprocess.PIPE,
        stderr: IO[Any] | int = subprocess.PIPE,
        cwd: object = ".",
    ) -> None:
        self.returncode: int | None = None
        self.status, status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        own = [status.detach(), os.open(os.devnull, os.O_RDWR)]
        self.stdout, self.stderr = None, None
        if stdout == subprocess.PIPE:
            self.stdout, stdout = pipe()
            own.append(stdout)
        if stderr == subprocess.PIPE:
            self.stderr, stderr = pipe()
            own.append(stderr)
        files = [own[1] if file == subprocess.DEVNULL else file for file in (stdin, stdout, stderr)]
        files = [file if isinstance(file, int) else file.fileno() for file in files]
        place = os.path.abspath(str(cwd))  # noqa: PTH100
        request = {"command": command, "environment": environment, "cwd": place}
        socket.send_fds(server(python)[0], [json.dumps(request).encode()], [own[0], *files])
        for descriptor in own:
            os.close(descriptor)
        self.pid = int(self.status.recv(32))

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float = HANGING_SECONDS) -> int:
        """Wait for the exit code; it is minus the number of the signal that ended the process, if one did."""
        if self.returncode is None:
            self.status.settimeout(timeout)
            try:
                self.returncode = int(self.status.recv(32))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout) from None
            self.status.close()
        return self.returncode

    def communicate(self, timeout: float = HANGING_SECONDS) -> tuple[str | None, str | None]:
        """Read both pipes to the end and wait; a process that takes longer is killed."""
        pipes = self.stdout, self.stderr
        with ThreadPoolExecutor(2) as pool:
            contents = [pool.submit(pipe.read) if pipe else None for pipe in pipes]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        output, errors = (content.result() if content else None for content in contents)
        self.close()
        return output, errors

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        for end in filter(None, (self.stdout, self.stderr)):
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.wait()


def pipe() -> tuple[IO[str], int]:
    """A pipe: the end to read text from, and the descriptor of the other end."""
    reading, writing = os.pipe()
    return os.fdopen(reading, encoding="utf-8"), writing


@functools.cache
def server(python: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a server, which ends with this process; returns the socket for requests, and the server."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command, environment = [python, __file__, str(theirs.fileno())], os.environ | SETTINGS
        if python != sys.executable:
            environment.pop("PYTHONPATH", None)
        started = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], process_group=0)
    return ours, started


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a process for every request; returns the request in the new process, and None in the server at the end."""
    running: dict[int, tuple[int, socket.socket]] = {}  # id and status socket by the handle of the process
    with requests, selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not requests:  # a process has ended
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    pid, status = running.pop(key.fd)
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    with status:
                        status.send(str(code).encode(), socket.MSG_NOSIGNAL)
                    continue
                request, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
                if not request:
                    for pid, _ in running.values():
                        os.kill(pid, signal.SIGKILL)
                    return None
                pid = os.fork()
                if pid == 0:
                    for number, descriptor in enumerate(descriptors[1:]):
                        os.dup2(descriptor, number)
                    for descriptor in {*descriptors, *running} - {0, 1, 2}:
                        os.close(descriptor)
                    for _, status in running.values():
                        status.close()
                    return json.loads(request)
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
                status, handle = socket.socket(fileno=descriptors[0]), os.pidfd_open(pid)
                status.send(str(pid).encode(), socket.MSG_NOSIGNAL)
                selector.register(handle, selectors.EVENT_READ)
                running[handle] = pid, status


def execute(command: list[str], environment: dict[str, str], cwd: str) -> None:
    """Become ``python COMMAND``."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
        stream.buffer.raw.name = f"<{name}>"
        setattr(sys, name, stream)
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    if action := environment.get("PYTHONWARNINGS"):
        warnings.simplefilter(action)
    for folder in site.getsitepackages():
        site.addsitedir(folder)  # for packages that were installed after the server was started
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    if command[0] in ("-m", "-c"):
        sys.path.insert(0, cwd)
        sys.argv = [command[0], *command[2:]]
    if command[0] == "-m":
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    elif command[0] == "-c":
        sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(command[1], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.path.insert(0, os.path.dirname(command[0]))  # noqa: PTH120
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


def import_everything() -> None:
    """Import what processes of domtrans import."""
    importlib.import_module("torch._dynamo")  # by optimizers
    domtrans = importlib.import_module("domtrans")
    importlib.import_module("domtrans.cli.commands")
    domtrans.load_plugins()
    for name in domtrans.__all__:
        getattr(domtrans, name)
    gc.freeze()  # else the first collection in a forked process copies all of it


def end(code: int | str | None) -> None:
    """End the process as SystemExit does, but leave the modules to the operating system: to free torch takes a second."""
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    sys.path.pop(0)
    import_everything()
    if request := serve(socket.socket(fileno=int(sys.argv[1]))):
        try:
            execute(**request)
        except SystemExit as exit_:
            end(exit_.code)
        except BaseException:  # noqa: BLE001 - as Python itself does
            traceback.print_exc()
            end(1)
        end(0)
