"""queue_rival.py URL TASKS SUBMITTERS ALONE: the queue of procrastinate on a PostgreSQL database: so many tasks of so many
submitters are put and done, then some one after the other; prints how many in a second, one JSON object."""

import asyncio
import json
import sys
import time

import procrastinate

URL, TASKS, SUBMITTERS, ALONE = sys.argv[1], *map(int, sys.argv[2:5])
WORKERS = 64


async def main():
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL, max_size=32))
    done = asyncio.Queue()

    @app.task(name="bench")
    async def bench(text):
        done.put_nowait(None)

    async def put(count):
        for _ in range(count):
            await bench.defer_async(text="x" * 128)

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        # Its default waits up to 5 s where it misses that a job came.
        options = {"concurrency": WORKERS, "fetch_job_polling_interval": 0.01, "install_signal_handlers": False}
        worker = asyncio.create_task(app.run_worker_async(**options))
        await put(1)
        await done.get()

        began = time.monotonic()
        putting = asyncio.gather(*(put(TASKS // SUBMITTERS) for _ in range(SUBMITTERS)))
        for _ in range(TASKS // SUBMITTERS * SUBMITTERS):
            await done.get()
        await putting
        while await left(app) > 0:
            await asyncio.sleep(0.01)
        many = TASKS / (time.monotonic() - began)

        began = time.monotonic()
        for _ in range(ALONE):
            await put(1)
            await done.get()
        alone = ALONE / (time.monotonic() - began)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    print(json.dumps({"many": many, "alone": alone}))


async def left(app):
    row = await app.connector.execute_query_one_async(
        "SELECT COUNT(*) AS left FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
    )
    return row["left"]


asyncio.run(main())
