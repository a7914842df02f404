"""A process that has imported everything and forks a child for each command, so that sixty kills cost few imports.

It reads a line of JSON a command from standard input, ``{"arguments": [...], "log": PATH}``, and answers with the
process id of a child that runs it as ``triune`` does in a process of its own.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path


class Commands:
    """Runs ``triune`` in forked processes; to be closed."""

    def __init__(self):
        self.parent = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.parent.stdin.close()
        self.parent.wait(60)

    def _ask(self, **command):
        self.parent.stdin.write(json.dumps(command) + "\n")
        self.parent.stdin.flush()
        return json.loads(self.parent.stdout.readline())

    def start(self, arguments, log, largest=None):
        """Start a command; its process id. No file of it can be larger than ``largest`` bytes, as on a full disk."""
        return self._ask(arguments=[str(each) for each in arguments], log=str(log), largest=largest)

    def wait(self, process):
        """The exit code of a process: minus the signal where that ended it."""
        return self._ask(wait=process)

    def run(self, arguments, log, largest=None):
        """Exit code and output of a command."""
        code = self.wait(self.start(arguments, log, largest))
        return code, Path(log).read_text()

    def stop(self, arguments, log, after, number=signal.SIGKILL):
        """Send a signal ``after`` seconds from the start; the exit code, and what was said."""
        process = self.start(arguments, log)
        time.sleep(after)
        os.kill(process, number)  # of a process that has ended, too: it is not yet waited for
        return self.wait(process), Path(log).read_text()


def serve():
    """Fork a child for every line."""
    import triune.experiment
    import triune.report.page
    import triune.report.terminal  # noqa: F401

    for line in sys.stdin:
        command = json.loads(line)
        if "wait" in command:
            answer = os.waitstatus_to_exitcode(os.waitpid(command["wait"], 0)[1])
        else:
            answer = os.fork()
            if not answer:
                child(command)
        print(json.dumps(answer), flush=True)


def child(command):
    """Be ``triune`` with these arguments."""
    from triune.cli import main

    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["triune", *command["arguments"]]
    if command["largest"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (command["largest"], command["largest"]))
    code = 1
    try:
        code = main()
    finally:
        if sys.exc_info()[0] is not None:
            import traceback

            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
