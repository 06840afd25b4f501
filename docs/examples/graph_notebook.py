from ezflow import EZ, ProcessPoolExecutor, each, task


def days(month):
    return [f"{month}-{day:02}" for day in range(1, 5)]


def read(day):
    number = int(day[-2:])
    return [number, 2 * number, 60 if day.endswith("03") else 3 * number]  # 60 is a fault of the sensor


def clean(readings):
    return [value for value in readings if value < 50]


def flat(days_of_readings):
    return [value for readings in days_of_readings for value in readings]


def mean(values):
    return sum(values) / len(values)


def spread(values):
    return max(values) - min(values)


def report(mean, spread):
    return f"mean {mean:.2f}, spread {spread}"


month = EZ(
    days,
    each([task(read).retry(2, on=OSError), clean]),
    flat,
    {mean, spread},
    report,
)
print(month)
print(month.picture())

with ProcessPoolExecutor(2) as pool:
    print(month.on(pool)("2024-05"))

    run = month.on(pool).submit("2024-06")
    print(run.result())
    print(run["spread"].result(), run["flat"].result())
    print(run.picture())
