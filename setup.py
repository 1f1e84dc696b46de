"""Build of the one compiled module, ``rewire._core``; all else is in pyproject.toml.

Environment variables, none of them needed:

``REWIRE_OPENMP``
    ``auto`` (default) uses OpenMP where a program with it compiles and links,
    ``0`` never, ``1`` insists: without OpenMP the build fails.
``REWIRE_CFLAGS``
    Compiler flags put after ours, split as a shell would.
``REWIRE_ASAN``
    ``1`` builds under the address and undefined-behaviour sanitizers, with the allocator of the C tests:
    it fails on demand.
"""

import os
import shlex
import sys
import tempfile
from functools import partial
from glob import glob
from multiprocessing.pool import ThreadPool
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError, PlatformError
from setuptools.modified import newer_group

CORE = "sparse_core"

# -ffp-contract=off: every fused multiply-add is one that a kernel wrote down, so
# that the scalar kernels mean the same on every machine. Instruction sets beyond
# the baseline are chosen per function and at run time, never by a flag here.
GCC = [
    "-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden",
    "-Wall", "-Werror=incompatible-pointer-types", "-Werror=implicit-function-declaration",
]  # fmt: skip
MSVC = ["/std:c11", "/O2", "/fp:precise", "/W3"]
# The binding checks arguments and calls the core. It has no loop that -O3 would make faster, and its
# generated C would take the compiler twice as long.
BINDING_LEVEL = "-O1"
SANITIZERS = [
    "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-DRW_TEST", "-fvisibility=default",
]  # fmt: skip

OPENMP_PROGRAM = """
#include <omp.h>
int main(void)
{
    int n = 0;
    #pragma omp parallel for
    for (int i = 0; i < 4; i++) {
        int before;
        #pragma omp atomic capture
        before = n++;
        if (before < 0 || omp_get_num_threads() < 1) n = 9;
    }
    return n != 4;
}
"""


def openmp_flags(compiler_type):
    """Flags (to compile, to link) that ask this platform's compiler for OpenMP."""
    if compiler_type == "msvc":
        return ["/openmp:llvm"], []
    if sys.platform == "darwin":
        return ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
    return ["-fopenmp"], ["-fopenmp"]


def can_build(compiler, source, cflags, ldflags):
    """Does `source` compile and link with the compiler and flags the module gets?"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "probe.c")
        path.write_text(source)
        try:
            objects = compiler.compile([str(path)], output_dir=folder, extra_postargs=cflags)
            compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=ldflags)
        except (CompileError, LinkError):
            return False
    return True


class BuildExt(build_ext):
    """Flags are chosen here, because only here the compiler is known."""

    def build_extensions(self):
        msvc = self.compiler.compiler_type == "msvc"
        cflags = list(MSVC if msvc else GCC)
        ldflags = ["-Wl,-s"] if sys.platform.startswith("linux") else []
        if os.environ.get("REWIRE_ASAN", "0") == "1":
            cflags += SANITIZERS
            ldflags = ["-fsanitize=address,undefined"]
        extra = shlex.split(os.environ.get("REWIRE_CFLAGS", ""))

        wish = os.environ.get("REWIRE_OPENMP", "auto")
        if wish not in ("auto", "0", "1"):
            raise PlatformError(f"REWIRE_OPENMP must be auto, 0 or 1, got {wish!r}")
        if wish != "0":
            omp_cflags, omp_ldflags = openmp_flags(self.compiler.compiler_type)
            if can_build(self.compiler, OPENMP_PROGRAM, cflags + omp_cflags + extra, ldflags + omp_ldflags):
                cflags += omp_cflags
                ldflags += omp_ldflags
                print("rewire: building with OpenMP")
            elif wish == "1":
                raise PlatformError("REWIRE_OPENMP=1, but OpenMP does not compile and link here")
            else:
                print("rewire: no OpenMP here: everything will work, on one thread")

        for extension in self.extensions:
            # Not for what every command needs: an sdist and a project's metadata take no C.
            extension.sources = cythonize(
                [extension],
                build_dir="build/cython",
                include_path=[f"{CORE}/bind"],
                compiler_directives={"language_level": 3, "embedsignature": True},
            )[0].sources
            extension.extra_compile_args = cflags + extra
            extension.extra_link_args = ldflags
        if not msvc:
            self.compiler.compile = partial(self.compile_side_by_side, self.compiler.compile)

        # Objects that other flags have made, or a build that did not end, are made anew.
        flags, note = f"{cflags} {BINDING_LEVEL} {extra} {ldflags}", Path(self.build_temp, "flags.txt")
        if not note.exists() or note.read_text() != flags:
            self.force = True
            note.unlink(missing_ok=True)
        super().build_extensions()
        note.write_text(flags)

    def compile_side_by_side(self, compile_all, sources, output_dir, **options):
        """As the compiler's own `compile`, on all processors and only what is out of date."""
        headers = glob(f"{CORE}/*/*.h")

        def compile_one(source):
            objects = self.compiler.object_filenames([source], output_dir=output_dir)
            if self.force or newer_group([source, *headers], objects[0]):
                flags = list(options["extra_postargs"])
                if Path(source).stem == "_core":
                    flags[flags.index("-O3")] = BINDING_LEVEL  # the first is ours, REWIRE_CFLAGS follow
                compile_all([source], output_dir=output_dir, **options | {"extra_postargs": flags})
            return objects[0]

        with ThreadPool(os.cpu_count()) as pool:
            return pool.map(compile_one, sources, chunksize=1)


core = Extension(
    "rewire._core",
    sources=[f"{CORE}/bind/_core.pyx", *sorted(glob(f"{CORE}/*/*.c"))],
    include_dirs=[CORE],
    depends=sorted(path for kind in ("h", "pxd", "pxi", "pyx") for path in glob(f"{CORE}/*/*.{kind}")),
)

setup(cmdclass={"build_ext": BuildExt}, ext_modules=[core])
