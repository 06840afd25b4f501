from ezflow import ProcessPoolExecutor, current_call


def download(page):
    if current_call().attempt < 3:
        raise ConnectionError(f"page {page}: try again")
    return f"page {page}"


with ProcessPoolExecutor(2) as pool:
    again = pool.map.retry(3, on=ConnectionError, delay=0.1, backoff=2)
    print(list(again(download, range(2))))

    result = pool.submit.retry(1).results()(download, 7).result()
    print(result.attempts, repr(result.err))
