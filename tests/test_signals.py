"""A signal ends the program in one line, in the middle of nothing that must be whole."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from triune.signals import Stopped, _leave, held_back, leave_at_once, raising, signal_of, stopped_by, word_of

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def handlers_stay():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def in_a_process(code):
    """Exit code and standard error of Python code that may end itself."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    return done.returncode, done.stderr


@BOTH
def test_a_signal_ends_the_process_at_once_in_one_line_even_where_exceptions_are_lost(number):
    code = f"""
import os, signal
from triune.signals import leave_at_once
leave_at_once()
class Import:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        for _ in range(1000): pass
try:
    del Import.x
except BaseException:
    Import()
print("not reached", file=__import__("sys").stderr)
"""
    assert in_a_process(code) == (128 + number, f"triune: {word_of(number)}\n")


@BOTH
def test_where_something_must_be_cleaned_up_it_is_an_exception(number):
    leave_at_once()
    cleaned = []

    def stopped_in_the_middle():
        with raising():
            try:
                signal.raise_signal(number)
            finally:
                cleaned.append(True)

    with pytest.raises(Stopped) as stopped:
        stopped_in_the_middle()
    assert cleaned == [True]
    assert signal_of(stopped.value) == number
    assert signal.getsignal(number) is _leave  # and afterwards as before


def test_in_a_program_of_the_user_s_the_signals_are_the_user_s():
    mine = []
    signal.signal(signal.SIGTERM, lambda *_: mine.append(1))
    with raising():
        signal.raise_signal(signal.SIGTERM)
    assert mine == [1]


@BOTH
def test_a_signal_waits_until_a_file_is_whole_and_is_not_lost(number):
    leave_at_once()
    done = []

    def write():
        with raising():
            with held_back(), held_back():
                signal.raise_signal(number)
                done.append("written")
            done.append("not reached")

    with pytest.raises(Stopped):
        write()
    assert done == ["written"]


def test_other_threads_write_without_touching_signals():
    before, seen = signal.getsignal(signal.SIGINT), []

    def write():
        with held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert seen == [before]


def test_ctrl_c_of_python_is_an_interrupt():
    assert signal_of(KeyboardInterrupt()) == signal.SIGINT
    assert str(Stopped(signal.SIGTERM, "runs/a")) == "runs/a"


def test_where_all_was_said_a_signal_ends_the_process_in_silence():
    program = (
        "import os, signal; from triune.signals import leave_at_once, leave_in_silence\n"
        "leave_at_once(); leave_in_silence(); os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


@pytest.mark.parametrize(("rank", "says"), [("0", "triune: terminated\n"), ("1", "")])
def test_of_several_processes_one_says_that_a_signal_came(rank, says):
    program = "import os, signal; from triune.signals import leave_at_once\nleave_at_once(); os.kill(os.getpid(), 15)"
    environment = os.environ | {"RANK": rank}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (143, says)


def test_an_error_that_arises_while_a_signal_is_answered_is_the_signal_s():
    def nested(first, second):
        """An error that was raised while another was on its way."""
        try:
            try:
                raise first
            finally:
                raise second
        except BaseException as error:
            return error

    stopped = Stopped(signal.SIGTERM)
    assert stopped_by(stopped) is stopped
    assert stopped_by(nested(stopped, RuntimeError("closed twice"))) is stopped
    assert stopped_by(nested(nested(stopped, RuntimeError()), ValueError())) is stopped
    assert stopped_by(nested(ValueError(), RuntimeError())) is None
    assert stopped_by(None) is None
