"""The recipe for videos works with ffmpeg itself, where that is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.dealt,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed"),
]

EXAMPLE = Path(__file__).parents[2] / "examples" / "video_frames.py"
LIMIT = 100


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*map(str, command)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
    )


def make(path: Path) -> None:
    """Make a video of two seconds with another size and another rate than the recipe's."""
    video = "testsrc=duration=2:size=300x640:rate=10"
    made = run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", video, "-pix_fmt", "yuv420p", path)
    assert made.returncode == 0, made.stderr


def test_a_video_comes_out_as_long_as_it_went_in_and_brighter(tmp_path: Path) -> None:
    make(tmp_path / "in.mp4")

    done = run(sys.executable, "-W", "error", EXAMPLE, tmp_path / "in.mp4", tmp_path / "out.mp4")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    raw = ("-f", "rawvideo", "-pix_fmt", "gray", "-")
    with subprocess.Popen(
        ["ffmpeg", "-v", "error", "-nostdin", "-i", tmp_path / "out.mp4", *raw], stdout=subprocess.PIPE
    ) as process:
        pixels = process.communicate(timeout=LIMIT)[0]
    assert len(pixels) == 2 * 25 * 180 * 320
    assert min(pixels) > 100


@pytest.mark.parametrize(("source", "sink"), [("none.mp4", "out.mp4"), ("in.mp4", "no/folder/out.mp4")])
def test_a_video_that_is_not_there_or_cannot_be_written_is_an_error(
    tmp_path: Path, source: str, sink: str
) -> None:
    make(tmp_path / "in.mp4")

    done = run(sys.executable, EXAMPLE, tmp_path / source, tmp_path / sink)

    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
