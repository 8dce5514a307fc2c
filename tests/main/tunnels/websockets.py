"""A WebSocket server and clients of the `websockets` package, with the gateway between them."""

import asyncio
import json
import os
import sys
import urllib.request

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus

admin, admin_token, gateway, token, key = sys.argv[1:6]


async def echo(socket):
    await socket.send(json.dumps(dict(socket.request.headers.raw_items())))
    async for message in socket:
        await socket.send(message)


def declare(port):
    service = {"targets": [{"url": f"http://127.0.0.1:{port}"}]}
    request = urllib.request.Request(
        f"http://{admin}/api/v1/services/orders/v1",
        data=json.dumps(service).encode(),
        method="PUT",
        headers={"Authorization": f"Bearer {admin_token}", "Content-Type": "application/json"},
    )
    assert urllib.request.urlopen(request).status == 200


async def main():
    url = f"ws://{gateway}/orders/v1/chat"
    credentials = {"Authorization": f"Bearer {token}", "X-API-Key": key}
    async with serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["chat"]) as server:
        declare(server.sockets[0].getsockname()[1])
        try:
            async with connect(url, proxy=None):
                raise AssertionError("let in without credentials")
        except InvalidStatus as refused:
            assert refused.response.status_code == 401, refused
        async with connect(
            url, proxy=None, additional_headers=credentials, max_size=None, subprotocols=["chat"], compression="deflate"
        ) as socket:
            seen = {name.lower(): value for name, value in json.loads(await socket.recv()).items()}
            assert "x-user-json" in seen and "authorization" not in seen, seen
            assert socket.subprotocol == "chat"
            for message in ["a", "ü" * 70_000, os.urandom(1 << 20), b""]:
                await socket.send(message)
                assert await socket.recv() == message
            await (await socket.ping())
        assert socket.close_code == 1000, socket.close_code

        async def one(number):
            try:
                opened = await connect(url, proxy=None, additional_headers=credentials, subprotocols=["chat"])
            except InvalidStatus as refused:
                raise AssertionError(f"{refused.response.headers} {refused.response.body}") from refused
            async with opened as socket:
                await socket.recv()
                for turn in range(50):
                    await socket.send(f"{number}/{turn}")
                    assert await socket.recv() == f"{number}/{turn}"

        await asyncio.gather(*(one(number) for number in range(40)))
    print("all fine")


asyncio.run(asyncio.wait_for(main(), 60))
