"""Commands of the tests in forks of a process that has loaded the libraries, instead of in new interpreters.

Loading them takes seconds, most commands milliseconds. A server is a process with one thread, started as its commands
would be (interpreter options, environment), that imports what commands import, computes nothing and forks for each
command. The fork gets the command's folder, variables, arguments and pipes, and runs it as `python -m` or `python -c`
do, at the top of the interpreter: exit codes, signals, handlers at exit and pipes are Python's own.

What a fork cannot show needs a new interpreter (`subprocess`): hash seeds, since a server's forks share one; what a
command imports; variables that are read while Python and the libraries load. `start` takes care of the last: a command
whose environment differs in more than `FREE` gets a server of its own, or a new interpreter where there are enough
servers. tests/integration/test_fork_server.py shows that a fork is a process like any other.

    client                    server                       fork
    start() -- request, ends of pipes, status socket --> fork() --> command
            <-- status socket: pid, then how it ended --  wait()
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

ROOT: Final = Path(__file__).parents[1]
ENVIRONMENT: Final = {
    name: value for name, value in os.environ.items() if not name.startswith(("LOCKSTEP_", "PYTEST_"))
}
"""The variables that the tests were started with, for their commands. tests/conftest.py loads this module before
anything of Lockstep, whose libraries set variables of their own in the process that loads them."""
FREE: Final = frozenset({"LOCKSTEP_HOME", "NO_COLOR"})
"""Variables that a command reads when it runs, not while libraries load."""
LIBRARIES: Final = ("pyarrow.csv", "pyarrow.parquet", "pyarrow.pandas_compat", "scipy.stats", "joblib", "rich.progress")
# What torch imports when the first optimiser is made, and scikit-learn's part that baselines use.
OF_EXTRAS: Final = ("torch._dynamo", "torch.utils.serialization", "sklearn.linear_model")
MOST_SERVERS: Final = 3
HEADER: Final = 8


class Forked:
    """A command that runs in a fork; a `subprocess.Popen` as far as tests use one, with text in its pipes."""

    def __init__(self, command: Sequence[str], status: socket.socket, out: int, err: int) -> None:
        self.args = list(command)
        self.returncode: int | None = None
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        self._readers: list[threading.Thread] = []
        self._texts: dict[TextIO, str] = {}
        self._status, self._lines = status, b""
        self.pid = int(self._line(None))

    def _line(self, timeout: float | None) -> bytes:
        """The next line from the server, "" when the time is over."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._lines:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._status], [], [], left)[0]:
                return b""
            part = self._status.recv(64)
            if not part:
                raise RuntimeError(f"the server that ran {self.args} has ended")
            self._lines += part
        line, _, self._lines = self._lines.partition(b"\n")
        return line

    def poll(self) -> int | None:
        if self.returncode is None and (line := self._line(0.0)):
            self.returncode = int(line)
            self._status.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not (line := self._line(timeout)):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = int(line)
            self._status.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What is left in the pipes, and the end of the process."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._readers:
            pipes = [pipe for pipe in (self.stdout, self.stderr) if not pipe.closed]
            self._readers = [threading.Thread(target=self._read, args=(pipe,), daemon=True) for pipe in pipes]
            for reader in self._readers:
                reader.start()
        for reader in self._readers:
            reader.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return self._texts.get(self.stdout, ""), self._texts.get(self.stderr, "")

    def _read(self, pipe: TextIO) -> None:
        with pipe:
            self._texts[pipe] = pipe.read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = Forked | subprocess.Popen[str]


