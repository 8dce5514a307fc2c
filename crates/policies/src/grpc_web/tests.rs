//! Calls of pages, walked through the step alone.

use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use portcullis_core::body::BodyError;
use portcullis_core::message::{FieldMap, FieldName, FieldValue, HasFields};
use portcullis_core::policy::{Endpoint, Pipeline};

use super::*;
use crate::testing::call;

/// Answers with these pieces and trailers, or with a status in the head; keeps what has come.
struct Service {
    pieces: Vec<&'static [u8]>,
    trailers: Option<FieldMap>,
    head: FieldMap,
    seen: std::sync::Mutex<(FieldMap, Option<Vec<u8>>)>,
}

#[async_trait]
impl Endpoint for Service {
    async fn answer(&self, call: &mut Call) -> Result<Response, Refusal> {
        let headers = call.request.fields.clone();
        let body = call.take_body().collect().await.ok().map(|body| body.to_bytes().to_vec());
        *self.seen.lock().expect("not poisoned") = (headers, body);
        let pieces = self.pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece)));
        let frames = pieces.chain(self.trailers.clone().map(|trailers| Frame::trailers(trailers.into())));
        let frames: Vec<Result<_, BodyError>> = frames.map(Ok).collect();
        let stream = StreamBody::new(futures_util::stream::iter(frames));
        let body = if self.pieces.is_empty() { Body::empty() } else { Body::stream(stream) };
        let mut response = Response::new(body);
        response.fields_mut().replace(self.head.clone());
        Ok(response)
    }
}

fn fields(lines: &[(&'static str, &'static str)]) -> FieldMap {
    lines.iter().map(|(name, value)| (FieldName::from_static(name), FieldValue::from_static(value))).collect()
}

async fn walk(service: Service, dialect: Dialect, content_type: &str, body: Body) -> (Response, Arc<Service>) {
    let mut call = call("POST", "/a.B/C", &[("content-type", content_type), ("accept", "a/b"), ("x-grpc-web", "1")]);
    call.dialect = dialect;
    call.request.body = body;
    let facts = portcullis_core::call::RouteFacts { name: "test".into(), ..Default::default() };
    let service = Arc::new(service);
    let endpoint = Arc::clone(&service) as Arc<dyn Endpoint>;
    let step = Step::Policy(Arc::new(GrpcWeb));
    (Pipeline::new(Arc::new(facts), vec![("grpc_web", step)], endpoint).run(&mut call).await, service)
}

fn service(pieces: Vec<&'static [u8]>, head: &[(&'static str, &'static str)]) -> Service {
    Service { pieces, trailers: None, head: fields(head), seen: std::sync::Mutex::default() }
}

#[tokio::test]
async fn a_call_becomes_grpc_and_its_answer_is_turned_back() {
    let trailers = Some(fields(&[("grpc-status", "0")]));
    let answers =
        Service { trailers, ..service(vec![b"\0\0\0\0\x01x"], &[("content-type", "application/grpc+proto")]) };
    let body = Body::full(&b"\0\0\0\0\0"[..]);
    let (answer, service) = walk(answers, Dialect::Grpc(Form::Web), "application/grpc-web+proto", body).await;
    assert_eq!(answer.fields().text(CONTENT_TYPE), Some("application/grpc-web+proto"));
    let read = answer.into_body().collect().await.expect("whole");
    assert!(read.trailers().is_none());
    assert_eq!(&read.to_bytes()[..], b"\0\0\0\0\x01x\x80\0\0\0\x10grpc-status: 0\r\n");
    let (headers, body) = service.seen.lock().expect("not poisoned").clone();
    assert_eq!(headers.fields().text(CONTENT_TYPE), Some("application/grpc+proto"));
    assert!(!headers.fields().has(ACCEPT) && !headers.fields().has(X_GRPC_WEB));
    assert_eq!(body.as_deref(), Some(&b"\0\0\0\0\0"[..]));
}

#[tokio::test]
async fn text_is_decoded_and_encoded() {
    let trailers = Some(fields(&[("grpc-status", "5")]));
    let answers = Service { trailers, ..service(vec![b"\0\0\0\0\x01", b"x"], &[("content-type", "application/grpc")]) };
    let body = Body::full("AAAAAAA=");
    let (answer, service) = walk(answers, Dialect::Grpc(Form::WebText), "application/grpc-web-text+json", body).await;
    assert_eq!(answer.fields().text(CONTENT_TYPE), Some("application/grpc-web-text+json"));
    let read = answer.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(&read[..], b"AAAAAAE=eA==gAAAABBncnBjLXN0YXR1czogNQ0K");
    let body = service.seen.lock().expect("not poisoned").1.clone();
    assert_eq!(body.as_deref(), Some(&b"\0\0\0\0\0"[..]));
}

#[tokio::test]
async fn text_that_is_none_breaks_the_body_off() {
    for text in ["AAAAAAA", "AAAA!AAA"] {
        let (_, service) =
            walk(service(vec![], &[]), Dialect::Grpc(Form::WebText), "application/grpc-web-text", Body::full(text))
                .await;
        assert_eq!(service.seen.lock().expect("not poisoned").1, None, "{text}");
    }
}

#[tokio::test]
async fn an_end_in_the_head_is_a_frame_of_the_body() {
    let head = [("content-type", "application/grpc"), ("grpc-status", "12"), ("grpc-message", "no"), ("x-a", "b")];
    let (answer, _) =
        walk(service(vec![], &head), Dialect::Grpc(Form::Web), "application/grpc-web", Body::empty()).await;
    let text = |name| answer.fields().text(FieldName::from_static(name));
    assert_eq!((text("grpc-status"), text("x-a")), (None, Some("b")));
    let read = answer.into_body().collect().await.expect("whole").to_bytes();
    assert_eq!(read[0], 0x80);
    let text = String::from_utf8_lossy(&read[5..]).into_owned();
    assert!(text.contains("grpc-status: 12\r\n") && text.contains("grpc-message: no\r\n"), "{text}");
}

#[tokio::test]
async fn what_is_not_grpc_passes() {
    let html = [("content-type", "text/html"), ("content-length", "2")];
    let (answer, _) =
        walk(service(vec![b"hi"], &html), Dialect::Grpc(Form::Web), "application/grpc-web", Body::empty()).await;
    assert_eq!(answer.fields().text(CONTENT_TYPE), Some("text/html"));
    assert_eq!(&answer.into_body().collect().await.expect("whole").to_bytes()[..], b"hi");
    // A call that is none of gRPC-Web's keeps all it has.
    let (_, service) = walk(service(vec![], &[]), Dialect::Grpc(Form::Native), "application/grpc", Body::empty()).await;
    assert!(service.seen.lock().expect("not poisoned").0.fields().has(ACCEPT));
}
