"""The package keeps to its layers: who may import what, how long a piece may be, what is documented.

A rule is a function of one module that yields its violations, each with a remedy. `RULES` lists the rules; `BITES` and
`ALLOWED` show on small sources that each of them finds what it forbids, and only that.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A layer, a file or a folder, may import only the layers that stand before it.
LAYER_LINE = """
    errors < _files < _results < _validate < _kernels < _fft < _methods < psf < boundary < _inputs < spectrum < noise
    < filters < selection < free < spacevar < simulate < _stores < tiling < _stage < _gains < direct < _tiled
    < posterior < denoise < frames < iterative < blind < _dask < _restore < video < metrics < plot < report < io
    < compat < cli
"""
LAYERS = [layer.strip() for layer in LAYER_LINE.split("<")]
ENTRANCES = {"__init__", "__main__"}  # these may import every layer
OPTIONAL = "deep"  # imports what stands before _restore, and no layer imports it: METHODS holds its names

# The one layer that may import a library.
OWNERS = {
    "astropy": "io",
    "dask": "_dask",
    "distributed": "_dask",
    "jinja2": "report",
    "matplotlib": "plot",
    "mkl": "_fft",
    "mkl_fft": "_fft",
    "numba": "_kernels",
    "numpy.fft": "_fft",
    "pyfftw": "_fft",
    "scipy.fft": "_fft",
    "scipy.fftpack": "_fft",
    "tifffile": "io",
    "torch": "deep",
    "zarr": "io",
}
INSIDE_FUNCTIONS = ("cv2", "pywt", "scipy.optimize", "skimage")
NOT_ON_IMPORT = ("cv2", "dask", "matplotlib", "mkl", "mkl_fft", "numba", "pyfftw", "scipy.optimize", "skimage", "torch")

MAX_FILE = 500
MAX_BODY = 60

Violation = tuple[int, str]


class Module:
    """One source file of the package; `path` is relative to the package's folder."""

    def __init__(self, path: str, source: str) -> None:
        self.path = PurePosixPath(path)
        self.source = source
        self.tree = ast.parse(source, path)
        self.layer = self.path.parts[0].removesuffix(".py")
        self.package = ["lsdeblur", *self.path.parts[:-1]]

    @cached_property
    def imports(self) -> list[tuple[int, str]]:
        """Line and dotted name of everything that is imported, at any depth."""
        return list(self.imported(ast.walk(self.tree)))

    @cached_property
    def uses(self) -> list[tuple[int, str]]:
        """Line and full dotted name of attributes of imported modules: `np.fft.rfft` is `numpy.fft.rfft`."""
        names = self.aliases()
        attributes = (node for node in ast.walk(self.tree) if isinstance(node, ast.Attribute))
        dotted = ((node.lineno, ast.unparse(node).partition(".")) for node in attributes)
        return [(line, f"{names[root]}.{rest}") for line, (root, _, rest) in dotted if root in names]

    def imported(self, nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
        """The imports among `nodes`; `import_module` with a literal name is an import, a string elsewhere is not."""
        for node in nodes:
            match node:
                case ast.Import(names=names):
                    yield from ((node.lineno, alias.name) for alias in names)
                case ast.ImportFrom(names=names):
                    yield from ((node.lineno, f"{self.origin(node)}.{alias.name}") for alias in names)
                case ast.Call(
                    func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    yield node.lineno, name

    def origin(self, node: ast.ImportFrom) -> str:
        """The absolute name of the module that `node` imports from."""
        parents = self.package[: len(self.package) + 1 - node.level] if node.level else []
        return ".".join([*parents, *filter(None, [node.module])])

    def aliases(self) -> dict[str, str]:
        """What the names that imports bind stand for; scopes are not told apart."""
        names = {}
        for node in ast.walk(self.tree):
            match node:
                case ast.Import():
                    for alias in node.names:
                        bound = alias.asname or alias.name.partition(".")[0]
                        names[bound] = alias.name if alias.asname else bound
                case ast.ImportFrom():
                    names |= {alias.asname or alias.name: f"{self.origin(node)}.{alias.name}" for alias in node.names}
        return names


def is_within(name: str, library: str) -> bool:
    return name == library or name.startswith(library + ".")


def run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below `node` that run when the module is imported: not those in functions or for the type checker."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), orelse=orelse):
                for other in orelse:
                    yield other
                    yield from run_on_import(other)
            case _:
                yield child
                yield from run_on_import(child)


def may_import(layer: str, target: str) -> bool:
    if layer in ENTRANCES or target == "_version":
        return True
    if target == layer:
        return True  # the files of a folder; a file has no reason to import itself
    limit = "_restore" if layer == OPTIONAL else layer
    return limit in LAYERS and target in LAYERS[: LAYERS.index(limit)]


def has_a_layer(module: Module) -> Iterator[Violation]:
    if module.layer not in {*LAYERS, *ENTRANCES, OPTIONAL, "_version"}:
        yield 1, f"{module.layer} has no place in LAYERS: give it one"


def imports_earlier_layers(module: Module) -> Iterator[Violation]:
    for line, name in module.imports:
        if not is_within(name, "lsdeblur"):
            continue
        target = (name.split(".")[1:] or ["__init__"])[0]
        if not may_import(module.layer, target):
            yield line, f"{module.layer} must not import {name}: only the layers before it, each by its own name"


def leaves_libraries_to_their_owner(module: Module) -> Iterator[Violation]:
    foreign = [library for library, owner in OWNERS.items() if owner != module.layer]
    names = module.imports + module.uses
    for line, library in sorted({(line, lib) for line, name in names for lib in foreign if is_within(name, lib)}):
        yield line, f"only {OWNERS[library]} may use {library}: call a function of {OWNERS[library]}"


def imports_heavy_libraries_in_functions(module: Module) -> Iterator[Violation]:
    for line, name in module.imported(run_on_import(module.tree)):
        if any(is_within(name, library) for library in INSIDE_FUNCTIONS):
            yield line, f"import {name} inside the functions that use it: it would slow down `import lsdeblur`"


def is_a_short_file(module: Module) -> Iterator[Violation]:
    lines = len(module.source.splitlines())
    if lines > MAX_FILE:
        yield lines, f"the file has {lines} lines, more than {MAX_FILE}: split it by purpose"


def has_short_functions(module: Module) -> Iterator[Violation]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            if lines > MAX_BODY:
                yield node.lineno, f"the body of {node.name} has {lines} lines, more than {MAX_BODY}: extract a step"


def does_not_print(module: Module) -> Iterator[Violation]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id == "print" and module.layer != "cli":
            yield node.lineno, 'use logging.getLogger("lsdeblur") instead of print'


def documents_what_is_public(module: Module) -> Iterator[Violation]:
    if ast.get_docstring(module.tree) is None:
        yield 1, "the module needs a docstring"
    definitions = [n for n in module.tree.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    public = declared_public(module)
    for node in definitions:
        is_public = not node.name.startswith("_") if public is None else node.name in public
        if is_public and ast.get_docstring(node) is None:
            yield node.lineno, f"{node.name} is public: it needs a docstring"


def declared_public(module: Module) -> set[str] | None:
    """The names spelled out in `__all__`; None where there is none, and every name without an underscore is public."""
    for node in module.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
            return {value for value in constants if isinstance(value, str)}
    return None


Rule = Callable[[Module], Iterator[Violation]]

RULES: tuple[Rule, ...] = (
    has_a_layer,
    imports_earlier_layers,
    leaves_libraries_to_their_owner,
    imports_heavy_libraries_in_functions,
    is_a_short_file,
    has_short_functions,
    does_not_print,
    documents_what_is_public,
)


def modules() -> list[Module]:
    package = ROOT / "lsdeblur"
    return [
        Module(path.relative_to(package).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(package.rglob("*.py"))
    ]


@pytest.mark.parametrize("rule", RULES)
def test_package_keeps(rule: Rule) -> None:
    violations = [f"lsdeblur/{m.path}:{line}: {text}" for m in modules() for line, text in rule(m)]
    assert not violations, "\n" + "\n".join(violations)


LONG_BODY = "    x = 1\n" * (MAX_BODY + 1)
LONG_DOCSTRING = '    """One line.\n' + "\n" * MAX_BODY + '    """\n'

BITES: list[tuple[Rule, str, str]] = [
    (has_a_layer, "helpers.py", ""),
    (has_a_layer, "utils/__init__.py", ""),
    (imports_earlier_layers, "filters.py", "import lsdeblur.direct"),
    (imports_earlier_layers, "filters.py", "import lsdeblur"),
    (imports_earlier_layers, "filters.py", "from lsdeblur import direct"),
    (imports_earlier_layers, "filters.py", "from lsdeblur import restore"),
    (imports_earlier_layers, "filters.py", "from lsdeblur.direct import tikhonov"),
    (imports_earlier_layers, "filters.py", "from . import direct"),
    (imports_earlier_layers, "filters.py", "from . import *"),
    (imports_earlier_layers, "filters.py", "from .direct import tikhonov"),
    (imports_earlier_layers, "filters.py", "def f():\n    if x:\n        from .direct import tikhonov"),
    (imports_earlier_layers, "filters.py", "if TYPE_CHECKING:\n    from .direct import Plan"),
    (imports_earlier_layers, "filters.py", "importlib.import_module('lsdeblur.direct')"),
    (imports_earlier_layers, "iterative/wavelet.py", "from ..blind import refine"),
    (imports_earlier_layers, "iterative/wavelet.py", "from ..blind.refine import alternating"),
    (imports_earlier_layers, "deep/plug_and_play.py", "from .._restore import restore"),
    (imports_earlier_layers, "_restore.py", "from .deep import PlugAndPlay"),
    (imports_earlier_layers, "_version.py", "from . import errors"),
    (leaves_libraries_to_their_owner, "spectrum.py", "import scipy.fft"),
    (leaves_libraries_to_their_owner, "spectrum.py", "from scipy import fft, linalg"),
    (leaves_libraries_to_their_owner, "spectrum.py", "from numpy.fft import rfftn"),
    (leaves_libraries_to_their_owner, "spectrum.py", "import numpy as np\ndef f(x):\n    return np.fft.rfftn(x)"),
    (leaves_libraries_to_their_owner, "spectrum.py", "import scipy\nscipy.fftpack.fft(x)"),
    (leaves_libraries_to_their_owner, "spectrum.py", "def f():\n    import pyfftw.interfaces as p"),
    (leaves_libraries_to_their_owner, "spectrum.py", "from mkl_fft import rfftn"),
    (leaves_libraries_to_their_owner, "filters.py", "from numba import njit"),
    (leaves_libraries_to_their_owner, "tiling.py", "import dask.array as da"),
    (leaves_libraries_to_their_owner, "tiling.py", "def f():\n    from distributed import Client"),
    (leaves_libraries_to_their_owner, "_validate.py", "if TYPE_CHECKING:\n    import torch"),
    (leaves_libraries_to_their_owner, "report.py", "from matplotlib import pyplot as plt"),
    (imports_heavy_libraries_in_functions, "io.py", "import cv2"),
    (imports_heavy_libraries_in_functions, "noise.py", "from skimage.restoration import estimate_sigma"),
    (imports_heavy_libraries_in_functions, "noise.py", "try:\n    import pywt\nexcept ImportError:\n    pywt = None"),
    (imports_heavy_libraries_in_functions, "selection.py", "from scipy import optimize"),
    (imports_heavy_libraries_in_functions, "selection.py", "class A:\n    from scipy.optimize import brentq"),
    (is_a_short_file, "psf.py", "x = 1\n" * (MAX_FILE + 1)),
    (has_short_functions, "psf.py", "def f():\n" + LONG_BODY),
    (has_short_functions, "psf.py", "class A:\n  def f(self):\n    'One line.'\n" + LONG_BODY),
    (does_not_print, "psf.py", "def f():\n    print(1)"),
    (does_not_print, "psf.py", "log = print"),
    (documents_what_is_public, "psf.py", ""),
    (documents_what_is_public, "psf.py", "'Doc.'\n__all__ = ['f']\ndef f(): pass"),
    (documents_what_is_public, "psf.py", "'Doc.'\n__all__: list[str] = ['A']\nclass A: pass"),
    (documents_what_is_public, "psf.py", "'Doc.'\n__all__ = ['f', *names]\ndef f(): pass"),
    (documents_what_is_public, "psf.py", "'Doc.'\ndef f(): pass"),
]

ALLOWED: list[tuple[Rule, str, str]] = [
    (has_a_layer, "iterative/wavelet.py", ""),
    (has_a_layer, "deep/plug_and_play.py", ""),
    (imports_earlier_layers, "__init__.py", "from ._restore import restore\nfrom . import deep"),
    (imports_earlier_layers, "direct.py", "from . import _fft, _version, filters\nfrom lsdeblur.errors import X"),
    (imports_earlier_layers, "iterative/wavelet.py", "from . import total_variation\nfrom ..direct import Plan"),
    (imports_earlier_layers, "deep/plug_and_play.py", "from ..blind import refine\nfrom .denoiser import Denoiser"),
    (imports_earlier_layers, "_methods.py", "METHODS = {'pnp': 'lsdeblur.deep:plug_and_play'}\nimport_module(name)"),
    (imports_earlier_layers, "errors.py", "import lsdeblur_other\nfrom numpy import direct"),
    (leaves_libraries_to_their_owner, "_fft.py", "import numpy as np, scipy.fft, pyfftw\nnp.fft.rfft(x)"),
    (leaves_libraries_to_their_owner, "spectrum.py", "from . import _fft\nfft = x\n_fft.rfftn(fft.real)"),
    (leaves_libraries_to_their_owner, "deep/__init__.py", "import torch.nn as nn\nnn.Module()"),
    (leaves_libraries_to_their_owner, "_validate.py", "torch = sys.modules.get('torch')\ntorch.Tensor"),
    (imports_heavy_libraries_in_functions, "io.py", "def f():\n    import cv2"),
    (imports_heavy_libraries_in_functions, "io.py", "class A:\n    async def f(self):\n        import skimage"),
    (imports_heavy_libraries_in_functions, "io.py", "if TYPE_CHECKING:\n    import skimage"),
    (is_a_short_file, "psf.py", "x = 1\n" * MAX_FILE),
    (has_short_functions, "psf.py", "def f():\n" + LONG_DOCSTRING + "    return 1"),
    (has_short_functions, "psf.py", "def f():\n" + LONG_DOCSTRING),
    (does_not_print, "cli.py", "print(1)"),
    (does_not_print, "psf.py", "'Doc.'\ndef f():\n    '>>> print(1)'"),
    (documents_what_is_public, "psf.py", "'Doc.'\n__all__ = ['f']\ndef f():\n    'Doc.'\ndef g(): pass"),
    (documents_what_is_public, "psf.py", "'Doc.'\ndef _f(): pass"),
]


@pytest.mark.parametrize(("rule", "path", "source"), BITES)
def test_rule_bites(rule: Rule, path: str, source: str) -> None:
    assert list(rule(Module(path, source)))


@pytest.mark.parametrize(("rule", "path", "source"), ALLOWED)
def test_rule_allows(rule: Rule, path: str, source: str) -> None:
    assert not list(rule(Module(path, source)))


def test_rules_see_every_file_and_all_bite() -> None:
    assert "errors.py" in {str(module.path) for module in modules()}
    assert {rule for rule, _, _ in BITES} == {rule for rule, _, _ in ALLOWED} == set(RULES)


# Notes every module that is looked for, so that it finds an import even of a library that is not installed.
PROBE = """
import sys
class Recorder:
    sought = []
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        cls.sought.append(name)
sys.meta_path.insert(0, Recorder)
{statement}
print(*Recorder.sought)
"""


def heavy_libraries_sought(statement: str) -> set[str]:
    """Those of NOT_ON_IMPORT that a fresh interpreter tries to load to execute `statement`."""
    command = [sys.executable, "-c", PROBE.format(statement=statement)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    sought = run.stdout.split()
    assert sought, "nothing was imported"
    return {library for library in NOT_ON_IMPORT if any(is_within(name, library) for name in sought)}


def test_importing_the_package_loads_no_heavy_library() -> None:
    assert heavy_libraries_sought("import lsdeblur") == set()


def test_the_probe_finds_installed_and_missing_libraries() -> None:
    statement = "import scipy.optimize, contextlib\nwith contextlib.suppress(ImportError): import torch.nn"
    assert heavy_libraries_sought(statement) == {"scipy.optimize", "torch"}
