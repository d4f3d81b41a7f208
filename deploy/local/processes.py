"""Long-lived processes of the local stack: started detached, found again by their pid file, stopped in order."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final

import psutil

_STOP_SECONDS: Final = 15.0
_LOG_TAIL_LINES: Final = 6
_FREE_PORTS: Final = range(15_000, 32_000)


class StackError(Exception):
    """The stack cannot run; the message is one line that a person can act on."""


@dataclass(frozen=True)
class ProcessSpec:
    """A process: its command, its whole environment, and the ports that it will listen on."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ports: Sequence[int] = ()


class ProcessFolder:
    """Pid files and logs of one stack, in one folder."""

    def __init__(self, folder: Path, working_folder: Path) -> None:
        self._folder = folder
        self._working_folder = working_folder
        folder.mkdir(parents=True, exist_ok=True)

    def log_path(self, name: str) -> Path:
        """Where a process writes what it says."""
        return self._folder / f"{name}.log"

    def _pid_path(self, name: str) -> Path:
        return self._folder / f"{name}.pid"

    def running(self, name: str) -> psutil.Process | None:
        """The process if it lives; a pid that another program has taken over does not count."""
        try:
            pid, started = self._pid_path(name).read_text().split()
            process = psutil.Process(int(pid))
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return process if alive and f"{process.create_time():.2f}" == started else None

    def start(self, spec: ProcessSpec) -> bool:
        """Starts the process unless it runs already; False then. StackError if a port of it is in use."""
        if self.running(spec.name) is not None:
            return False
        for port in spec.ports:
            check_port_free(port, spec.name)
        with self.log_path(spec.name).open("ab") as log:
            child = subprocess.Popen(
                list(spec.command),
                env=dict(spec.environment),
                cwd=self._working_folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = psutil.Process(child.pid).create_time()
        self._pid_path(spec.name).write_text(f"{child.pid} {started:.2f}")
        return True

    def check_alive(self, names: Sequence[str]) -> None:
        """StackError with the end of its log if one of the processes has ended."""
        for name in names:
            if self.running(name) is None:
                raise StackError(f"{name} has ended: {self._last_words(name)} (log: {self.log_path(name)})")

    def _last_words(self, name: str) -> str:
        try:
            lines = self.log_path(name).read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return "no log"
        return " | ".join(line for line in lines[-_LOG_TAIL_LINES:] if line.strip())[-600:]

    def stop(self, names: Sequence[str]) -> None:
        """SIGTERM to all at once, SIGKILL to what is left after a while."""
        processes = [process for name in names if (process := self.running(name)) is not None]
        for process in processes:
            _signal(process, signal.SIGTERM)
        _, left = psutil.wait_procs(processes, timeout=_STOP_SECONDS)
        for process in left:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(left, timeout=_STOP_SECONDS)
        for name in names:
            self._pid_path(name).unlink(missing_ok=True)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def check_port_free(port: int, owner: str) -> None:
    """StackError if something listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise StackError(
                f"port {port}, which {owner} needs, is in use; stop what holds it and try again"
            ) from error


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now, below those that the system hands to outgoing connections.

    A port of that range could be taken by any connection before its owner listens, and a probe of it can even meet
    itself.
    """
    start = random.randrange(_FREE_PORTS.start, _FREE_PORTS.stop - count)
    candidates = itertools.chain(range(start, _FREE_PORTS.stop), range(_FREE_PORTS.start, start))
    return list(itertools.islice(filter(_is_free, candidates), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_for_port(port: int, seconds: float, alive: Callable[[], bool]) -> bool:
    """True once something listens on the port; False after the time, or when `alive` says that it never will."""
    deadline = time.monotonic() + seconds
    pause = Event()
    while time.monotonic() < deadline and alive():
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        pause.wait(0.02)
    return False


def check_disk(folder: Path, megabytes: int) -> None:
    """StackError if the folder's disk has less left."""
    left = shutil.disk_usage(folder).free // 1_000_000
    if left < megabytes:
        raise StackError(f"the disk that holds {folder} has {left} MB left, {megabytes} MB are needed; free some")


def disk_full_message(error: OSError) -> str | None:
    """One line if the error is a full disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = error.filename or os.getcwd()
        return f"no space left on the disk that holds {place}; free some and try again"
    return None
