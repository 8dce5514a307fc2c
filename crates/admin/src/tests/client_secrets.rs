//! `/api/v1/clients/{name}/secrets`: made, imported, exchanged and retired, and what calls see of it.

use std::time::Duration;

use portcullis_core::model::{ClientSecret, Label, SecretUse, SecretUses};
use portcullis_core::ports::{Expect, Kind, Objects, Row, Write};
use portcullis_identity::checksum_ok;
use serde_json::{Value, json};

use super::{Answer, House, NOW, millis};

const PATH: &str = "/clients/shop/secrets";

/// A house with a client, and the handle and the text of its first secret.
async fn with_client() -> (House, String, String) {
    let house = House::new().await;
    let made = house.send("POST", "/clients", json!({"name": "shop", "access_key": "app"})).await;
    let text = made.fine(201)["secret_key"].as_str().expect("a secret").to_owned();
    let id = id(&house.all(PATH, 9).await[0]);
    (house, id, text)
}

fn id(object: &Value) -> String {
    object["id"].as_str().expect("an id").to_owned()
}

fn detail(answer: &Answer) -> &str {
    answer.body["detail"].as_str().expect("a text")
}

impl House {
    /// The secrets that calls find with the access key and may sign with, the oldest first.
    pub(super) fn live(&self) -> Vec<String> {
        self.directory.read(|entries| {
            let entry = entries.by_access_key("app").expect("the client is there");
            let good = entry.secrets_for(SecretUse::Sign, millis(self));
            good.map(|secret| secret.text.expose().to_owned()).collect()
        })
    }
}

