from ezflow import ProcessPoolExecutor, current_call, task


@task
def plain(number):
    return number + 1


def download(page):
    if current_call().attempt == 1:
        raise ConnectionError
    return f"{current_call().name} {page}"


patient = task(download).retry(3, on=ConnectionError).timeout(60).named("download")

print(plain.fn(1), plain.on("inline")(1))  # the function itself, and the graph of one stage in this thread

with ProcessPoolExecutor(2) as pool:
    print(pool.submit(plain, 2).result())
    print(pool.submit(patient, 1).result())  # submitted, it brings its options along
    print(list(pool.map(patient, [2, 3])))
    print(list(pool.map.named("page")(patient, [4])))  # the method's options win
