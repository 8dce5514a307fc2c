"""A WebSocket of the `websockets` package to a TLS port, echoed by whatever is behind it."""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect

host, port, certificate, address = sys.argv[1:5]


async def main():
    async with connect(
        f"wss://{host}:{port}/orders/v1/chat",
        ssl=ssl.create_default_context(cafile=certificate),
        host="127.0.0.1",
        port=int(port),
        local_addr=(address, 0),
        proxy=None,
    ) as socket:
        for message in ["hello", os.urandom(300_000)]:
            await socket.send(message)
            assert await socket.recv() == message
    print("all fine")


asyncio.run(asyncio.wait_for(main(), 30))
