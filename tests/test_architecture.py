"""The house keeps its shape: who may know whom, and what may stand where.

The C order is that of the folders and tables in ``sparse_core/README.md``; the Python order is
``ORDER`` below. Each file may use only what comes before it.
"""

import ast
import fnmatch
import functools
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "sparse_core"
PACKAGE = ROOT / "python" / "rewire"

# The Python modules in reading order, "package." standing for its __init__.
ORDER = """
    _collector _version _core _openmp errors _warn _format _record _checks _foreign _geometry _precision
    _registry
    _params _resources _elsewhere _gate _signals _fileio _blocks _bins _container _saving threads
    _moments _inputs
    _mapped _targets _class_weight _digest streams.pieces streams.sliced streams.iterated streams.parquet
    streams.parts streams.joined streams.kinds
    streams.joining streams.ahead streams.windows streams.stream streams.
    standardizer workspace _positions _links _view _no_array _products _items
    _edit_plan _edits _built _streaming _pickling store _merging _structure activations initializers
    link_counts connectivity
    parameters.axes parameters.field parameters.units parameters.buffer parameters.base
    parameters.dense
    parameters.initial parameters.sparse parameters.counting parameters. _clipping
    layers.passing layers.affine layers.dependence layers.showing layers.base reachability
    layers.elementwise layers.mixing layers.arrays
    layers.weighted layers.sparse layers.dense layers.dropout layers.two_sided layers.srelu layers.norm
    layers.k_winners layers.mix layers.switches layers.free_energy
    layers.composite layers.row layers.residual layers.concat layers.switch_net layers.tree
    layers.summary layers.
    metrics _unfinished losses.base losses.entropy losses.values losses.hinge losses.arrays
    losses.contrast losses. _checked
    schedules optim _assembled _computing predictor network files _narrowed neurons
    rewiring.schedule rewiring.fraction rewiring.probe rewiring.budgets rewiring.chains
    rewiring.participation rewiring.memory rewiring.answers rewiring.context
    rewiring.drop rewiring.grow rewiring.redistribute rewiring.base rewiring.swap
    rewiring.static rewiring.set rewiring.magnitude rewiring.rigl rewiring.dsr rewiring.snfs
    rewiring.gmp rewiring.granet rewiring.mest rewiring.deepr rewiring.soft_deepr rewiring.top_kast
    rewiring.cht rewiring.chts rewiring.gse rewiring.itop rewiring.srigl rewiring.snip rewiring.importance
    rewiring.custom rewiring.
    analysis.links analysis.measures analysis.powerlaw analysis.distance analysis.graph analysis.switches
    analysis.
    history training_state _training
    callbacks.base callbacks.watched callbacks.checkpoint callbacks.early_stopping
    callbacks.link_log callbacks.map_log callbacks.weight_average callbacks.
    _diverging _packing _shards _strategies _alone _shard_reader _sharded _parted _together
    workers. workers.comm workers.pipes workers.shared workers.processes workers.mpi
    workers.gloo workers.world workers.serving workers.child workers.team workers.starting workers.launched
    progress workers.joining
    _density _carried _ready _run _snapshot _stepper _fit _wasap _wassp _own_stepper
    _evaluating _memory _holding _own_steps _own_loop _keeping trainer units presets
    datasets._mapping datasets._words datasets._tables datasets._dataset datasets._parts datasets.* datasets.
    plots._style plots._curves plots._comparison plots._inputs plots._structure plots. info
    boltzmann
    recipe comparison.task comparison.contender comparison.sizing comparison.run comparison.child
    comparison.pool comparison.record comparison.result comparison._compare comparison.
    estimators._parameters estimators._naming estimators._auto estimators._split estimators._arguments
    estimators._units estimators._network estimators._parts estimators._fitted estimators._base
    estimators.classifier estimators.regressor estimators.autoencoder estimators.quick_selection
    estimators.rbm estimators.
    torch._kernels torch._structures torch._ops torch._resizing torch._strangers torch._norms torch._steps
    torch._chain torch._images torch.linear torch.conv torch._conv1d torch.mlp torch.branches torch.tiled
    torch._models torch._inherited torch._sparsify torch._optimizers torch._twins torch._ranks torch._averages
    torch.wiring torch._probes torch._rules torch.rewirer torch.module torch._densify torch.
    demo . cli.* cli. __main__
""".split()

