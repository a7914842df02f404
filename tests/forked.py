"""Processes that have imported everything from the start: forked from one that has."""

import contextlib
import io
import json
import multiprocessing
import os
import socket

import torch
import torch.multiprocessing as mp

from triune.cli import main

IMPORTED = ["torch.distributed", "lightning.pytorch", "torchmetrics", "triune.experiment", "triune.report.page"]


def run_forked(work, arguments, processes):
    """Call ``work(rank, *arguments)`` in as many processes and wait for all of them, as ``mp.spawn`` does.

    A spawned process imports for six seconds what these have from the one that they are forked from, which is started
    once and imports only, so that no thread or lock of the tests is in them.
    """
    multiprocessing.set_forkserver_preload(IMPORTED)
    mp.start_processes(work, arguments, nprocs=processes, start_method="forkserver")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _work(rank, size, cases, ports, folder, command):
    """Each case is a command line, which every process runs as torchrun would have it."""
    torch.set_num_threads(1)
    os.chdir(folder)
    place = {"TORCHELASTIC_RUN_ID": "test", "RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank}
    place |= {"LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {name: str(value) for name, value in place.items()}
    answers = []
    for arguments, port in zip(cases, ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command(arguments)
        answers.append((code, out.getvalue(), err.getvalue()))
    (folder / f"{rank}.json").write_text(json.dumps(answers))


def in_processes(cases, folder, size=2, command=main):
    """Command lines in processes that are started as torchrun starts them.

    Args:
        cases: the command lines, one after the other.
        folder: where the processes are, and what they write of their answers.
        size: how many processes.
        command: what is called with a command line, and returns an exit code; of a module's own.

    Returns:
        For each case what each process made of it: exit code, standard output, standard error.
    """
    run_forked(_work, (size, cases, free_ports(len(cases)), folder, command), size)
    return list(zip(*(json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)), strict=True))
