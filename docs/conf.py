"""Sphinx: ``make docs``. Pages are Markdown (MyST); the API pages follow ``rewire.__all__``."""

from pathlib import Path

import rewire

project = "rewire"
author = "The rewire developers"
copyright = "2026, The rewire developers"
version = release = rewire.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"rewire {version}"
html_static_path = []
templates_path = ["_templates"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

rst_epilog = r".. |w| replace:: \|w\|"  # bars in a docstring mean an absolute value, not a substitution

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's Parameters sections say it better
numpydoc_show_class_members = False  # the class template lists them
numpydoc_xref_param_type = False

# Heading of the API index for each module that defines public names.
SECTIONS = {
    "rewire.estimators": "scikit-learn estimators",
    "rewire.network": "Networks",
    "rewire.predictor": "Networks",
    "rewire.layers": "Layers",
    "rewire.activations": "Activations",
    "rewire.initializers": "Initialisers",
    "rewire.losses": "Losses",
    "rewire.optim": "Optimizers",
    "rewire.schedules": "Schedules",
    "rewire.rewiring": "Rewiring",
    "rewire.trainer": "Training",
    "rewire.callbacks": "Training",
    "rewire.history": "Training",
    "rewire.comparison": "Comparing",
    "rewire.store": "The weight store",
    "rewire.link_counts": "The weight store",
    "rewire.datasets": "Data sets",
}
REST = "Everything else"


def write_api_index(path):
    """A section for each kind of public name, so that no name can be forgotten."""
    sections = {title: [] for title in [*SECTIONS.values(), REST]}
    for name in rewire.__all__:
        if name.startswith("__"):
            continue
        module = getattr(getattr(rewire, name), "__module__", "") or ""
        title = next((t for m, t in SECTIONS.items() if module == m or module.startswith(m + ".")), REST)
        sections[title].append(name)
    sections["Data sets"] += [f"datasets.{name}" for name in ("load", "parts", "Dataset")]
    for title, module in (("Analysis", rewire.analysis), ("Pictures", rewire.plots)):
        name = module.__name__.removeprefix("rewire.")
        sections[title] = [f"{name}.{each}" for each in module.__all__]
    lines = ["API", "===", "", "Every public name, as ``import rewire as rw`` gives it.", ""]
    for title, names in sections.items():
        if names:
            lines += [title, "-" * len(title), "", ".. currentmodule:: rewire", ""]
            lines += [".. autosummary::", "   :toctree:", "   :nosignatures:", ""]
            lines += [f"   {name}" for name in sorted(names, key=str.lower)] + [""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def skip_borrowed(app, what, name, obj, skip, options):
    """Leave out what scikit-learn's base classes bring along: its own pages explain it."""
    return skip or name == "get_metadata_routing" or (name.startswith("set_") and name.endswith("_request"))


def setup(app):
    app.connect("autodoc-skip-member", skip_borrowed)


write_api_index(Path(__file__).parent / "api" / "generated" / "index.rst")
