"""Exceptions and warnings, and when each is used.

* `TypeError`, `ValueError`: an argument is of the wrong kind, or its value cannot be used.
* `MissingDependencyError`: an optional package is needed; the message holds the pip line.
* `ParameterChoiceError`: a rule that chooses a parameter has no answer for this data.
* `LsdeblurWarning` and its children: the result stands, but the caller should know something.

Every message states the fact, its cause and a remedy, and names the argument.
"""

__all__ = [
    "ConvergenceWarning",
    "LambdaAtBoundaryWarning",
    "LsdeblurWarning",
    "MissingDependencyError",
    "PSFMismatchWarning",
    "ParameterChoiceError",
]


class MissingDependencyError(ImportError):
    """An optional package is not installed; the message names the pip command that installs it."""


class ParameterChoiceError(RuntimeError):
    """A rule for choosing a parameter has no answer, for example an extremum at the end of the range."""


class LsdeblurWarning(UserWarning):
    """Base class of all warnings of this library."""


class ConvergenceWarning(LsdeblurWarning):
    """An iteration stopped at its limit before it reached its tolerance."""


class LambdaAtBoundaryWarning(LsdeblurWarning):
    """The lambda that was used lies at the end of the range that was searched."""


class PSFMismatchWarning(LsdeblurWarning):
    """What the restoration leaves of the image is not noise: the PSF is probably wrong."""