#[tokio::test]
async fn a_secret_is_shown_once_and_counts_at_once() {
    let (house, first, text) = with_client().await;
    assert_eq!(house.live(), std::slice::from_ref(&text));
    house.clock.advance(Duration::from_secs(1));
    let made = house.send_with("POST", &format!("/api/v1{PATH}"), &[], "").await;
    let (new, id) = (made.fine(201)["secret"].as_str().expect("a secret").to_owned(), id(&made.body));
    assert!(new.starts_with("pcs_") && checksum_ok(&new));
    assert_eq!((&made.body["uses"], made.header("etag")), (&json!(["oauth", "sign", "seal"]), "\"1\""));
    assert_eq!(house.live(), [text, new.clone()]);
    let shown = house.get(&format!("{PATH}/{id}")).await;
    let object = json!({
        "id": id, "uses": ["oauth", "sign", "seal"], "created_at": "2023-11-14T22:13:21.000Z", "not_after": null,
        "last_used": null, "revision": 1,
    });
    assert_eq!((shown.fine(200), shown.header("etag")), (&object, "\"1\""));
    let listed = house.all(PATH, 1).await;
    assert!(listed.len() == 2 && listed.contains(&object));
    house.delete(&format!("{PATH}/{first}")).await.fine(204);
    assert_eq!(house.live(), [new]);
    house.delete(&format!("{PATH}/{first}")).await.refused(404, "not_found");
    house.get(&format!("{PATH}/{first}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_an_operator_imports_is_taken_as_it_is() {
    let (house, first, _) = with_client().await;
    house.delete(&format!("{PATH}/{first}")).await.fine(204);
    for text in ["x", "Grüße, Welt", "pcs_with-no-checksum", &"ü".repeat(512)] {
        let made = house.send("POST", PATH, json!({"secret": text, "uses": ["sign"]})).await;
        assert_eq!((&made.fine(201)["secret"], &made.body["uses"]), (&json!(text), &json!(["sign"])));
        assert_eq!(house.live(), [text]);
        house.delete(&format!("{PATH}/{}", id(&made.body))).await.fine(204);
    }
    for bad in ["", " a", "a ", "a\nb", "a\u{0}", "a\u{85}b", &"x".repeat(1_025), &"ü".repeat(513)] {
        let answer = house.send("POST", PATH, json!({"secret": bad})).await;
        assert_eq!(answer.refused(422, "invalid_declaration").places(), ["secret"], "{bad:?}");
    }
    let answer = house.send("POST", PATH, json!({"secret": 77_123})).await;
    answer.refused(400, "invalid_body");
    assert!(!answer.body.to_string().contains("77123"), "a secret is not repeated: {}", answer.body);
}

#[tokio::test]
async fn uses_and_ends_are_what_was_asked_for() {
    let (house, first, _) = with_client().await;
    house.delete(&format!("{PATH}/{first}")).await.fine(204);
    let made = house.send("POST", PATH, json!({"uses": ["oauth"], "not_after": "2023-11-14T23:13:20+00:00"})).await;
    assert_eq!(made.fine(201)["not_after"], "2023-11-14T23:13:20.000Z");
    assert!(house.live().is_empty(), "it is for tokens alone");
    let made = house.send("POST", PATH, json!({"uses": ["seal", "sign"], "ttl": "1h"})).await;
    assert_eq!(
        (&made.fine(201)["not_after"], &made.body["uses"]),
        (&json!("2023-11-14T23:13:20.000Z"), &json!(["sign", "seal"]))
    );
    assert_eq!(house.live().len(), 1);
    house.clock.advance(Duration::from_secs(3_600));
    assert!(house.live().is_empty(), "it has ended");
    for (bad, place) in [
        (json!({"uses": []}), "uses"),
        (json!({"not_after": "2023-11-14T23:13:20Z"}), "not_after"),
        (json!({"not_after": "1970-01-01T00:00:00Z"}), "not_after"),
    ] {
        assert_eq!(house.send("POST", PATH, bad).await.refused(422, "invalid_declaration").places(), [place]);
    }
    for bad in [
        json!({"uses": ["login"]}),
        json!({"not_after": "tomorrow"}),
        json!({"ttl": "1h", "not_after": "2030-01-01T00:00:00Z"}),
        json!({"more": 1}),
    ] {
        house.send("POST", PATH, bad).await.refused(400, "invalid_body");
    }
    house.send("POST", "/clients/none/secrets", json!({})).await.refused(404, "not_found");
    house.get("/clients/none/secrets").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_third_secret_is_refused_with_the_one_to_retire() {
    let (house, first, _) = with_client().await;
    house.clock.advance(Duration::from_secs(1));
    let second = id(house.send("POST", PATH, json!({})).await.fine(201));
    let refused = house.send("POST", PATH, json!({})).await;
    refused.refused(409, "conflict");
    assert!(detail(&refused).contains(&first) && !detail(&refused).contains(&second), "{}", detail(&refused));
    // One that ends goes on counting until then, and is taken out with the next that is made.
    let path = format!("{PATH}/{first}");
    house.send("PUT", &path, json!({"ttl": "1h"})).await.fine(200);
    house.send("POST", PATH, json!({})).await.refused(409, "conflict");
    house.clock.advance(Duration::from_secs(3_600));
    house.send("PUT", &path, json!({})).await.refused(409, "conflict");
    let third = id(house.send("POST", PATH, json!({})).await.fine(201));
    let mut ids: Vec<_> = house.all(PATH, 9).await.iter().map(id).collect();
    let mut expected = vec![second, third];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_secret_is_changed_on_the_revision_that_was_seen() {
    let (house, first, text) = with_client().await;
    let path = format!("{PATH}/{first}");
    let changed = house.send("PUT", &path, json!({"not_after": "2023-11-14T22:13:25Z"})).await;
    let uses = json!(["oauth", "sign", "seal"]);
    assert_eq!((&changed.fine(200)["uses"], changed.header("etag")), (&uses, "\"2\""));
    assert_eq!(changed.body["not_after"], "2023-11-14T22:13:25.000Z");
    assert_eq!(house.live(), std::slice::from_ref(&text));
    let fields = |tag| [("if-match", tag), ("content-type", "application/json")];
    let url = format!("/api/v1{path}");
    house.send_with("PUT", &url, &fields("\"1\""), "{}").await.refused(412, "precondition_failed");
    house.send_with("DELETE", &url, &fields("\"1\""), "").await.refused(412, "precondition_failed");
    // What is not said stays.
    let changed = house.send_with("PUT", &url, &fields("\"2\""), r#"{"uses": ["sign"]}"#).await;
    assert_eq!(
        (&changed.fine(200)["not_after"], &changed.body["uses"]),
        (&json!("2023-11-14T22:13:25.000Z"), &json!(["sign"]))
    );
    assert_eq!(house.live(), [text]);
    house.send("PUT", &path, json!({"uses": []})).await.refused(422, "invalid_declaration");
    house.send("PUT", &format!("{PATH}/none"), json!({})).await.refused(404, "not_found");
    house.send_with("DELETE", &url, &fields("\"3\""), "").await.fine(204);
}

#[tokio::test]
async fn the_last_use_is_told() {
    let (house, first, _) = with_client().await;
    house.directory.read(|entries| entries.secrets(&shop())[0].touch(NOW * 1_000 + 7));
    let told = house.get(&format!("{PATH}/{first}")).await.fine(200)["last_used"].clone();
    assert_eq!(told, "2023-11-14T22:13:20.007Z");
    // It goes on through changes of the secret and of the client.
    house.send("PUT", &format!("{PATH}/{first}"), json!({"ttl": "1h"})).await.fine(200);
    house.send("PUT", "/clients/shop", json!({"services": ["*"]})).await.fine(200);
    assert_eq!(house.all(PATH, 9).await[0]["last_used"], told);
}

#[tokio::test]
async fn secrets_of_disabled_and_deleted_clients_are_not_live() {
    let (house, _, text) = with_client().await;
    house.send("PUT", "/clients/shop", json!({"services": [], "enabled": false})).await.fine(200);
    assert!(house.live().is_empty());
    house.send("PUT", "/clients/shop", json!({"services": [], "enabled": true})).await.fine(200);
    assert_eq!(house.live(), [text]);
    house.delete("/clients/shop").await.fine(204);
    assert!(
        house.directory.read(|entries| entries.by_access_key("app").is_none() && entries.secrets(&shop()).is_empty())
    );
}

#[tokio::test]
async fn secrets_survive_a_file_that_does_not_name_them() {
    let (house, _, text) = with_client().await;
    let fields = [("content-type", "application/yaml")];
    let file = "version: 1\nclients: {shop: {services: ['orders/v1'], access_key: app}}";
    house.send_with("PUT", "/api/v1/declarations?adopt=true", &fields, file).await.fine(200);
    assert_eq!(house.live(), std::slice::from_ref(&text));
    house.send_with("PUT", "/api/v1/declarations", &fields, file.replace("orders/v1", "*")).await.fine(200);
    assert_eq!(house.live(), [text]);
}

#[tokio::test]
async fn one_that_cannot_be_opened_stops_nothing_and_counts_for_nothing() {
    let (house, first, text) = with_client().await;
    let sealed = "AAAA".to_owned();
    let foreign = ClientSecret { sealed, uses: SecretUses::all(), created_at: 1, not_after: None };
    let body = serde_json::to_string(&foreign).expect("JSON");
    let kind = Kind::ClientSecret;
    let row = Row { kind, key: "shop/foreign".into(), revision: 1, owner: portcullis_core::model::Owner::Api, body };
    house.registry.commit(vec![Write::Put { row, expect: Expect::Absent }]).await.expect("written");
    house.send("PUT", "/clients/shop", json!({"services": ["*"]})).await.fine(200);
    assert_eq!(house.live(), [text]);
    // It is shown, stands in for one of two, and can be retired.
    assert_eq!(house.all(PATH, 9).await.len(), 2);
    let refused = house.send("POST", PATH, json!({})).await;
    assert!(detail(refused.refused(409, "conflict")).contains("foreign") && !detail(&refused).contains(&first));
    house.delete(&format!("{PATH}/foreign")).await.fine(204);
    house.send("POST", PATH, json!({})).await.fine(201);
}

fn shop() -> Label {
    "shop".parse().expect("a label")
}
