"""What is asked of the proxies: each item is one kind of work, proven to be done before it is measured."""

from . import calls, gate, scale, signed, websocket

ALL = (*calls.ITEMS, *websocket.ITEMS, *scale.ITEMS, *gate.ITEMS, *signed.ITEMS)
