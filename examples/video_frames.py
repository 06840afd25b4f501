"""Frames of a video through a flow: ffmpeg decodes and encodes in processes of its own, arrays stream between.

    python examples/video_frames.py [IN OUT]

Without arguments it makes frames itself and encodes nothing, so that it runs where there is no ffmpeg.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ezflow import Flow, ProcessPoolExecutor

SHAPE = 180, 320, 3  # height, width, colours; what comes in is made to fit
SIZE = f"{SHAPE[1]}x{SHAPE[0]}"
RATE = "25"  # frames per second, in and out, or the video would play faster or slower than before
NBYTES = SHAPE[0] * SHAPE[1] * SHAPE[2]

MAKE = f"import sys; [sys.stdout.buffer.write(bytes([n]) * {NBYTES}) for n in range(25)]"
COUNT = f"import sys; print(len(sys.stdin.buffer.read()) // {NBYTES}, 'frames were written', flush=True)"


def decode(path: str) -> list[str]:
    """Give the command that writes raw frames of a file to its standard output."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", SIZE, "-r", RATE]
    return ["ffmpeg", "-v", "error", "-nostdin", "-i", path, *raw, "-"]


def encode(path: str) -> list[str]:
    """Give the command that makes a file of raw frames from its standard input."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", SIZE, "-r", RATE]
    return ["ffmpeg", "-v", "error", "-y", *raw, "-i", "-", "-pix_fmt", "yuv420p", path]


def frames(command: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames that a command writes; closing this ends the command."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            while len(data := process.stdout.read(NBYTES)) == NBYTES:
                yield np.frombuffer(data, np.uint8).reshape(SHAPE)
        except GeneratorExit:
            process.kill()
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def intensify(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a frame brighter."""
    return 127 + frame // 2


def main(source: Sequence[str], sink: Sequence[str]) -> None:
    """Let frames stream from one command to the other."""
    with (
        ProcessPoolExecutor() as pool,
        Flow(intensify).on(pool).stream(frames(source)) as stream,
        subprocess.Popen(sink, stdin=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None
        for frame in stream:
            process.stdin.write(frame.tobytes())
        process.stdin.close()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, sink)


if len(sys.argv) > 2:
    main(decode(sys.argv[1]), encode(sys.argv[2]))
else:
    main([sys.executable, "-c", MAKE], [sys.executable, "-c", COUNT])