# Words that this house once had for itself, each with the word of its field: see docs/house_style.md.
HOUSE_WORDS = {
    "goes": "drop", "went": "removed", "gone": "removed", "comes": "grow", "came": "grown",
    "newcomer": "new_links", "newcomers": "new_links", "spread": "redistribute", "occasion": "context",
    "occasions": "context", "moment": "progress", "share": "fraction", "shares": "fractions",
    "zeta": "fraction", "places": "positions", "born": "birth_step", "hear": "inputs", "hears": "inputs",
    "heard": "outputs", "listen": "sources", "listens": "sources", "speak": "outputs", "speaks": "outputs",
    "bears": "outputs", "homeless": "unplaced", "rival": "candidate", "rivals": "candidates",
    "asleep": "masked", "awake": "forward", "wake": "unmask", "settle": "rebalance", "desk": "scratch",
    "walk": "noise", "turns": "rewirings",
}  # fmt: skip
HOUSE_FILES = {
    "when": "schedule", "starts": "connectivity", "topology": "link_counts", "machine": "resources",
}  # fmt: skip
STAYING = {
    ("analysis/powerlaw.py", "_zeta"): "the zeta function, which has no other name",
    ("_signals.py", "walk_tb"): "a function of Python's traceback module",
}

OPTIONAL = set(
    "scipy sklearn torch matplotlib tqdm rich threadpoolctl joblib pandas cloudpickle mpi4py h5py "
    "pyarrow".split()
)
# These may import them at the top.
OWNED = {"estimators.": {"sklearn", "scipy"}, "plots": {"matplotlib"}, "torch.": {"torch"}}

core_files = sorted(p for p in CORE.rglob("*") if p.suffix in {".c", ".h", ".pxd", ".pxi", ".pyx"})
python_files = sorted(PACKAGE.rglob("*.py"))


def each(paths):
    """A check of one file, made a test of all of these that says what is wrong in any of them.

    A test a file would be 1,300 tests, which pytest takes longer to run than the checks.
    """

    def made(check):
        def test():
            wrong = []
            for path in paths:
                try:
                    check(path)
                except AssertionError as error:
                    wrong.append(str(error).partition("\n")[0])
            assert not wrong, "\n".join(wrong)

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return made


# --- C ------------------------------------------------------------------------------


def core_name(path):
    """ "store/edit.c": how the core calls its files."""
    return path.relative_to(CORE).as_posix()


def table_rows():
    """File name patterns of each row of the tables, with their folders, in order."""
    rows, folder = [], ""
    for line in (CORE / "README.md").read_text().splitlines():
        if heading := re.match(r"## `(\w+/)`", line):
            folder = heading[1]
        names = []
        for span in re.findall(r"`([^`]+)`", line.split("|")[1]) if line.startswith("| `") else ():
            first, *rest = span.split()  # "store.h .c" and "kernels_avx2.c _avx512.c": the stem goes on
            stems = {".": first.rsplit(".", 1)[0], "_": first.split("_")[0]}
            names += [folder + word for word in (first, *(stems[word[0]] + word for word in rest))]
        if names:
            rows.append(names)
    return rows


def rank(name, rows):
    found = [i for i, row in enumerate(rows) if any(fnmatch.fnmatch(name, pattern) for pattern in row)]
    exact = [i for i in found if name in rows[i]]
    return (exact or found or [None])[0]


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)


def test_every_core_file_has_its_row():
    rows = table_rows()
    assert len(rows) > 10
    missing = [core_name(p) for p in core_files if rank(core_name(p), rows) is None]
    assert not missing, f"not in the table of sparse_core/README.md: {missing}"


def test_core_files_have_names_of_their_own():
    """Objects of all folders lie side by side, and a name says which file is meant."""
    stems = [p.stem for p in core_files if p.suffix == ".c"]
    assert len(set(stems)) == len(stems)


