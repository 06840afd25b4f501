from itertools import count, islice

from ezflow import Pool


def area(width, height, *, scale=1):
    return width * height * scale


with Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
    print(pool.star().map(area, [(2, 3), [4, 5]], scale=10))
    print(pool.map.star().results()(area, [(2, 3), ("no", None)]))
    print(pool.map.timeout(30).background()(abs, [-3]).result())
    print(list(islice(pool.imap(abs, count(-2)), 4)))
