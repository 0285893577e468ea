"""
The service of the recipes for grpc.aio: orders that take their time, and a stream of prices.

It has no generated code: an order is `NUMBER SECONDS ANYTHING`. The lines that end with `# graceful` are all that it needs
of graceful.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from graceful import App

app = App("shop", drain_delay=None)  # graceful


async def order(request: bytes, _: Any) -> bytes:
    """An upload, which takes as long as it says. The receipt is a digest of what was received."""
    number, takes, body = request.split(b" ", 2)
    await asyncio.sleep(float(takes))
    print("order", number.decode())
    return number + b" " + hashlib.sha256(body).hexdigest().encode()


async def prices(_request: bytes, _: Any) -> AsyncIterator[bytes]:
    """Numbers, from 0 on, until the app stops."""
    number = 0
    while await app.sleep(0.05):  # graceful: the end of a long-lived call
        yield str(number).encode()
        number += 1


async def ready(_requests: Any, context: Any) -> bytes:
    """The readiness probe of a load balancer. It may send no message at all."""
    if app.stopping:  # graceful
        await context.abort(grpc.StatusCode.UNAVAILABLE)
    return b""


methods: "dict[str, grpc.RpcMethodHandler[bytes, bytes]]" = {
    "order": grpc.unary_unary_rpc_method_handler(order),
    "prices": grpc.unary_stream_rpc_method_handler(prices),
    "ready": grpc.stream_unary_rpc_method_handler(ready),
}


def make_server(port: str) -> grpc.aio.Server:
    """A server with these methods, not yet started."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop", methods),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    return server
