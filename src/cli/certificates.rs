//! `portcullis certificates`.

use serde_json::Value;

use super::admin::Admin;
use super::failure::Failure;
use super::json::text;
use super::output::Output;
use super::table::Table;

/// Lists what the data plane shows in handshakes.
pub(super) async fn run(admin: &Admin, output: &mut Output) -> Result<(), Failure> {
    output.list(admin.all("/certificates").await?, table)
}

fn table(certificates: &[Value]) -> Table {
    let mut table = Table::new(["names", "source", "not after", "next renewal", "last error"]);
    for certificate in certificates {
        let names = certificate["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let names = names.collect::<Vec<_>>().join(",");
        let [source, end, next, error] =
            ["source", "not_after", "next_renewal", "last_error"].map(|field| text(certificate, field));
        table.row([names, source, end, next, error]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_shows_as_missing() {
        let lines = table(&[
            json!({"names": ["a.example", "10.0.0.1"], "source": "file", "not_after": "2030-01-01T00:00:00.000Z"}),
            json!({"names": ["b.example"], "source": "acme", "not_after": null, "next_renewal": "soon", "last_error": "no"}),
        ])
        .lines();
        assert_eq!(lines[0], "NAMES               SOURCE  NOT AFTER                 NEXT RENEWAL  LAST ERROR");
        assert_eq!(lines[1], "a.example,10.0.0.1  file    2030-01-01T00:00:00.000Z  -             -");
        assert_eq!(lines[2], "b.example           acme    -                         soon          no");
    }
}
