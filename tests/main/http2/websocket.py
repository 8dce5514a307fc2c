"""A WebSocket on a stream of HTTP/2 (RFC 8441), with the `h2` package."""

import socket
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings

address, token, key = sys.argv[1:4]
host, port = address.rsplit(":", 1)
connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
stream = socket.create_connection((host, int(port)), timeout=20)
connection.initiate_connection()
stream.sendall(connection.data_to_send())


def events():
    while True:
        data = stream.recv(65536)
        assert data, "closed"
        for event in connection.receive_data(data):
            yield event
        stream.sendall(connection.data_to_send())


coming = events()
for event in coming:
    if isinstance(event, h2.events.RemoteSettingsChanged):
        setting = event.changed_settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)
        assert setting and setting.new_value == 1, "extended CONNECT is offered"
        break

number = connection.get_next_available_stream_id()
connection.send_headers(
    number,
    [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/orders/v1/chat"),
        (":authority", "gate"),
        ("sec-websocket-version", "13"),
        ("authorization", f"Bearer {token}"),
        ("x-api-key", key),
    ],
)
stream.sendall(connection.data_to_send())
back = b""
for event in coming:
    if isinstance(event, h2.events.ResponseReceived):
        fields = dict(event.headers)
        assert fields[":status"] == "200" and "sec-websocket-accept" not in fields, fields
        connection.send_data(number, b"hello world")
        stream.sendall(connection.data_to_send())
    elif isinstance(event, h2.events.DataReceived):
        back += event.data
        if event.data and back == b"hello world":
            connection.end_stream(number)
            stream.sendall(connection.data_to_send())
    elif isinstance(event, h2.events.StreamEnded):
        break
    elif isinstance(event, h2.events.StreamReset):
        raise AssertionError("reset")
assert back == b"hello world", back
