//! The reference of all findings, written from the table of rules.

use std::fmt::Write as _;

use super::finding::About;
use super::rules::RULES;

/// The page as Markdown.
pub(crate) fn reference() -> String {
    let mut text = String::from(
        "# Security findings\n\n\
         <!-- Written by `portcullis reference security-findings`; a test compares them. -->\n\n\
         What `portcullis check --security` looks for. The codes are stable. See\n\
         [how to audit a configuration](../how-to/audit-a-configuration.md).\n",
    );
    for (about, title) in [
        (About::Declarations, "Declarations"),
        (About::Enrolments, "Enrolment tokens, with `--live`"),
        (About::Settings, "Settings"),
        (About::Files, "Files of the data directory"),
    ] {
        let _ = write!(text, "\n## {title}\n\n| code | severity | what is wrong | what to do |\n|---|---|---|---|\n");
        for rule in RULES.iter().filter(|rule| rule.about == about) {
            let _ = writeln!(text, "| `{}` | {} | {} | {} |", rule.id, rule.severity.word(), rule.wrong, rule.remedy);
        }
    }
    text.push_str(
        "\n## What is no finding\n\n\
         What the gateway refuses anyway: an admin API off loopback, limits and times of 0 where that would be none,\n\
         `proxy_protocol` without trusted proxies, targets with credentials in their URL, `cors` with the origin `*` and\n\
         credentials, RSA keys under 2048 bits, keys of other issuers whose algorithm the token would choose.\n\n\
         What is a choice without a usual answer: no `ip_filter`, an `acl` without rules, redirects and fixed answers, which\n\
         are open by nature. What stands in the registry alone (API keys, sessions, users) is not looked at.\n",
    );
    text
}
