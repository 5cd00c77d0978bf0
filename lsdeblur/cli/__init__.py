"""The command line: ``lsdeblur``, or ``python -m lsdeblur``.

=============  ======================================================================
`main`         the entry point
`group`        the command with its subcommands, exit codes, what an interrupt does
`arguments`    PSF specifications, options as KEY=VALUE, files, folders and patterns
`console`      tables, JSON, progress and warnings
`jobs`         what ``restore`` reads and writes, checked before it begins
`restoring`    ``restore``
`psfs`         ``psf make``, ``psf show``, ``psf estimate``
`looking`      ``lcurve``, ``diagnose``, ``compare``
`machine`      ``bench``, ``info``, ``train``
=============  ======================================================================

It needs ``pip install 'lsdeblur[cli]'``. `docs/command_line.md` describes it.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command; exit with 1 and the pip line where its libraries are missing."""
    try:
        import click as _click  # noqa: F401
        import rich as _rich  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"the command lsdeblur needs {error.name}, which is not installed: pip install 'lsdeblur[cli]'")
    from lsdeblur.cli.group import command

    command(prog_name="lsdeblur")