@each(core_files)
def test_includes_point_upward(path):
    rows = table_rows()
    mine = rank(core_name(path), rows)
    if mine is None:
        return  # the test above says so
    for name in re.findall(r'^\s*#?\s*include\s+"([^"]+)"|extern from "([^"]+)"', path.read_text(), re.M):
        name = name[0] or name[1]
        if name == "Python.h" and path.suffix != ".c":
            continue
        name = name if "/" in name else f"{path.parent.name}/{name}"
        theirs = rank(name, rows)
        assert theirs is not None, f"{core_name(path)} includes {name}, which is not in the tables"
        assert theirs <= mine, f"{core_name(path)} includes {name}, which sparse_core/README.md has after it"


@each([p for p in core_files if p.name != "mem.c"])
def test_memory_comes_from_mem(path):
    calls = re.findall(
        r"\b(malloc|calloc|realloc|free|aligned_alloc|posix_memalign|mmap|alloca|strdup)\s*\(",
        without_comments(path.read_text()),
    )
    assert not calls, f"{path.name} calls {sorted(set(calls))}: the allocator of the core is mem.c"


def test_only_par_knows_openmp():
    c_files = [p for p in core_files if p.suffix in {".c", ".h"}]
    signs = re.compile(r"omp\.h|pragma\s+omp|_OPENMP")
    knows = [p.name for p in c_files if signs.search(without_comments(p.read_text()))]
    assert set(knows) <= {"par.h"}


def test_core_never_mentions_python():
    includes = [p.name for p in core_files if p.suffix in {".c", ".h"} and "Python.h" in p.read_text()]
    assert not includes