class Server:
    """The client's side of a server for one environment and one set of interpreter options."""

    def __init__(self, options: Sequence[str], environment: Mapping[str, str], libraries: Sequence[str]) -> None:
        self._socket, theirs = socket.socketpair()
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests import fork_server; fork_server.main()"
        # Pipes, so that the standard streams are what they are in a command of `subprocess`.
        self._process = subprocess.Popen(
            [sys.executable, *options, "-c", code, str(theirs.fileno()), *libraries],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()

    def start(
        self, options: Sequence[str], words: Sequence[str], *, cwd: Path, env: Mapping[str, str], own_session: bool
    ) -> Forked:
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        status, their_status = socket.socketpair()
        request = json.dumps(
            {
                "options": list(options),
                "words": list(words),
                "cwd": os.fspath(cwd),
                "env": dict(env),
                "own_session": own_session,
            }
        ).encode()
        with Path(os.devnull).open("rb") as nothing:
            descriptors = [nothing.fileno(), their_out, their_err, their_status.fileno()]
            try:
                socket.send_fds(self._socket, [len(request).to_bytes(HEADER, "big")], descriptors)
                self._socket.sendall(request)
                return Forked([sys.executable, *options, *words], status, out, err)
            except (OSError, RuntimeError) as error:
                raise RuntimeError(f"the fork server has ended: {self.end()}") from error
            finally:
                os.close(their_out)
                os.close(their_err)
                their_status.close()

    def end(self) -> str:
        """Let the server end; what it said, which is nothing unless it failed."""
        self._socket.close()
        _, said = self._process.communicate()
        return said.decode()


_servers: dict[tuple[Any, ...], Server] = {}


def start(
    options: Sequence[str],
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    own_session: bool = False,
    libraries: Sequence[str] = (),
) -> Process:
    """Start `python OPTIONS WORDS`; words begin with "-m", MODULE or "-c", CODE. Its stdin is empty.

    own_session   whether it leads a session of its own, so that its process group can be signalled
    libraries     modules that its server loads too
    """
    fixed = {name: value for name, value in env.items() if name not in FREE}
    key = (tuple(options), tuple(libraries), tuple(sorted(fixed.items())))
    if key not in _servers:
        if len(_servers) == MOST_SERVERS:
            return new_interpreter(options, words, cwd=cwd, env=env, own_session=own_session)
        _servers[key] = Server(options, fixed, libraries)
        atexit.register(_servers[key].end)
    return _servers[key].start(options, words, cwd=cwd, env=env, own_session=own_session)


def new_interpreter(
    options: Sequence[str], words: Sequence[str], *, cwd: Path, env: Mapping[str, str], own_session: bool = False
) -> subprocess.Popen[str]:
    """The same as `start`, with an interpreter that begins."""
    return subprocess.Popen(
        [sys.executable, *options, *words],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    )


# What follows runs in the server, and in its forks up to the command.


def main() -> None:
    """Load the libraries, serve, and in each fork run the command in the place of this program."""
    channel, *more = sys.argv[1:]
    import gc
    from importlib import import_module
    from importlib.util import find_spec
    from pkgutil import iter_modules

    from lockstep.runs.numerics import pin_environment

    # A command pins threads before anything heavy loads. Arrow's allocator, which is not the one in use, would begin a
    # thread of its own. The variables of both are gone in the forks, which begin with those of their commands.
    pin_environment()
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    before = dict(os.environ)
    from numba.core.registry import cpu_target

    from lockstep import app, bootstrap, cli
    from lockstep.cli.commands import command
    from lockstep.runs import registry
    from lockstep.runs.identity import CodeIdentity
    from lockstep.runs.kind_code import whole_code
    from lockstep.runs.sources import versions

    for package in (app, cli):
        for module in iter_modules(package.__path__, package.__name__ + "."):
            import_module(module.name)
    extras = find_spec("torch") is not None and find_spec("sklearn") is not None
    kinds = [path.partition(":")[0] for name, path in bootstrap.KINDS.items() if extras or name == "strategy"]
    # Keras is not imported by its kind before a training.
    for name in (*kinds, bootstrap.IN_PROCESS.partition(":")[0], *LIBRARIES, *(OF_EXTRAS if extras else ()), *more):
        import_module(name)
    # What numba does before the first kernel: it reads its tables of types and functions.
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    # The sources that a run can load, which its code identity reads: half a second of each training.
    for name in ["strategy"] if not extras else bootstrap.KINDS:
        whole_code(CodeIdentity(), registry.get(name))
    # The table of commands, and the lists of installed packages.
    command()
    versions(["numpy"])
    # What is loaded stays: forks need not look at it again at each collection, nor copy the pages it lies on.
    gc.collect()
    gc.freeze()
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise RuntimeError(f"a process that forks has one thread; found {threads}")
    with socket.socket(fileno=int(channel)) as requests:
        job = _serve(requests)
    if job is not None:
        # What modules set while they load, as `learning.gradients.determinism` does, they will not set again.
        _become(job, {name: value for name, value in os.environ.items() if before.get(name) != value})


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Returns the job in the fork, and None in the server when the client has left."""
    children: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    while True:
        readable = select.select([requests, woken], [], [])[0]
        if woken in readable:
            os.read(woken, 1 << 10)
            _report_ends(children)
        if requests not in readable:
            continue
        header, descriptors, _, _ = socket.recv_fds(requests, HEADER, 4)
        if len(header) < HEADER:
            return None
        length, content = int.from_bytes(header, "big"), b""
        while len(content) < length:
            part = requests.recv(length - len(content))
            if not part:
                return None
            content += part
        status = socket.socket(fileno=descriptors.pop())
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number, inheritable=True)
            for descriptor in (woken, wake, *descriptors):
                os.close(descriptor)
            for other in (status, *children.values()):
                other.close()
            return dict(json.loads(content))
        for descriptor in descriptors:
            os.close(descriptor)
        children[pid] = status
        status.sendall(b"%d\n" % pid)


def _report_ends(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as client, suppress(OSError):
                client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _become(job: Mapping[str, Any], loaded: Mapping[str, str]) -> None:
    """Run the command of a job as Python does; what it raises goes to the top of the interpreter."""
    import runpy

    if job["own_session"]:
        os.setsid()
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update({**loaded, **job["env"]})
    form, target, *arguments = job["words"]
    sys.orig_argv[:] = [sys.executable, *job["options"], *job["words"]]
    sys.path.remove(str(ROOT))
    sys.path[0] = str(Path.cwd()) if form == "-m" else ""
    sys.argv[:] = [form, *arguments]
    top = sys.modules["__main__"].__dict__
    del top["sys"], top["fork_server"], sys.modules["tests.fork_server"], sys.modules["tests"]
    try:
        if form == "-m":
            runpy._run_module_as_main(target)  # type: ignore[attr-defined]
        else:
            exec(compile(target, "<string>", "exec"), top)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            raise
        _exit(leaving.code or 0)
    _exit(0)


def _exit(code: int) -> None:
    """End as an interpreter does, without taking down what the server loaded, which is slow."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python's own end says what cannot be written
    os._exit(code & 0xFF)
