"""Compile the native engine to WebAssembly for the page in the browser. `make web` runs this.

python scripts/wasm.py web/wasm

The compiler is Clang with a C++ library for WebAssembly, as the package 'ziglang' brings them. Where it is missing, nothing is
compiled, and the page is built without this engine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "native" / "src"
NOT_HERE = ("binding.cpp", "run_graph.cpp", "mapped_file.cpp", "workers.cpp")  # Python, files, threads
KERNELS = ("kernels/choose.cpp", "kernels/wasm.cpp", "kernels/wasm_relaxed.cpp", "kernels/wasm_dot.cpp")

COMPILE = (
    "-target", "wasm32-wasi", "-std=c++20", "-O3", "-DNDEBUG", "-msimd128", "-Wall", "-Wextra", "-ffp-contract=off",
    "-fignore-exceptions", "-fno-threadsafe-statics", "-mllvm", "-disable-lsr", "-DMOBILENETS_ONE_THREAD", "-DMOBILENETS_WASM",
)  # fmt: skip
RELAXED = ("-mrelaxed-simd", "-DMOBILENETS_WASM_RELAXED")
LINK = (
    "-target",
    "wasm32-wasi",
    "-mexec-model=reactor",
    "-O3",
    "-s",
    "-Wl,-z,stack-size=1048576",
    "-Wl,--max-memory=2147483648",
)

# fmt: off
MODULES = {  # file: further flags, and the kernels in it
    "engine.wasm":         ((),      KERNELS[:2]),
    "engine_relaxed.wasm": (RELAXED, KERNELS),
}
# fmt: on


def main() -> int:
    """Compile both modules; 0, also where there is no compiler, or the compiler's code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the .wasm files go")
    folder = parser.parse_args().folder
    for file in MODULES:
        (folder / file).unlink(missing_ok=True)
    if importlib.util.find_spec("ziglang") is None:
        print(
            "note: 'ziglang' is not installed (pip install ziglang): the page is built without our own engine", file=sys.stderr
        )
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mobilenets-wasm-") as scratch:
        try:
            build(Path(scratch), folder)
        except subprocess.CalledProcessError as error:
            print(f"error: the native engine was not compiled to WebAssembly:\n{error.stderr}", file=sys.stderr)
            return error.returncode
    return 0


def build(scratch: Path, folder: Path) -> None:
    """Compile what both modules share once, the kernels for each, and link."""
    shared = [
        file.relative_to(SOURCE).as_posix()
        for file in sorted((*SOURCE.glob("*.cpp"), *SOURCE.glob("steps/*.cpp"), *SOURCE.glob("wasm/*.cpp")))
        if file.name not in NOT_HERE
    ]
    jobs: dict[str, tuple[str, tuple[str, ...]]] = {source: (source, ()) for source in shared}
    for module, (flags, kernels) in MODULES.items():
        jobs |= {f"{module}/{source}": (source, flags) for source in kernels}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = dict(zip(jobs, pool.map(lambda job: compiled(scratch, *job), jobs.items()), strict=True))
    for module, (_, kernels) in MODULES.items():
        parts = [objects[source] for source in shared] + [objects[f"{module}/{source}"] for source in kernels]
        run(*LINK, *map(str, parts), "-o", str(folder / module))


def compiled(scratch: Path, name: str, job: tuple[str, tuple[str, ...]]) -> Path:
    """The object file of one source."""
    source, flags = job
    made = scratch / (name.replace("/", "-") + ".o")
    run(*COMPILE, *flags, "-c", str(SOURCE / source), "-o", str(made))
    return made


def run(*arguments: str) -> None:
    """Run the compiler; what it says is kept for the error."""
    done = subprocess.run([sys.executable, "-m", "ziglang", "c++", *arguments], capture_output=True, text=True, check=True)
    sys.stderr.write(done.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