def test_what_serves_with_and_without_openmp_does_not_reach_it():
    """One object of each of these files is in both variants of the C tests (Makefile)."""
    said = re.search(r"^WITHOUT_OPENMP = ((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.M)[1]
    sources = {path.stem: path for path in (*CORE.glob("*/*.c"), *(ROOT / "tests").glob("*.c"))}
    stems = said.replace("\\\n", " ").split()
    assert {stem for stem in sources if stem.startswith("kernels_")} < {*stems}
    for stem in stems:
        reached, ahead = set(), {sources[stem]}
        while ahead:
            file = ahead.pop()
            reached.add(file)
            names = re.findall(r'^\s*#\s*include\s+"([^"]+)"', file.read_text(), re.M)
            found = {next(p for p in (file.parent / n, CORE / n) if p.exists()).resolve() for n in names}
            ahead |= found - reached
        assert len(reached) > 1
        assert CORE / "base/par.h" not in reached, stem


@pytest.fixture(scope="module")
def as_one_file(tmp_path_factory):
    """The run of the compiler, and the object: all C files in reading order but those of instruction sets."""
    cc = shutil.which("gcc") or shutil.which("cc")
    if not cc:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("core")
    names = [name for row in table_rows() for name in row if name.endswith(".c")]
    names = [name for name in names if not re.match(r"kernels/kernels_\w+\.c", name)]
    assert len(names) > 20
    # mem.c asks for what POSIX lacks, which has to be said before the first header.
    text = "#define _GNU_SOURCE\n" + "".join((CORE / name).read_text() for name in names)
    (folder / "rewire.c").write_text(text)
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    command = [cc, "-std=c11", "-O0", *warnings, f"-I{CORE}", "-c", "rewire.c"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True), folder / "rewire.o"


def test_core_compiles_as_one_file(as_one_file):
    """Names of file scope are unique."""
    done, _ = as_one_file
    assert done.returncode == 0, done.stderr


# Files whose numbers have no better name than their place.
PUBLISHED = {
    "base/hypergeometric.c": "coefficients of Stirling's series",
    "kernels/kernels_exp.h": "coefficients of series",
    "kernels/vec_avx2.h": "which lanes a shuffle moves, bit by bit",
}


@each([p for p in core_files if p.suffix in {".c", ".h"}])
def test_numbers_have_names(path):
    """A number above 64 is tuning, contract or a bound: it has a name, and a reason beside it."""
    if core_name(path) in PUBLISHED:
        return
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', without_comments(path.read_text()))
    text = re.sub(r"\benum\b[^;{]*\{[^}]*\}", "", text)  # its names are what is wanted
    text = re.sub(r"^\s*#\s*define \w+ [^\\\n]*$", "", text, flags=re.M)  # neither macros of several lines
    text = re.sub(r"static const \w+ \w+ = [^;{]*;", "", text)
    text = text.replace(tuning_table(text), "")
    numbers = [int(n, 0) for n in re.findall(r"(?<![\w.])(0[xX][0-9a-fA-F]+|\d+)[uUlL]*(?![\w.])", text)]
    shifted = [int(a) << int(b) for a, b in re.findall(r"(?<![\w.])(\d+)[uUlL]* << (\d+)\b", text)]
    bare = [n for n in numbers + shifted if n > 64]
    assert not bare, f"{core_name(path)} has numbers without a name: {bare}"


def tuning_table(text):
    """The table of measured numbers, whose names are those of its fields."""
    table = re.search(r"#define RW_TUNING_WITH.*?(?=#endif)", text, re.S)
    return table[0] if table else ""


def test_core_has_no_mutable_state(as_one_file, tmp_path):
    """No b, B, d, D or C symbol in the release objects: nothing at file scope can change."""
    nm = shutil.which("nm")
    if not nm:
        pytest.skip("needs nm")
    newest = max(p.stat().st_mtime for p in core_files)

    def compiled(source):
        """The object of a kernel; that of the C tests if it is there, for these take long to compile."""
        obj = ROOT / "build" / "c" / "serial" / f"{source.stem}.o"
        if not (obj.exists() and obj.stat().st_mtime > newest):
            obj = tmp_path / f"{source.stem}.o"
            command = [shutil.which("gcc") or "cc", "-std=c11", "-O0", f"-I{CORE}", "-c", source, "-o", obj]
            subprocess.run(command, check=True)
        return obj

    done, whole = as_one_file
    assert done.returncode == 0, done.stderr
    kernels = sorted((CORE / "kernels").glob("kernels_*.c"))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [whole, *pool.map(compiled, kernels)]
    assert len(objects) == 1 + 5  # as many instruction sets, or none of another processor's in one of them
    command = [nm, "-A", "-f", "sysv", *objects]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [[field.strip() for field in line.split("|")] for line in found.splitlines()]
    # Name, value, class, type, size, line, section. Tables of pointers are constant, but relocated.
    rows = [row for row in rows if len(row) == 7]
    assert len(rows) > 300
    mutable = [row[0] for row in rows if row[2] in tuple("bBdDC") and not row[6].startswith(".data.rel.ro")]
    assert not mutable, f"mutable state at file scope: {mutable}"


# --- Python -------------------------------------------------------------------------


def module_name(path):
    """ "layers.base" for layers/base.py, "layers." for layers/__init__.py."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).replace("__init__", "") or "."


def python_rank(name):
    exact = [i for i, entry in enumerate(ORDER) if entry == name]
    return (exact or [i for i, entry in enumerate(ORDER) if fnmatch.fnmatch(name, entry)] or [None])[0]


@functools.cache
def known_modules():
    return {module_name(p) for p in python_files} | {"_core"}


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text())


@functools.cache
def imports(path):
    """(dotted module, whether it stands at module level) for each import of a file, relative ones resolved.

    At module level is what runs when the file is imported; imports for annotations alone do not.
    """
    package = ["rewire", *path.relative_to(PACKAGE).parts[:-1]]
    found = []

    def visit(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                full = ".".join([*base, *([child.module] if child.module else [])])
                found.extend((f"{full}.{alias.name}", top) for alias in child.names)
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            visit(child, top and not inner and not is_type_checking(child))

    visit(tree_of(path), True)
    return found


@functools.cache
def as_module(dotted):
    """The module of the package that ``import``ing this name needs, or None."""
    known = known_modules()
    parts = dotted.split(".")
    if parts[0] != "rewire":
        return None
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[1:end])
        for candidate in (name, f"{name}." if name else "."):
            if candidate in known:
                return candidate
    return "."


def test_every_module_has_its_place():
    missing = [name for name in known_modules() if python_rank(name) is None]
    assert not missing, f"not in ORDER: {missing}"


@each(python_files)
def test_imports_point_upward(path):
    mine = module_name(path)
    for dotted, _ in imports(path):
        theirs = as_module(dotted)
        if theirs is None or theirs == mine or None in (python_rank(theirs), python_rank(mine)):
            continue  # a module without a place: the test above says so
        assert python_rank(theirs) <= python_rank(mine), f"{mine} imports {theirs}, which comes after it"


def test_no_modules_import_each_other():
    """Not through others either, nor inside functions, nor for annotations."""
    graph = {}
    for path in python_files:
        needed = {as_module(dotted) for dotted, _ in imports(path)}
        graph[module_name(path)] = needed - {None, module_name(path)}
    TopologicalSorter(graph).prepare()  # CycleError names the circle


@each(python_files)
def test_functions_import_optional_packages_alone(path):
    late = {dotted.split(".")[0] for dotted, at_top in imports(path) if not at_top}
    assert late <= OPTIONAL, f"{path.name} imports inside a function: {sorted(late - OPTIONAL)}"
    loads = re.findall(r"import_module\(", path.read_text())
    # The third imports what somebody has typed, the last what few calls of fit need, subprocess and all.
    may = {".", "cli.", "cli._modules", "workers.joining"}
    assert not loads or module_name(path) in may, f"{path.name} hides an import in import_module"


@each(python_files)
def test_optional_packages_are_imported_late(path):
    top = {dotted.split(".")[0] for dotted, at_top in imports(path) if at_top}
    own = set().union(*(names for prefix, names in OWNED.items() if module_name(path).startswith(prefix)))
    early = (top & OPTIONAL) - own
    assert not early, f"{path.name} imports {sorted(early)} at module level"


def identifiers(path):
    """Every name that a file gives or uses, keywords of calls included; in cli/ also its options."""
    for node in ast.walk(tree_of(path)):
        for part in ("id", "attr", "arg", "name", "asname"):
            if isinstance(name := getattr(node, part, None), str):
                yield from name.split(".")
        if isinstance(node, ast.Constant) and path.parent.name == "cli":
            yield from re.findall(r"--[a-z][a-z-]*", str(node.value))


def words_of(identifier):
    """{"of", "two", "words"} of of_two_words, OfTwoWords and --of-two-words."""
    return set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", identifier).lower()))


@each(python_files)
def test_names_are_the_words_of_the_field(path):
    file = path.relative_to(PACKAGE).as_posix()
    stem = path.stem.strip("_")
    assert stem not in HOUSE_FILES | HOUSE_WORDS, f"{file}: call it {(HOUSE_FILES | HOUSE_WORDS)[stem]}"
    names = {name for name in identifiers(path) if (file, name) not in STAYING}
    wrong = {name: HOUSE_WORDS[word] for name in sorted(names) for word in words_of(name) & set(HOUSE_WORDS)}
    assert not wrong, f"{file} has names of another language, each with the field's word: {wrong}"


def test_words_are_found_in_names_of_all_kinds(tmp_path):
    folder = tmp_path / "cli"
    folder.mkdir()
    odd = folder / "odd.py"
    odd.write_text("import a.gone\ndef f(x_share, *, y=1): g(wake=x.MyMoment)\nadd('--new-zeta')")
    found = set().union(*map(words_of, identifiers(odd)))
    assert found & set(HOUSE_WORDS) == {"gone", "share", "wake", "moment", "zeta"}


def test_every_exception_is_still_one():
    for file, name in STAYING:
        assert name in set(identifiers(PACKAGE / file)), f"{file} no longer has {name}: leave it out"


# --- both ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["setup.py", "Makefile", "pyproject.toml"])
def test_flags_keep_arithmetic_portable(name):
    text = (ROOT / name).read_text()
    for flag in ("-ffast-math", "-Ofast", "-march=native", "-mtune=native", "-funsafe-math-optimizations"):
        assert flag not in text


@each(core_files + python_files)
def test_files_are_short(path):
    length = len(path.read_text().splitlines())
    assert length <= 700, f"{path.name} has {length} lines"
