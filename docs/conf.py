"""How Sphinx builds the site: `nox -s site` writes it to build/site.

Pages of cells are run as they are built, against the installed package, in the folder of the repository.  What they
printed and drew is kept in .nox/site for as long as the page and all that it ran on are the same.
"""

import os
import platform
import re
import shutil
import sys
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import jupytext
from numpydoc.xref import DEFAULT_LINKS
from sphinx.application import Sphinx

import rnn_backends.testing

ROOT = Path(__file__).parent.parent
KEPT = ROOT / ".nox" / "site"
NOTEBOOKS = KEPT / "notebooks"
"""Pages as notebooks to download."""


def digest(*paths: Path) -> str:
    """Return a digest of what the cells of a page run on: files, packages, Python, processor and environment."""
    variables = sorted(each for each in os.environ.items() if each[0].startswith(("RNN_", "OPENBLAS_", "OMP_")))
    packages = sorted(f"{each.name} {each.version}" for each in distributions())
    found = sha256(repr((sys.version, platform.processor(), platform.machine(), variables, packages)).encode())
    for path in sorted(each for given in paths for each in (given.rglob("*") if given.is_dir() else [given])):
        if path.is_file() and path.suffix != ".pyc":
            content = path.read_bytes()
            found.update(f"{path} {len(content)} ".encode() + content)
    return found.hexdigest()[:16]


def kept_cells(name: str) -> Path:
    """Return the folder of what cells made under one digest; those of others are removed."""
    for folder in KEPT.glob("cells/*"):
        if folder.name != name:
            shutil.rmtree(folder)
    return KEPT / "cells" / name


BASH = '''
def bash(line, cell):
    """Run a cell in bash, and print at once all that it wrote; IPython prints pieces, which would be a line each."""
    import subprocess

    program = 'rnn-backends() { python -m rnn_backends "$@"; }'  # as `pip install` puts it on the path
    done = subprocess.run(["bash", "-c", f"{program}\\n{cell}"], stdout=-1, stderr=-2, text=True)
    print(done.stdout, end="")
    if "--no-raise-error" not in line:
        done.check_returncode()


get_ipython().register_magic_function(bash, "cell")
del bash
'''
"""Run as the kernel of a page begins."""


def prepare_kernel(folder: Path) -> None:
    """Write the configuration of IPython by which cells run in the repository, and warnings are errors."""
    profile = folder / "profile_default"
    profile.joinpath("startup").mkdir(parents=True, exist_ok=True)
    profile.joinpath("startup", "bash.py").write_text(BASH, encoding="utf-8")
    lines = [
        f"import os; os.chdir({str(ROOT)!r})",
        "import warnings; warnings.filterwarnings('error', module='__main__|rnn_backends')",
    ]
    style = {"savefig.bbox": "tight", "figure.dpi": 96, "svg.hashsalt": "site"}
    profile.joinpath("ipython_kernel_config.py").write_text(
        f"c = get_config()\nc.InteractiveShellApp.exec_lines = {lines!r}\n"
        f"c.IPKernelApp.log_level = 40\n"  # its warning of TCP without encryption, within one machine
        f"c.InlineBackend.figure_formats = {{'svg'}}\nc.InlineBackend.rc = {style!r}\n",
        encoding="utf-8",
    )
    os.environ["IPYTHONDIR"] = str(folder)


def write_notebooks(app: Sphinx) -> None:
    """Write the tutorial as a notebook."""
    page = jupytext.read(Path(app.srcdir, "tutorial.md"), fmt="md:myst")
    for cell in page.cells:  # its links are to work from the root of the repository
        cell.source = re.sub(r"\]\((?!https:)", "](docs/", cell.source) if cell.cell_type == "markdown" else cell.source
    jupytext.write(page, NOTEBOOKS / "tutorial.ipynb")


def setup(app: Sphinx) -> dict[str, Any]:
    """Prepare the kernel of the cells, and the notebooks."""
    NOTEBOOKS.mkdir(parents=True, exist_ok=True)
    prepare_kernel(KEPT / "ipython")
    app.connect("builder-inited", write_notebooks)
    return {"parallel_read_safe": True}


project = "rnn_backends"
author = "The rnn_backends developers"
copyright = f"2026, {author}"  # noqa: A001 - the name that Sphinx reads
release = version = rnn_backends.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns = ["_build"]

# References: a name in a docstring is a link wherever it is of this package, and a warning where it seems to be.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r"[a-z_0-9]+(\[.*\])?"),  # arguments and attributes of others
    ("py:.*", r"(np|numpy|cupy|torch|jax|os|io|collections|pathlib|contextlib|contextvars)\..*"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have the types
add_module_names = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # but the classes of this package, wherever a type or an error is named
numpydoc_xref_aliases = {
    name: f"{module.__name__}.{name}"
    for module in (rnn_backends.testing, rnn_backends)
    for name in module.__all__
    if name[0].isupper()
}
DEFAULT_LINKS.clear()  # to pages of Python and NumPy, which are elsewhere
highlight_language = "text"  # of a block that names none
smartquotes = False  # "steps" is to be copied as it stands
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

# Pages of cells.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
RUN_ON = (Path(rnn_backends.__file__).parent, ROOT / "examples", ROOT / "pyproject.toml", Path(__file__))
nb_execution_cache_path = str(kept_cells(digest(*RUN_ON)))
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_output_stderr = "error"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"

# The theme.
html_theme = "furo"
html_title = f"rnn_backends {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_extra_path = [str(NOTEBOOKS)]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5cad", "color-brand-content": "#0b5cad"},
    "dark_css_variables": {"color-brand-primary": "#7ab8ff", "color-brand-content": "#7ab8ff"},
}
