"""A signal that comes while TensorBoard's files are closed takes effect once they are."""

import signal

import pytest

from triune.training.event_log import EventLog


class Sent(Exception):
    pass


def test_a_signal_while_it_closes_leaves_a_log_that_can_be_closed_again(tmp_path, monkeypatch):
    def stop(number, frame):
        raise Sent

    log = EventLog(tmp_path, name="tensorboard", version="")
    log.log_metrics({"loss": 1.0}, step=0)
    writer = log.experiment.file_writer.event_writer
    close = writer.close

    def closed_and_then_asked_to_end():
        close()
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(writer, "close", closed_and_then_asked_to_end)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Sent):
            log.finalize("success")
    finally:
        signal.signal(signal.SIGTERM, before)
    log.finalize("failed")  # as Lightning does; the writer that was half closed failed here
