"""Sends a request over HTTP/2 in clear. Names are in lower case there, so the client of the answer may not look at case."""

import h2.config
import h2.connection
import h2.events


def send_http2(address, request, method, source=None):
    with connect(address, source) as channel:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        head = [(":method", method), (":scheme", "http"), (":authority", request.get("Host")), (":path", request.target)]
        rest = [(name.lower(), value) for name, value in request.fields if name.lower() not in ("host", "connection")]
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, head + rest, end_stream=not request.body)
        if request.body:
            connection.send_data(stream, request.body, end_stream=True)
        channel.sendall(connection.data_to_send())
        fields, body = None, b""
        while True:
            data = channel.recv(65536)
            if not data:
                raise ValueError("closed before the end")
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    fields = list(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    pairs = [(name, value) for name, value in fields if not name.startswith(":")]
                    return Answer(int(dict(fields)[":status"]), "", pairs, body, ignores_case=True)
                elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                    raise ValueError(f"ended by {event}")
            channel.sendall(connection.data_to_send())
