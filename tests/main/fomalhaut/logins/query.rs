//! Tokens in the query: they let a user in, and are seen by nobody behind the gateway, nor in what it writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{DIALECTS, House, KIOSK, SHOP, refused, user};

/// The field in which a service of a dialect is told of the user, and what it says.
fn told_of(dialect: &str, request: &super::Received) -> Value {
    let names: &[_] = if dialect == "fo" { &["x-user-json"] } else { &["x-user-json", "x-api-user-json"] };
    let values: Vec<_> = names.iter().map(|name| request.header(name).expect(name)).collect();
    assert!(values.iter().all(|value| value == &values[0]));
    if dialect == "fo" {
        assert_eq!(request.header("x-api-user-json"), None);
    }
    let json = STANDARD.decode(values[0]).expect("standard base64 with padding");
    assert!(json.is_ascii());
    serde_json::from_slice(&json).expect("JSON")
}

#[test]
fn a_service_is_told_whose_call_it_is_and_never_sees_the_token() {
    let house = House::new();
    for dialect in DIALECTS {
        let token = house.log_in(dialect, SHOP, "ada").access;
        let escaped: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for (query, left) in [
            (format!("?access_token={token}"), ""),
            (format!("?a=1&access_token={token}&b=%20"), "?a=1&b=%20"),
            (format!("?access%5Ftoken={token}&a=1"), "?a=1"),
            (format!("?%61ccess_toke%6e={escaped}"), ""),
            (format!("?access_token={escaped}&access_token={token}"), ""),
        ] {
            for sealed in [false, true] {
                let forged = [["X-User-Json", "Zm9yZ2Vk"], ["X-Api-User-Json", "Zm9yZ2Vk"], ["X-App-Id", "forged"]];
                let target = format!("/protected/v1/x{query}");
                let more = json!({"target": target, "sealed_call": sealed, "fields": forged});
                let (told, request) = house.protected(dialect, SHOP, &more);
                told.is_fine();
                let request = request.expect("it came");
                assert_eq!(request.target, format!("/x{left}"), "{query}");
                assert_eq!(told_of(dialect, &request), user("ada"));
                assert_eq!(request.header("x-app-id"), Some("abcd"));
                if dialect == "api" {
                    assert_eq!(request.header("x-api-access-key"), Some("abcd"));
                }
            }
        }
        // Beside the field, what stands in the query says nothing; it does not go on all the same.
        let target = format!("/protected/v1/x?access_token={}&a", "x".repeat(27));
        let (told, request) = house.protected(dialect, SHOP, &json!({"target": target, "token": token}));
        told.is_fine();
        assert_eq!(request.expect("it came").target, "/x?a");
        let target = format!("/protected/v1/x?access_token={token}");
        let (told, request) = house.protected(dialect, SHOP, &json!({"target": target, "token": "x"}));
        refused(dialect, &told, 401, "Bad Access Token");
        assert!(request.is_none());
        for query in [
            format!("access_token={token}&access_token=x"),
            format!("access_token={token}&access%5ftoken="),
            format!("access_token={token}x"),
            format!("Access_Token={token}"),
            "access_token=".to_owned(),
        ] {
            let more = json!({"target": format!("/protected/v1/x?{query}")});
            let (told, request) = house.protected(dialect, SHOP, &more);
            refused(dialect, &told, 401, "Bad Access Token");
            assert!(request.is_none(), "{query}");
        }
        let (told, _) =
            house.protected(dialect, KIOSK, &json!({"target": format!("/protected/v1/x?access_token={token}")}));
        refused(dialect, &told, 401, "Bad Access Token");
        house.kept_quiet_about(&[&token, &escaped]);
    }
}

#[test]
fn where_nobody_has_to_be_logged_in_the_token_stays_here_too() {
    let house = House::new();
    for dialect in DIALECTS {
        let token = house.log_in(dialect, SHOP, "ada").access;
        let target = format!("/test_api/v1/x?access_token={token}&a");
        let (told, request) = house.scene.call_through(dialect, &json!({"target": target}));
        told.is_fine();
        assert_eq!(request.target, "/x?a");
        house.kept_quiet_about(&[&token]);
    }
}
