//! The keys as calls meet them.

use http::Method;
use http_body_util::BodyExt;
use portcullis_core::message::names::IF_NONE_MATCH;

use super::*;
use crate::testing::House;

async fn body(response: Response) -> Bytes {
    response.into_body().collect().await.expect("a body").to_bytes()
}

#[tokio::test]
async fn keys_are_published_as_set_and_as_pem() {
    let house = House::new().await;
    let keys = &house.keys;
    let mut call = house.call(Method::GET, "/.well-known/jwks.json", Body::empty());
    let response = KeySet::new(keys).answer(&mut call).await.expect("answered");
    assert_eq!(response.fields().text(CACHE_CONTROL), Some("public, max-age=300"));
    assert_eq!(response.fields().text(CONTENT_TYPE), Some("application/json"));
    assert_eq!(body(response).await, keys.jwks());
    let pem = |file: String| {
        let prefix = "/.well-known/keys";
        let mut call = house.call(Method::GET, &format!("{prefix}/{file}"), Body::empty());
        call.matched = prefix.len();
        let endpoint = OneKey::new(keys.clone());
        async move { endpoint.answer(&mut call).await }
    };
    let kid = keys.active_kid();
    let response = pem(format!("{kid}.pem")).await.expect("answered");
    assert_eq!(response.fields().text(CACHE_CONTROL), Some("public, max-age=300"));
    assert_eq!(body(response).await, keys.pem(kid).expect("our key").as_bytes());
    for file in [kid.to_owned(), "other.pem".to_owned(), ".pem".to_owned(), format!("{kid}.pem/x"), String::new()] {
        assert_eq!(pem(file.clone()).await.expect_err("no key"), Refusal::NoRoute, "{file}");
    }
}

#[tokio::test]
async fn whoever_has_the_set_already_is_not_sent_it_again() {
    let house = House::new().await;
    let endpoint = KeySet::new(&house.keys);
    let ask = |method: Method, known: Option<String>| {
        let mut call = house.call(method, "/.well-known/jwks.json", Body::empty());
        if let Some(known) = known {
            call.request.fields_mut().set(IF_NONE_MATCH, FieldValue::of(&known).expect("a value"));
        }
        let endpoint = &endpoint;
        async move { endpoint.answer(&mut call).await.expect("answered") }
    };
    let first = ask(Method::GET, None).await;
    let tag = first.fields().text(ETAG).expect("a tag").to_owned();
    assert!(tag.len() == TAG_DIGITS + 2 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        for method in [Method::GET, Method::HEAD] {
            let same = ask(method, Some(known.clone())).await;
            assert_eq!(same.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!((same.fields().text(ETAG), same.fields().text(CONTENT_TYPE)), (Some(tag.as_str()), None));
            assert_eq!(same.fields().text(CACHE_CONTROL), Some("public, max-age=300"));
            assert!(body(same).await.is_empty());
        }
    }
    for known in ["\"other\"", "", tag.trim_matches('"')] {
        let other = ask(Method::GET, Some(known.to_owned())).await;
        assert_eq!((other.status(), other.fields().text(ETAG)), (StatusCode::OK, Some(tag.as_str())), "{known}");
        assert_eq!(body(other).await, house.keys.jwks());
    }
    let others = House::new().await;
    assert_ne!(KeySet::new(&others.keys).tag, tag, "other keys are another set");
}

#[tokio::test]
async fn other_methods_are_told_which_there_are() {
    let house = House::new().await;
    let endpoints: [&dyn Endpoint; 2] = [&KeySet::new(&house.keys), &OneKey::new(house.keys.clone())];
    for endpoint in endpoints {
        let mut call = house.call(Method::POST, "/.well-known/jwks.json", Body::empty());
        let refusal = endpoint.answer(&mut call).await.expect_err("another method");
        assert_eq!(refusal, Refusal::MethodNotAllowed { allow: "GET, HEAD" });
    }
}
