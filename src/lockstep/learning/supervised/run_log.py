"""The log of a supervised training: its handlers and its lines (R11.5 to R11.7).

    2026-11-21 09:30:00 - train_pytorch - INFO - Epoch [  1/10] | Loss: 1.7812 | BEST

Trainers write to a logger only; nothing is printed.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.core import files
from lockstep.core.clock import Clock, SystemClock
from lockstep.core.errors import DiskError

if TYPE_CHECKING:
    from lockstep.learning.supervised.fit import Epoch

LAYOUT: Final = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
TIMES: Final = "%Y-%m-%d %H:%M:%S"
_RULE: Final = "=" * 70
_THIN_RULE: Final = "-" * 70


class _AppendHandler(logging.Handler):
    """Appends lines through `core.files`, where tests inject faults of the disk."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._file = files.AppendFile(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Append one formatted line; a failing disk is reported on the console."""
        try:
            self._file.append((self.format(record) + "\n").encode())
        except DiskError:
            # A log that cannot be written does not end a training.
            self.handleError(record)

    def close(self) -> None:
        """Close the file, then the handler."""
        self._file.close()
        super().close()


def log_to(
    name: str, output_dir: Path | str, *, level: int = logging.INFO, clock: Clock | None = None
) -> logging.Logger:
    """The logger `name`, writing to the console and to `output_dir`/training_YYYYMMDD_HHMMSS.log, local time.

    Handlers of an earlier call are closed and removed, so that no line is written twice. The folder is created when
    missing. Raises DiskError.
    """
    logger = logging.getLogger(name)
    close_log(logger)
    files.make_folder(Path(output_dir))
    stamp = now(clock).strftime("%Y%m%d_%H%M%S")
    handlers: list[logging.Handler] = [
        logging.StreamHandler(sys.stdout),
        _AppendHandler(Path(output_dir) / f"training_{stamp}.log"),
    ]
    for handler in handlers:
        handler.setFormatter(logging.Formatter(LAYOUT, TIMES))
        logger.addHandler(handler)
    logger.setLevel(level)
    # A root logger with handlers would write each line a second time.
    logger.propagate = False
    return logger


def close_log(logger: logging.Logger) -> None:
    """Close and remove the logger's handlers."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def now(clock: Clock | None = None) -> datetime:
    """The local time, with its offset from UTC."""
    ms = (SystemClock() if clock is None else clock).utc_ms()
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone()


def timestamp(clock: Clock | None = None) -> str:
    """The local time in ISO form with microseconds, for a history."""
    return now(clock).isoformat(timespec="microseconds")


def log_start(logger: logging.Logger, configuration: Mapping[str, Any]) -> None:
    """Log the title and the configuration, a line for each entry."""
    for line in (_RULE, "STARTING REPRODUCIBLE TRAINING", _RULE, "Configuration:"):
        logger.info(line)
    for name, value in configuration.items():
        logger.info("  %s: %s", name, value)


def log_dataset(logger: logging.Logger, *, samples: int, batches: int, held_out: int | None) -> None:
    """Log the numbers of samples and batches."""
    also = "" if held_out is None else f", {held_out} held out"
    logger.info("Dataset created: %d samples, %d batches%s", samples, batches, also)


def log_epochs_begin(logger: logging.Logger) -> None:
    """Log the line above the epochs."""
    logger.info("Starting training...")
    logger.info(_THIN_RULE)


def log_epoch(logger: logging.Logger, epoch: Epoch, epochs: int, *, keeps_best: bool) -> None:
    """Log one epoch. With `keeps_best` the lowest loss so far is marked BEST: the trainer saves that model.

    A trainer that saves only the last model marks no epoch.
    """
    parts = [f"Epoch [{epoch.number:3d}/{epochs}] | Loss: {epoch.loss:.4f}"]
    if epoch.val_loss is not None:
        parts.append(f"Val loss: {epoch.val_loss:.4f} | Val accuracy: {epoch.val_accuracy:.4f}")
    if epoch.is_best and keeps_best:
        parts.append("BEST")
    logger.info(" | ".join(parts))


def log_summary(logger: logging.Logger, losses: Sequence[float]) -> None:
    """Log totals and the closing title. Loss improvement is the first loss minus the lowest."""
    best = min(losses)
    logger.info(_THIN_RULE)
    logger.info("Training summary:")
    logger.info("  Total epochs: %d", len(losses))
    logger.info("  Final loss: %.4f", losses[-1])
    logger.info("  Best loss: %.4f (epoch %d)", best, losses.index(best) + 1)
    logger.info("  Loss improvement: %.4f", losses[0] - best)
    for line in (_RULE, "TRAINING COMPLETE", _RULE):
        logger.info(line)
