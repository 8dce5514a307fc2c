//! Bodies in every framing, each with the digest that was signed and with another: the service gets a whole request, or none.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use super::super::support::client::{connect, read_answer};
use super::super::support::python;
use super::{HOST, House, Signed};

/// Frames of a body: data, or trailers.
type Frames = Vec<Option<String>>;

/// The framings of a body that says this, by their names.
fn framings(text: &str) -> Vec<(&'static str, Frames)> {
    let data = |text: &str| Some(text.to_owned());
    let (half, rest) = text.split_at(text.len() / 2);
    let bytes = || text.chars().map(|byte| data(&byte.to_string())).collect::<Frames>();
    let with = |mut frames: Frames, end: Option<String>| {
        frames.push(end);
        frames
    };
    vec![
        ("one frame", vec![data(text)]),
        ("an empty last frame", vec![data(text), data("")]),
        ("many empty last frames", vec![data(text), data(""), data(""), data("")]),
        ("trailers", vec![data(text), None]),
        ("an empty frame and trailers", vec![data(text), data(""), None]),
        ("an empty first frame", vec![data(""), data(text)]),
        ("empty frames around", vec![data(""), data(text), data("")]),
        ("an empty first frame and trailers", vec![data(""), data(text), None]),
        ("two frames", vec![data(half), data(rest)]),
        ("two frames and an empty one", vec![data(half), data(rest), data("")]),
        ("two frames and trailers", vec![data(half), data(rest), None]),
        ("an empty frame between", vec![data(half), data(""), data(rest)]),
        ("an empty frame between and trailers", vec![data(half), data(""), data(rest), None]),
        ("many frames", bytes()),
        ("many frames and an empty one", with(bytes(), data(""))),
        ("many frames and trailers", with(bytes(), None)),
    ]
}

/// A text that is longer than what the gateway gathers before it opens a connection to the service.
fn long(end: &str) -> String {
    "0123456789abcdef".repeat(6_000) + end
}

/// The framings of a long body in frames of 12,000 bytes.
fn long_framings(text: &str) -> Vec<(&'static str, Frames)> {
    let frames =
        || text.as_bytes().chunks(12_000).map(|piece| String::from_utf8(piece.to_vec()).ok()).collect::<Frames>();
    let with = |end: Option<String>| frames().into_iter().chain([end]).collect::<Frames>();
    vec![
        ("long frames", frames()),
        ("long frames and an empty one", with(Some(String::new()))),
        ("long frames and trailers", with(None)),
    ]
}

/// Sends over HTTP/2 and tells how each request was answered.
fn over_http2(house: &House, requests: &[(Signed, Frames, bool, bool)]) -> Vec<String> {
    let case = |(request, frames, has_length, apart): &(Signed, Frames, bool, bool)| {
        let fields = request.fields.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
        let length = frames.iter().flatten().map(String::len).sum::<usize>();
        let length = has_length.then(|| ("content-length".to_owned(), length.to_string()));
        let fields: Vec<_> = fields.chain(length).collect();
        json!({
            "method": request.method, "target": request.target, "host": HOST, "fields": fields, "frames": frames,
            "apart": apart,
        })
    };
    let cases: Vec<_> = requests.iter().map(case).collect();
    let script = concat!(include_str!("../http2/frames.py"), include_str!("frames.py"));
    let mut command = Command::new(python());
    command.args(["-c", script, "frames", &house.gateway.data.to_string()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("starts");
    let mut input = child.stdin.take().expect("piped");
    let text = Value::from(cases).to_string();
    let writing = thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "it failed");
    writing.join().expect("ends").expect("written");
    let told: Vec<String> = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told.len(), requests.len());
    told
}

/// All framings over HTTP/2, of a body that was signed and of one that was not.
fn go_out_whole_or_not_at_all(signature: &Value) {
    let house = House::new(signature);
    let (good, evil) = ("{\"pay\":1}", "{\"pay\":9}");
    let (long_good, long_evil) = (long("1"), long("9"));
    let short = framings(good).into_iter().zip(framings(evil)).map(|both| (good, both));
    let long = long_framings(&long_good).into_iter().zip(long_framings(&long_evil));
    let all: Vec<_> = short.chain(long.map(|both| (long_good.as_str(), both))).collect();
    let (mut names, mut honest, mut forged) = (Vec::new(), Vec::new(), Vec::new());
    for (text, ((name, right), (_, wrong))) in all {
        for (has_length, apart) in [(true, true), (true, false), (false, true), (false, false)] {
            names.push(format!("{name}, content-length {has_length}, apart {apart}, {signature}"));
            honest.push((house.post(text.as_bytes()).signed(), right.clone(), has_length, apart));
            forged.push((house.post(text.as_bytes()).signed(), wrong.clone(), has_length, apart));
        }
    }
    let answers = over_http2(&house, &forged);
    for (name, answer) in names.iter().zip(&answers) {
        assert!(answer.starts_with('4'), "{name}: {answer}");
    }
    // Whatever was begun is over, and none of it was a request.
    let wire = house.backend.wait_for_wire(|wire| wire.iter().all(|wire| wire.ended));
    assert_eq!(house.calls(), 0, "after {} connections", wire.len());
    for wire in &wire {
        assert!(!wire.bytes.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&wire.bytes));
    }
    let answers = over_http2(&house, &honest);
    for ((name, answer), (request, ..)) in names.iter().zip(&answers).zip(&honest) {
        assert_eq!(answer, "200", "{name}");
        assert!(house.backend.received().iter().any(|seen| seen.body == request.body), "{name}");
    }
    assert_eq!(house.calls(), honest.len());
}

