"""A control API in a thread of its own, for clients that know nothing of event loops."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager


@contextmanager
def in_a_thread(running_api, **options):
    """The address of an API that answers as long as the context lasts."""
    loop, ready, address = asyncio.new_event_loop(), threading.Event(), []
    done = asyncio.Event()

    async def serve():
        async with running_api(**options) as api:
            address.append(str(api.session._base_url).rstrip("/"))
            ready.set()
            await done.wait()

    def run():
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(serve())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
