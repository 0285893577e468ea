"""aiohttp's client under load: nothing of what it does is taken for a failure of the program."""

from __future__ import annotations

import pytest
from support.load import AIOHTTP, ON_PURPOSE
from support.programs import LOOPS

AIOHTTPS_CLIENT = """
import aiohttp
from aiohttp.abc import AbstractResolver

class Nowhere(AbstractResolver):
    async def resolve(self, host, port=0, family=0):
        await asyncio.sleep(0.005)
        raise OSError(f"no such host: {host}")
    async def close(self):
        pass

def clients(session, lost, url):
    async def get(path, **options):
        async with session.get(url + path, **options) as response:
            await response.read()
            seen[response.status] += 1

    def counting(error):
        seen[type(error).__name__] += 1

    async def keeps_alive():
        for _ in range(5):
            await get("/")

    async def hears_of_a_bug():
        try:
            await get("/bug", raise_for_status=True)
        except aiohttp.ClientResponseError as error:
            counting(error)

    async def hears_of_a_late_bug():
        try:
            await get("/late-bug")
        except aiohttp.ClientPayloadError as error:
            counting(error)

    async def has_no_time():
        for limit in (aiohttp.ClientTimeout(total=0.01), aiohttp.ClientTimeout(sock_read=0.01)):
            try:
                await get("/slow", timeout=limit)
            except TimeoutError as error:
                counting(error)

    async def has_no_time_for_the_body():
        try:
            async with asyncio.timeout(0.01):
                await get("/endless")
        except TimeoutError as error:
            counting(error)

    async def is_cancelled():
        tasks = [asyncio.create_task(get(path)) for path in ("/slow", "/endless", "/", "/bug", "/big") for _ in range(3)]
        for _ in range(20):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        seen["cancelled"] += sum(task.cancelled() for task in done)

    async def is_refused():
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            try:
                await session.get("http://127.0.0.1:%d/" % closed.getsockname()[1])
            except aiohttp.ClientConnectorError as error:
                counting(error)

    async def finds_nobody():
        found = await asyncio.gather(*[lost.get("http://nowhere.test/") for _ in range(5)], return_exceptions=True)
        seen["nobody"] += sum(isinstance(each, aiohttp.ClientConnectorError) for each in found)

    async def gives_up_finding():
        tasks = [asyncio.create_task(lost.get("http://elsewhere.test/")) for _ in range(3)]
        for _ in range(5):
            await asyncio.sleep(0)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            seen["given up"] += task.cancelled() or task.exception() is not None

    async def waits_for_all():
        slow = asyncio.sleep(4 * PATIENCE)
        bug = get("/bug", raise_for_status=True)
        found = await asyncio.gather(bug, slow, return_exceptions=True)
        seen["all"] += isinstance(found[0], aiohttp.ClientResponseError)

    async def is_one_of_a_group():
        try:
            async with asyncio.TaskGroup() as group:
                for path in ("/slow", "/endless"):
                    group.create_task(get(path))
                group.create_task(get("/bug", raise_for_status=True))
        except* aiohttp.ClientResponseError as error:
            counting(error)

    async def is_reset():
        with socket.create_server(("127.0.0.1", 0)) as rude:
            rude.setblocking(False)
            asking = asyncio.create_task(session.post("http://127.0.0.1:%d/" % rude.getsockname()[1]))
            loop = asyncio.get_running_loop()
            connection, _ = await loop.sock_accept(rude)
            await loop.sock_recv(connection, 65536)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            try:
                await asking
            except aiohttp.ClientConnectionError as error:
                counting(error)

    async def sends_a_body_that_fails():
        async def body():
            yield b"some"
            await asyncio.sleep(0.001)
            raise ValueError("no more")
        try:
            async with session.post(url + "/echo", data=body()) as response:
                await response.read()
        except aiohttp.ClientConnectionError as error:
            seen["body"] += 1

    async def sends_what_nobody_reads():
        async def body():
            while True:
                yield b"x" * 65536
        try:
            async with asyncio.timeout(0.05), session.post(url + "/bug", data=body()) as response:
                await response.read()
        except (TimeoutError, aiohttp.ClientConnectionError) as error:
            pass
        seen["unread"] += 1

    async def chats():
        for last in ("bug", "reset", "bye"):
            # Where everything takes long, it is the heartbeat that closes it.
            with contextlib.suppress(TimeoutError, aiohttp.ClientError):
                async with session.ws_connect(url + "/chat", heartbeat=0.02) as chat:
                    await chat.send_str("hello")
                    seen["chat"] += (await chat.receive()).data == "hello"
                    await chat.send_str(last)
                    async with asyncio.timeout(0.01):
                        while not chat.closed:
                            await chat.receive()

    async def closes_amid_its_requests():
        other = aiohttp.ClientSession()
        tasks = [asyncio.create_task(other.get(url + path)) for path in ("/slow", "/endless", "/")]
        await asyncio.sleep(0.005)
        await other.close()
        await asyncio.wait(tasks)
        seen["closed"] += sum(task.exception() is not None for task in tasks)

    return [each for name, each in locals().items() if "_" in name or name == "chats"]

async def main():
    runner, port = await serve(cancel=True)
    lost_session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Nowhere(), ttl_dns_cache=0))
    async with aiohttp.ClientSession() as session, lost_session as lost:
        async with under_load(*clients(session, lost, f"http://127.0.0.1:{port}")):
            pass
    await runner.cleanup()
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_clients_traffic_is_no_failure(under_load, loop):
    """Requests that are cancelled, timed out, refused, reset, lost or broken off by either side are no failures."""
    pytest.importorskip("aiohttp")
    errors = ["ClientConnectorError", "ClientOSError", "ClientPayloadError", "ClientResponseError", "ExceptionGroup"]
    others = ["TimeoutError", "all", "body", "cancelled", "chat", "closed", "given up", "left", "nobody", "unread"]
    ended = under_load(AIOHTTP + AIOHTTPS_CLIENT, loop, 200, *errors, *others)
    assert ([ON_PURPOSE, "turns True", "never seen:"], "", 0) == ended