#[test]
fn a_streamed_body_goes_out_whole_or_not_at_all() {
    go_out_whole_or_not_at_all(&json!({"stream": true}));
}

#[test]
fn a_held_body_goes_out_whole_or_not_at_all() {
    go_out_whole_or_not_at_all(&json!({}));
}

#[test]
fn a_body_that_has_no_bytes_is_compared_too() {
    for signature in [json!({"stream": true}), json!({})] {
        let house = House::new(&signature);
        let empty = || Some(String::new());
        let bodies: [Frames; 4] = [vec![], vec![empty()], vec![empty(), empty()], vec![empty(), None]];
        let make = |text: &[u8]| -> Vec<_> {
            let all = bodies.iter().flat_map(|frames| [true, false].map(|has_length| (frames.clone(), has_length)));
            all.map(|(frames, has_length)| (house.post(text).signed(), frames, has_length, true)).collect()
        };
        let answers = over_http2(&house, &make(b"x"));
        assert!(answers.iter().all(|answer| answer.starts_with('4')), "{signature}: {answers:?}");
        house.backend.wait_for_wire(|wire| wire.iter().all(|wire| wire.ended));
        assert_eq!(house.calls(), 0, "{signature}");
        let answers = over_http2(&house, &make(b""));
        assert!(answers.iter().all(|answer| answer == "200"), "{signature}: {answers:?}");
    }
}

#[test]
fn over_http2_what_comes_behind_a_head_is_content() {
    for signature in [json!({"stream": true}), json!({})] {
        let house = House::new(&signature);
        let bare = || house.draft("POST", "/orders/v1/pay").signed();
        let answers = over_http2(
            &house,
            &[
                (bare(), vec![Some("x".to_owned())], false, true),
                (bare(), vec![Some(String::new()), Some("x".to_owned())], false, true),
                (bare(), vec![], false, true),
            ],
        );
        assert_eq!(answers, ["401", "401", "200"], "{signature}");
        assert_eq!(house.calls(), 1);
    }
}

#[test]
fn over_http1_a_body_goes_out_whole_or_not_at_all() {
    for signature in [json!({"stream": true}), json!({})] {
        let house = House::new(&signature);
        let (good, evil) = ("{\"pay\":1}".to_owned(), "{\"pay\":9}".to_owned());
        let pairs = [(good, evil), (long("1"), long("9"))];
        let mut sent = 0;
        for (signed, body) in pairs.iter().flat_map(|(good, evil)| [(good, evil), (good, good)]) {
            let is_signed = signed == body;
            for (framing, is_chunked, end) in [
                ("its length", false, ""),
                ("chunks", true, "0\r\n\r\n"),
                ("chunks and trailers", true, "0\r\nX-Trailer: 1\r\n\r\n"),
                ("a chunk with an extension", true, "0;last=yes\r\n\r\n"),
            ] {
                for pieces in [1, 2, 9] {
                    let what = format!("{framing}, in {pieces}, signed {is_signed}, {} bytes, {signature}", body.len());
                    let request = house.post(signed.as_bytes()).signed();
                    let length = format!("Content-Length: {}\r\n", body.len());
                    let head = request.head(if is_chunked { "Transfer-Encoding: chunked\r\n" } else { &length });
                    let mut stream = connect(house.gateway.data);
                    stream.set_nodelay(true).expect("no delay");
                    stream.write_all(head.as_bytes()).expect("sent");
                    for piece in body.as_bytes().chunks(body.len().div_ceil(pieces)) {
                        let around = (format!("{:x}\r\n", piece.len()), "\r\n");
                        let piece = if is_chunked {
                            [around.0.as_bytes(), piece, around.1.as_bytes()].concat()
                        } else {
                            piece.to_vec()
                        };
                        stream.write_all(&piece).expect("sent");
                    }
                    stream.write_all(end.as_bytes()).expect("sent");
                    let answer = read_answer(&mut stream, false);
                    if is_signed {
                        sent += 1;
                        assert_eq!(answer.status, 200, "{what}: {}", answer.text());
                        assert_eq!(house.backend.received().pop().expect("a call").body, body.as_bytes(), "{what}");
                    } else {
                        assert!((400..500).contains(&answer.status), "{what}: {}", answer.text());
                    }
                    assert_eq!(house.calls(), sent, "{what}");
                }
            }
        }
    }
}
