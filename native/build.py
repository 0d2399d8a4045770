"""Builds lamina.core._native by cffi in API mode: every cdef/*.h is declared, every *.c beside this file is compiled.

The declarations are real files, so that a reader finds the contract of each C function where a C header would hold it. A constant or
a structure written there with `...` is filled in by the compiler.
"""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Declared first: the others name their types (`lm_error`, `lm_thread`, `lm_frame`).
FIRST = ("error.h", "tracee.h", "pageframe.h")
CDEFS = sorted((HERE / "cdef").glob("*.h"), key=lambda p: (p.name not in FIRST, p.name))
SOURCES = sorted([*HERE.glob("*.c"), *(HERE / "arch").glob("*.c")])

ffibuilder = FFI()
for cdef in CDEFS:
    ffibuilder.cdef(cdef.read_text())
ffibuilder.set_source(
    "lamina.core._native",
    "\n".join(f'#include "{cdef.name}"' for cdef in CDEFS),
    # Relative to the project's root: setuptools wants relative sources, and no path of this machine enters the binary.
    sources=[str(source.relative_to(ROOT)) for source in SOURCES],
    include_dirs=["native"],
    extra_compile_args=["-std=gnu11", "-O2", "-D_GNU_SOURCE"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
