import os

from ezflow import ProcessPoolExecutor

settings = {}


def prepare(language):
    settings["language"] = language  # once in every worker, before its first call


def work(number):
    return number, settings["language"], os.getpid()


with ProcessPoolExecutor(2, initializer=prepare, initargs=("en",), max_tasks_per_child=5) as pool:
    rows = list(pool.map(work, range(20)))

print(len(rows), {language for _, language, _ in rows})
pids = [pid for _, _, pid in rows]
print("no worker ran more than 5:", max(map(pids.count, pids)) <= 5)
