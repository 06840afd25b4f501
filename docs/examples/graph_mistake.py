from ezflow import EZ, GraphError, Zip


def load(path):
    return [1.0, 2.0, 6.0]


def mean(table):
    return sum(table) / len(table)


def std(table):
    return max(table) - min(table)


def report(mean, std):
    return f"mean {mean:g}, std {std:g}"


try:
    EZ(load, (mean, std), report).on("inline")("data.csv")
except TypeError as error:
    print(error)

print(EZ(load, {mean, std}, report).on("inline")("data.csv"))
print(EZ(load, Zip(mean, std), report).on("inline")("data.csv"))

for wrong in (
    lambda: EZ(load, {mean, std}, lambda mean: mean),
    lambda: EZ(load, report),
    lambda: EZ(load, {mean, lambda table: table[0]}, report),
    lambda: EZ(load, mean([1.0, 5.0])),
):
    try:
        wrong()
    except GraphError as error:
        print("-", error)
