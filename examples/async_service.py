"""Serve requests from asyncio; a request that takes too long is stopped, and its worker is free again.

python examples/async_service.py
"""

from __future__ import annotations

import asyncio
import time

from ezflow import ProcessPoolExecutor

LIMIT = 5.0  # seconds a client waits; generous, so that a slow machine also answers the quick requests


def factors(number: int) -> list[int]:
    """Find the prime factors by trial division; the time grows with the square root of the largest."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


async def handle(pool: ProcessPoolExecutor, number: int) -> str:
    """Answer one request, or say that it took too long."""
    try:
        async with asyncio.timeout(LIMIT):
            return f"{number} = {' x '.join(map(str, await pool.submit(factors, number)))}"
    except TimeoutError:
        return f"{number}: stopped"


async def main() -> None:
    """Send a request that would take hours among quick ones, then more on the same two workers."""
    with ProcessPoolExecutor(2) as pool:
        started = time.monotonic()
        requests = [360, 2**127 - 1, 1_000_003 * 17, 99]
        for answer in await asyncio.gather(*(handle(pool, number) for number in requests)):
            print(answer)
        print(await handle(pool, 1001))
        print("all answered in time" if time.monotonic() - started < 3 * LIMIT else "too slow")


asyncio.run(main())
