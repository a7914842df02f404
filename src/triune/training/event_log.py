"""What TensorBoard shows of a training: its files are closed whole."""

from lightning.pytorch.loggers import TensorBoardLogger

from triune.signals import held_back


class EventLog(TensorBoardLogger):
    """Lightning's logger for TensorBoard, which a signal does not interrupt while it closes.

    Lightning closes its loggers once more when a training is interrupted, and a writer that was half closed by then
    fails with an error that hides the signal.
    """

    def finalize(self, status: str) -> None:
        """Write what is left, and close; a signal takes effect after that.

        Args:
            status: how the training ended.
        """
        with held_back():
            super().finalize(status)
