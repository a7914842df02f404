"""What a run stores of its settings and its data when it begins, or once it goes on."""

from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl

from triune.checksums import read_checksums
from triune.parallel.group import done_by_first, is_first
from triune.run import origin as origin_file, split as split_file
from triune.run.folder import save_config, seal
from triune.run.loaders import ItemData
from triune.run.origin import Origin, origin_of, with_whole_paths
from triune.run.parser import read_config
from triune.run.settings import TrainConfig


class Beginning(pl.Callback):
    """Writes ``data.json``, ``split.csv`` and ``config.yaml``.

    Of a run that goes on nothing is written before its checkpoint was loaded.

    Args:
        run: the run folder.
        config: the settings.
        data: the items.
        origin: what the run stored of its data before; ``None`` where it begins.
    """

    def __init__(self, run: Path, config: TrainConfig, data: ItemData, origin: Origin | None) -> None:
        self.run = run
        # A run lies where it lies, and may be moved: --config with this file starts another one.
        self.config = with_whole_paths(replace(config, output=None, resume=None, resume_with_changes=False))
        self.table = data.table
        self.stored = origin is not None and not config.resume_with_changes
        now = origin_of(run, config, data.table, data.classes, data.training_identities, data.images)
        self.origin = now if origin is None else now.model_copy(update={"run": origin.run})
        self.stored &= self.origin == origin

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The checkpoint is loaded, if there is one."""
        self.write()
        if is_first() and "history.csv" in read_checksums(self.run):
            seal(self.run, [], unchecked=["history.csv"])

    def write(self) -> None:
        """Write ``data.json``, ``split.csv`` and, last, ``config.yaml``, as far as they are not as they should be.

        Of several processes the first one does.
        """
        done_by_first(self._write)

    def _write(self) -> None:
        if not self.stored:
            seal(self.run, [], unchecked=[origin_file.NAME, split_file.NAME])
            origin_file.write_origin(self.run, self.origin)
            split_file.write_split(self.run, self.table)
            seal(self.run, [origin_file.NAME, split_file.NAME])
            self.stored = True
        path = self.run / "config.yaml"
        if not path.is_file() or read_config(path) != self.config:
            save_config(self.run, self.config)
