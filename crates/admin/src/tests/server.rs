//! The server over a real socket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::{CONNECTIONS, House, TOKEN};
use crate::serve;

/// Connections on which this is sent and nothing more, more of them than are kept.
async fn crowd(address: std::net::SocketAddr, sent: &str) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..CONNECTIONS + 50 {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(sent.as_bytes()).await.expect("written");
        crowd.push(stream);
    }
    crowd
}

#[tokio::test]
async fn whoever_asks_nothing_keeps_nobody_from_being_answered() {
    let house = House::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let running = tokio::spawn(serve(listener, house.state.clone(), std::future::pending()));
    let health = "GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n";
    for sent in ["", "G", "GET /api/v1/status HTTP/1.1\r\nHost: ", health] {
        let mut crowd = crowd(address, sent).await;
        // From the same address as they, which is everybody's on loopback.
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let request = format!(
                "GET /api/v1/status HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\n\
                 Connection: close\r\n\r\n"
            );
            let answer = exchange(&mut stream, &request).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.contains("\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"), "by the clock: {answer}");
        }
        // The oldest have made room.
        let first = &mut crowd[0];
        let mut rest = Vec::new();
        assert!(matches!(first.read_to_end(&mut rest).await, Ok(_) | Err(_)), "it has ended");
    }
    running.abort();
}

async fn exchange(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn the_server_answers_and_stops() {
    let house = House::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(serve(listener, house.state.clone(), async {
        let _ = stopped.await;
    }));
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "GET /api/v1/status HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    let answer = exchange(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let start = format!("GET / HTTP/1.1\r\nHost: {address}\r\nX-Long: ");
    // Not a byte more than the bound, so that none is unread when the server closes.
    let answer = exchange(&mut stream, &format!("{start}{}", "x".repeat((64 << 10) - start.len()))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let body = "{\"name\":\"shop\"}";
    let request = format!(
        "POST /api/v1/clients HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(&mut stream, &request).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let trail = house.get("/audit?kind=client").await;
    assert_eq!(trail.fine(200)["items"][0]["address"], "127.0.0.1", "the peer of the connection");
    // A connection that has said nothing yet does not hold the server up, nor does one between two requests.
    let silent = TcpStream::connect(address).await.expect("connected");
    let mut idle = TcpStream::connect(address).await.expect("connected");
    idle.write_all(b"GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.expect("read");
    assert_eq!(&first, b"HTTP/1.1 200");
    stop.send(()).expect("running");
    running.await.expect("stopped");
    drop(silent);
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
