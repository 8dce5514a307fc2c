//! The tour: commands with real values that can be pasted into a shell, each with the status it leads to.

use std::net::SocketAddr;
use std::path::Path;

use portcullis_core::secret::Secret;

/// What the commands are made of.
#[derive(Debug)]
pub(super) struct Tour<'a> {
    /// The data plane.
    pub(super) data: SocketAddr,
    /// The admin API.
    pub(super) admin: SocketAddr,
    /// The data directory, absolute.
    pub(super) data_dir: &'a Path,
    /// How this program was called.
    pub(super) program: &'a str,
    /// The user who logs in.
    pub(super) user: &'a str,
    /// The user's password.
    pub(super) password: &'a Secret,
    /// The API key of the client that may call `orders` only.
    pub(super) api_key: &'a Secret,
}

/// What curl writes behind each answer.
const STATUS: &str = r#"-w '\n%{http_code}\n'"#;

impl Tour<'_> {
    /// The lines to be printed. Commands are indented; all else is a comment, so that everything can be pasted.
    pub(super) fn lines(&self) -> Vec<String> {
        let (gateway, admin) = (format!("http://{}", self.data), format!("http://{}", self.admin));
        let key = format!("-H 'X-API-Key: {}'", self.api_key.expose());
        let bearer = r#"-H "Authorization: Bearer $TOKEN""#;
        let login = format!(
            r#"curl -s {gateway}/-/token {key} -H 'Content-Type: application/json' -d '{{"username":"{}","password":"{}"}}'"#,
            self.user,
            self.password.expose()
        );
        let data_dir = quoted(&self.data_dir.display().to_string());
        let token_file = quoted(&self.data_dir.join("admin.token").display().to_string());
        let mut lines = Vec::new();
        let mut step = |status: &str, words: &str, command: String| {
            lines.extend([format!("# → {status}  {words}"), format!("  {command}"), String::new()]);
        };
        step(
            "200",
            &format!("{} logs in through the client, and the shell keeps the access token", self.user),
            format!(r#"TOKEN=$({login} | sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p')"#),
        );
        step(
            "200",
            "token and key are good: orders answers, and shows what it was told of the caller",
            format!("curl -s {STATUS} {gateway}/orders/v1/orders {bearer} {key}"),
        );
        step("401", "without any credential", format!("curl -s {STATUS} {gateway}/orders/v1/orders"));
        step(
            "401",
            "with a key nobody has",
            format!("curl -s {STATUS} {gateway}/orders/v1/orders {bearer} -H 'X-API-Key: wrong'"),
        );
        step(
            "403",
            "the key is good, but its client may call orders only",
            format!("curl -s {STATUS} {gateway}/inventory/v1/items {bearer} {key}"),
        );
        step("404", "no service is there", format!("curl -s {STATUS} {gateway}/nothing/v1/here {bearer} {key}"));
        step(
            "200",
            "all of this is in the access log",
            format!(
                r#"curl -s {STATUS} '{admin}/api/v1/logs?limit=10' -H "Authorization: Bearer $(cat {token_file})""#
            ),
        );
        lines.push("# and as it happens:".to_owned());
        lines.push(format!("  {} logs -f --data-dir {data_dir} --admin {admin}", quoted(self.program)));
        lines
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn lines() -> Vec<String> {
        Tour {
            data: SocketAddr::from(([127, 0, 0, 1], 6500)),
            admin: SocketAddr::from(([127, 0, 0, 1], 6501)),
            data_dir: Path::new("/tmp/it's here"),
            program: "./portcullis",
            user: "ada",
            password: &Secret::from("pass"),
            api_key: &Secret::from("pck_key"),
        }
        .lines()
    }

    #[test]
    fn every_line_is_a_command_a_comment_or_empty() {
        for line in lines() {
            let fine =
                line.is_empty() || line.starts_with('#') || line.starts_with("  curl") || line.starts_with("  TOKEN=");
            assert!(fine || line.starts_with("  ./portcullis logs"), "{line}");
        }
    }

    #[test]
    fn every_call_is_preceded_by_its_status() {
        let lines = lines();
        let statuses: Vec<&str> = lines
            .windows(2)
            .filter(|pair| pair[1].starts_with("  curl") || pair[1].starts_with("  TOKEN="))
            .map(|pair| pair[0].strip_prefix("# → ").expect("a status").split(' ').next().expect("a number"))
            .collect();
        assert_eq!(statuses, ["200", "200", "401", "401", "403", "404", "200"]);
    }

    /// Runs the printed lines in a shell whose `curl` tells its arguments, but answers a login.
    #[test]
    fn the_lines_can_be_pasted_into_a_shell() {
        let script = format!(
            "curl() {{ case \"$2\" in */-/token) echo '{{\"access_token\":\"a.b-c\",\"token_type\":\"Bearer\"}}';; \
             *) printf '<%s>' \"$@\"; echo;; esac; }}\ncat() {{ printf '%s' \"$1\"; }}\n{}",
            lines().into_iter().filter(|line| !line.contains("portcullis logs")).collect::<Vec<_>>().join("\n")
        );
        let output = Command::new("bash").args(["-euc", &script]).output().expect("bash runs");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
        let calls: Vec<&str> = shown.lines().collect();
        assert_eq!(calls.len(), 6, "{shown}");
        assert!(calls[0].ends_with("<-H><Authorization: Bearer a.b-c><-H><X-API-Key: pck_key>"), "{shown}");
        assert!(calls[5].ends_with("<-H><Authorization: Bearer /tmp/it's here/admin.token>"), "{shown}");
    }
}
