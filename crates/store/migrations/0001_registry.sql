-- The mark of a Portcullis registry ("PCLS"), so that no other program's database is taken for one.
PRAGMA application_id = 0x50434C53;

-- Keys are compared byte by byte (the default collation), so a page has the order of the keys' UTF-8 bytes.
CREATE TABLE objects (
    kind     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    owner    TEXT    NOT NULL,
    body     TEXT    NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- Times are Unix milliseconds; refresh and predecessor are SHA-256 hashes of tokens.
CREATE TABLE sessions (
    id          BLOB    NOT NULL PRIMARY KEY,
    user        TEXT    NOT NULL,
    client      TEXT    NOT NULL,
    user_info   TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    refresh     BLOB    NOT NULL,
    predecessor BLOB,
    rotated_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user, created_at);
CREATE INDEX sessions_by_client ON sessions (client);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
