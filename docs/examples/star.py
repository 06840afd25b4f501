from ezflow import ProcessPoolExecutor


def area(width, height, *, unit="m"):
    return f"{width * height} {unit}²"


with ProcessPoolExecutor(2) as pool:
    print(list(pool.map.star()(area, [(1, 2), [3, 4], {"width": 5, "height": 6}])))
    print(list(pool.map.star()(area, [(1, 2), (3, 4)], unit="km")))
    print(pool.submit.star()(area, (7, 8)).result())
    try:
        print(list(pool.map.star()(area, ["ab"])))
    except TypeError as error:
        print(error)
