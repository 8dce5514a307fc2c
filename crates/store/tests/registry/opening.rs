//! What is no registry, or one that this program does not know, is refused with what to do, and left as it is.

use std::fs;
use std::path::Path;

use portcullis_store::{OpenError, SqliteRegistry};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Executor};

use crate::{link, open};

async fn refusal(path: &Path) -> OpenError {
    let error = SqliteRegistry::open(path, link()).await.expect_err("is refused");
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "names the file: {message}");
    assert!(message.contains(';'), "says what to do: {message}");
    error
}

async fn connect(path: &Path, create: bool) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(create);
    SqliteConnection::connect_with(&options).await.expect("connects")
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    let text = "[server]\nlisten = \"127.0.0.1:6500\"\n".repeat(100);
    fs::write(&path, &text).expect("writes");
    assert!(matches!(refusal(&path).await, OpenError::NotADatabase { .. }));
    assert_eq!(fs::read_to_string(&path).expect("reads"), text, "and not touched");
}

#[tokio::test]
async fn a_registry_of_a_newer_program_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    open(directory.path()).await.close().await.expect("closes");
    let mut connection = connect(&path, false).await;
    connection
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (999, 'from the future', TRUE, x'00', 0)",
        )
        .await
        .expect("inserts");
    connection.close().await.expect("closes");
    let error = refusal(&path).await;
    assert!(matches!(error, OpenError::Newer { version: 999, known: 4, .. }), "{error}");
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("registry.db");
    let mut connection = connect(&path, true).await;
    connection.execute("CREATE TABLE songs (title TEXT)").await.expect("creates");
    connection.close().await.expect("closes");
    let before = fs::read(&path).expect("reads");
    assert!(matches!(refusal(&path).await, OpenError::Foreign { .. }));
    assert_eq!(fs::read(&path).expect("reads"), before);
}

#[tokio::test]
async fn a_directory_or_a_missing_one_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(matches!(refusal(directory.path()).await, OpenError::File { .. }));
    assert!(matches!(refusal(&directory.path().join("no/where.db")).await, OpenError::File { .. }));
}

#[tokio::test]
async fn an_empty_file_and_a_file_opened_before_are_fine() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("registry.db"), "").expect("writes");
    for _ in 0..3 {
        open(directory.path()).await.close().await.expect("closes");
    }
}
