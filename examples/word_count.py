"""Count words in many files: `map` counts each file in a worker, the parent adds the counts up.

    python examples/word_count.py [FOLDER]

Without FOLDER it counts the keywords in the source of Python's json package.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
from collections import Counter
from pathlib import Path

from ezflow import ProcessPoolExecutor

WORD = re.compile(r"[A-Za-z_]+")


def count_words(path: Path) -> Counter[str]:
    """Count the words of one file."""
    return Counter(WORD.findall(path.read_text(errors="replace")))


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(json.__file__).parent
files = [
    path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix in {".py", ".md", ".txt"}
]
words: Counter[str] = Counter()
with ProcessPoolExecutor() as pool:
    for counts in pool.map(count_words, files, buffersize=100):  # read no further ahead than 100 files
        words += counts

if len(sys.argv) == 1:
    words = Counter({word: count for word, count in words.items() if keyword.iskeyword(word)})
print(f"{len(files)} files, {words.total()} words, {len(words)} different")
for word, count in words.most_common(5):
    print(f"{count:6} {word}")
