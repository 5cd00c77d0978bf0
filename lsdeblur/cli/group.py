"""The command ``lsdeblur`` itself: its subcommands, its exit codes and what every error looks like."""

from __future__ import annotations

import logging
import os
from typing import Any

import click

from lsdeblur._version import __version__
from lsdeblur.cli import looking, machine, psfs, restoring
from lsdeblur.cli.console import reason
from lsdeblur.errors import ParameterChoiceError

__all__ = ["INTERRUPTED", "Group", "command"]

#: exit code after Ctrl-C, as shells have it
INTERRUPTED = 130

_EPILOG = """\b
Exit codes: 0 all is well, 1 something failed, 2 the command makes no sense, 130 interrupted.
Completion: eval "$(_LSDEBLUR_COMPLETE=bash_source lsdeblur)" in ~/.bashrc; zsh_source and fish_source likewise.
"""


class Group(click.Group):
    """Errors of the library are one line and exit code 1, an interrupt is 130."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen subcommand."""
        os.environ.setdefault("MPLBACKEND", "Agg")  # figures go to files: no window is needed
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it logs of damaged files, it raises as well
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted; no file was left half-written", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            raise
        except (ValueError, TypeError, OSError, ImportError, MemoryError, ParameterChoiceError) as error:
            raise click.ClickException(reason(error)) from error


@click.group(cls=Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lsdeblur")
def command() -> None:
    """Restore blurred, noisy images by regularised least squares.

    \b
    lsdeblur restore photo.jpg --psf motion:length=15,angle=30
    lsdeblur restore 'scans/*.tif' --psf file:psf.tif -o restored/
    """


command.add_command(restoring.restore)
command.add_command(psfs.psf)
command.add_command(looking.lcurve)
command.add_command(looking.diagnose)
command.add_command(looking.compare)
command.add_command(machine.bench)
command.add_command(machine.train)
command.add_command(machine.info)
