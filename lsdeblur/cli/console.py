"""What is printed: tables and JSON on stdout; progress and warnings on stderr."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

__all__ = ["interactive", "number", "print_json", "print_table", "progress", "reason", "told"]

_SHOWN = (UserWarning, RuntimeWarning)  # what the authors of libraries tell each other is left out


def print_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as they must be, so that a pipe gets the same lines as a terminal."""
    lines = [list(header), *([number(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_json(record: Mapping[str, Any]) -> None:
    """One object on one line; what JSON has no number for is null."""
    click.echo(json.dumps(_plain(record), allow_nan=False))


def number(value: Any) -> str:
    """A cell of a table."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(number, value[:3])) + (", ..." if len(value) > 3 else "")
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@contextmanager
def told(name: str) -> Iterator[list[str]]:
    """Warnings raised within, plainly, once each, with the name they concern; they are in the list at the end."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield texts
        finally:
            for text in dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, _SHOWN)):
                texts.append(text)
                sys.stderr.write(f"{name}: warning: {text}\n")  # a progress bar makes way for it, as not for click.echo


@contextmanager
def progress(total: int, *, quiet: bool = False) -> Iterator[Callable[[str], Callable[[Any], None]]]:
    """A bar on stderr if that is a terminal. The function it gives begins a file and returns that file's callback."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, redirect_stdout=False, transient=True) as bar:
        files = bar.add_task("files", total=total, visible=total > 1)
        steps = bar.add_task("", total=None)
        begun = 0

        def begin(name: str) -> Callable[[Any], None]:
            nonlocal begun
            bar.update(files, completed=begun)
            bar.reset(steps, total=None, description=name)
            begun += 1
            return lambda state: bar.update(steps, completed=state.iteration, total=state.total)

        yield begin


class _Rate(ProgressColumn):
    """Files or steps a second, or seconds for each."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        return Text(f"{task.speed:.1f}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each")


def reason(error: Exception) -> str:
    """An error in words; one that is not for users keeps the name of its type."""
    if isinstance(error, MemoryError):
        return (
            f"there is not enough memory ({str(error) or type(error).__name__}): choose a part of the image, or "
            "restore it tile by tile by lsdeblur.restore with tile= and out="
        )
    expected = isinstance(error, (ValueError, TypeError, OSError, ImportError, RuntimeError))
    return str(error) if expected and str(error) else f"{type(error).__name__}: {error}"


def interactive() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
