//! Nothing the gateway needs dies alone, and nothing is told past the diagnostics.

use super::Objections;

/// Tasks and threads that end alone when they panic: where, how many, and whose they are. All others are vital: their loss
/// is the end of the process.
const ALONE: [(&str, usize, &str); 18] = [
    ("crates/admin/src/server.rs", 1, "a connection to the admin API"),
    ("crates/identity/src/sessions.rs", 1, "a write that ends sessions, which is done to its end"),
    ("crates/wire/src/h2_body.rs", 1, "the end of one answer"),
    ("crates/proxy/src/http3/mod.rs", 2, "a connection, and the last words of an endpoint that takes no more"),
    ("crates/wire/src/revocation.rs", 1, "one round of questions, after which there is another"),
    ("crates/upstream/src/connect.rs", 1, "a connection to a target"),
    ("crates/upstream/src/http2/exchange.rs", 1, "the body of one request"),
    ("crates/upstream/src/http2/mod.rs", 1, "a connection to a target"),
    ("crates/upstream/src/names/mod.rs", 1, "a lookup of a name"),
    ("crates/upstream/src/names/system.rs", 1, "the thread of a lookup"),
    ("crates/upstream/src/demands.rs", 1, "gives up idle connections, as long as its worker runs"),
    ("crates/upstream/src/pool.rs", 1, "a connection to a target that comes to rest"),
    ("crates/upstream/src/upgrade.rs", 2, "one tunnel, and its end"),
    ("crates/proxy/src/worker.rs", 1, "a connection of a caller"),
    ("src/app/jobs.rs", 1, "a job of one call"),
    ("src/cli/exchange.rs", 1, "the connection of a command"),
    ("src/cli/run.rs", 1, "the line that says that the gateway is ready"),
    ("src/cli/demo/sample.rs", 2, "the services of the demo"),
];

/// The only files that write to stderr: before there are diagnostics, by way of them, and what the operator wants to have there.
const SPEAKERS: [&str; 3] = ["src/main.rs", "src/process/diagnostics.rs", "crates/telemetry/src/sink.rs"];

fn is_code(path: &str) -> bool {
    let in_crate = path.starts_with("src/") || path.starts_with("crates/") && path.contains("/src/");
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("/testing.rs");
    in_crate && !is_test
}

/// The code of a file, statement by statement, up to its unit tests.
fn statements(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_start = |at: usize| {
        lines[at] == "#[cfg(test)]" && lines.get(at + 1).is_some_and(|line| line.trim_end().ends_with("mod tests {"))
    };
    let end = (0..lines.len()).find(|at| is_start(*at)).unwrap_or(lines.len());
    let code: Vec<_> = lines[..end].iter().map(|line| line.trim()).filter(|line| !line.starts_with("//")).collect();
    code.join(" ").split([';', '{', '}']).map(str::to_owned).collect()
}

/// Whatever is spawned is vital, or stands in the table of what may end alone.
pub(super) fn are_vital(path: &str, text: &str) -> Objections {
    if !is_code(path) {
        return Vec::new();
    }
    let begins = |statement: &str| ["spawn(", "spawn_local(", "spawn_on("].iter().any(|call| statement.contains(call));
    let is_definition = |statement: &str| statement.contains("fn ");
    let alone: Vec<_> = statements(text)
        .into_iter()
        .filter(|statement| begins(statement) && !is_definition(statement) && !statement.contains("vital::"))
        .collect();
    let allowed = ALONE.iter().find(|(file, ..)| *file == path).map_or(0, |(_, number, _)| *number);
    if alone.len() == allowed {
        return Vec::new();
    }
    vec![format!(
        "{path} spawns {} tasks or threads that end alone, and {allowed} are known: go through `core::vital`, or add a row \
         to tests/main/tidy/spawns.rs that says whose they are: {alone:?}",
        alone.len()
    )]
}

/// What is said goes through the diagnostics, which never fail and never wait.
pub(super) fn says_nothing_past_the_diagnostics(path: &str, text: &str) -> Objections {
    if !is_code(path) || SPEAKERS.contains(&path) {
        return Vec::new();
    }
    let speaks = |statement: &String| statement.contains("stderr()") && !statement.contains("stderr().is_terminal()");
    let found = statements(text).into_iter().filter(speaks);
    found.map(|statement| format!("{path} writes to stderr itself: `{}`", statement.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_dies_alone_is_found() {
        let found = |text: &str| are_vital("crates/routing/src/compile.rs", text).len();
        assert_eq!(found("tokio::spawn(vital::task(\"x\", work));"), 0);
        assert_eq!(found("thread::Builder::new()\n.spawn(move || vital::thread(\"x\", work))?;"), 0);
        assert_eq!(found("tokio::task::spawn_blocking(work).await"), 0);
        for bad in ["tokio::spawn(work);", "thread::spawn(work);", "set.spawn(async move { x });", "spawn_local(work)"]
        {
            assert_eq!(found(bad), 1, "{bad}");
        }
        assert_eq!(found("#[cfg(test)]\npub(super) mod tests {\n    tokio::spawn(work);\n}\n"), 0);
        assert_eq!(are_vital("crates/proxy/src/worker.rs", "tokio::spawn(a);\ntokio::spawn(b);").len(), 1);
        assert_eq!(are_vital("crates/proxy/src/worker.rs", "").len(), 1, "a row that is not needed any more");
    }

    #[test]
    fn who_speaks_past_the_diagnostics_is_found() {
        let found = |text: &str| says_nothing_past_the_diagnostics("src/app/mod.rs", text).len();
        assert_eq!(found("let it = std::io::stderr().is_terminal();"), 0);
        assert_eq!(found("writeln!(io::stderr(), \"no\");"), 1);
        assert_eq!(says_nothing_past_the_diagnostics(SPEAKERS[0], "io::stderr()").len(), 0);
    }
}
