"""Links programs of tests/cpu with the native code as cargo builds it. For the scripts beside it; needs a C++ compiler."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def native_code():
    """Where cargo's release build puts the staged tree and the library."""
    lines = subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--bin", "inferno", "--message-format=json"], cwd=ROOT,
                           check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return Path([message["out_dir"] for message in map(json.loads, lines)
                 if message["reason"] == "build-script-executed" and "static=inferno_llama" in message["linked_libs"]][-1])


def linked(out, source, program, *flags):
    tree = out / "llama.cpp"
    includes = [f"-I{tree / name}" for name in ("include", "ggml/include", "ggml/src", "ggml/src/ggml-cpu")]
    subprocess.run([os.environ.get("CXX", "c++"), "-std=c++17", "-O1", "-w", *includes, *flags, ROOT / "tests/cpu" / source,
                    out / "libinferno_llama.a", "-lm", "-lpthread", "-ldl", "-o", program], check=True)
    return program
