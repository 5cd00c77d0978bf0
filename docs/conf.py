"""Sphinx's configuration: `make docs` builds the pages into docs/_build/html."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import matplotlib  # noqa: E402

matplotlib.use("Agg")

import lsdeblur  # noqa: E402
from lsdeblur._methods import named  # noqa: E402

project = "lsdeblur"
author = copyright = "the lsdeblur developers"
version = release = lsdeblur.__version__

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/README.rst", "gallery/*.py", "**/GALLERY_HEADER.rst"]
suppress_warnings = ["config.cache", "myst.xref_missing"]  # README and benchmarks link files of the repository
templates_path = ["_templates"]

# Code in docstrings: what can be linked is linked, what cannot is set as code.
default_role = "autolink"
nitpick_ignore_regex = [("py:obj", r".*"), ("py:class", r"Module")]  # ... but roles written out must have a target
autodoc_typehints = "none"
autosummary_context = {"top_level": lsdeblur.__all__}  # classes that have their page there
autosummary_imported_members = True
autosummary_ignore_module_all = False
numpydoc_show_class_members = False

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

doctest_global_setup = "import matplotlib; matplotlib.use('Agg')"
doctest_test_doctest_blocks = "default"
trim_doctest_flags = True

plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = True
plot_formats = [("png", 110)]
plot_rcparams = {"savefig.bbox": "tight"}


def place_in_readme(name: str) -> int:
    """Sorts the gallery as the README's table of questions."""
    return (HERE.parent / "README.md").read_text(encoding="utf-8").index(f"examples/{name}")


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "within_subsection_order": place_in_readme,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "reset_argv": lambda _gallery, _variables: [str(HERE / "_build" / "figures")],
    "abort_on_example_error": True,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["lsdeblur.css"]
html_title = f"lsdeblur {release}"
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "tutorial", "zh/tutorial")}  # these have no pages beside them
html_theme_options = {
    "logo": {"text": "lsdeblur"},
    "header_links_before_dropdown": 7,
    "navbar_end": ["theme-switcher"],
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def modules_page() -> str:
    """The API by modules: the public ones, and those in which the methods of METHODS live."""
    public = {f"lsdeblur.{name}" for name in lsdeblur.__all__ if inspect.ismodule(getattr(lsdeblur, name))}
    methods = {line.partition(":")[0] for line in lsdeblur.METHODS.values()} - public
    more = {"lsdeblur.blind.gradient_prior", "lsdeblur.blind.parametric", "lsdeblur.blind.refine"}
    more |= {"lsdeblur.blind.diagnosis", "lsdeblur.deep.functional", "lsdeblur.deep.networks", "lsdeblur.deep.train"}
    names = sorted(n for n in lsdeblur.__all__ if callable(getattr(lsdeblur, n)))

    def block(title: str, items: list[str]) -> str:
        lines = "\n".join(f"   {item}" for item in items)
        return f"{title}\n{'-' * len(title)}\n\n.. autosummary::\n   :toctree: api\n\n{lines}\n"

    return "\n".join(
        [
            "API\n===\n\nEverything public, from the docstrings.\n",
            block("Functions and classes", [f"lsdeblur.{n}" for n in names]),
            block("Modules", sorted(public)),
            block("Modules of methods", sorted(methods | more)),
        ]
    )


def methods_page() -> str:
    """The table of METHODS and the options of each, read from the signatures."""
    text = [
        "Methods and their options\n=========================\n",
        "``restore(image, psf, method=NAME, **options)``. Read from the signatures when these pages were built.\n",
    ]
    for name, line in lsdeblur.METHODS.items():
        function = named(line)
        first = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        options = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        shown = ", ".join(f"``{re.sub(r' at 0x[0-9a-f]+', '', str(p.replace(annotation=p.empty)))}``" for p in options)
        title = f'"{name}"'
        rest = f"\n\nOptions: {shown}." if shown else ""
        text.append(f"{title}\n{'-' * len(title)}\n\n{first} See :func:`{line.replace(':', '.')}`.{rest}\n")
    return "\n".join(text)


def write_generated(_app: object) -> None:
    """Pages that are made of the package itself; written only where they change, so that builds stay incremental."""
    for name, text in {"api.rst": modules_page(), "methods.rst": methods_page()}.items():
        path = HERE / "reference" / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def escape_shapes(_app: object, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Shapes such as (channels, *spatial) and norms such as |H| are no markup: outside of code they are escaped."""
    for i, line in enumerate(lines):
        parts = re.split(r"(``.*?``|`[^`]*`)", line)
        parts[::2] = [re.sub(r"(?<=[(, ])\*(?=[a-z_])|\|(?=\S)", r"\\\g<0>", part) for part in parts[::2]]
        lines[i] = "".join(parts)


def setup(app: Any) -> None:
    """Sphinx calls this first."""
    app.connect("autodoc-process-docstring", escape_shapes, priority=900)
    (HERE / "_build" / "figures").mkdir(parents=True, exist_ok=True)
    write_generated(app)
