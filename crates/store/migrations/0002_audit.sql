-- The audit trail: one row for each change of an object, in an order without gaps. `hash` is a keyed hash over
-- the row and the hash of the row before it; the key is not in this file. Times are Unix milliseconds, `before`
-- and `after` are JSON without secrets.
CREATE TABLE audit (
    seq      INTEGER NOT NULL PRIMARY KEY,
    time     INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    address  TEXT,
    action   TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    revision INTEGER NOT NULL,
    before   TEXT,
    after    TEXT,
    previous BLOB    NOT NULL,
    hash     BLOB    NOT NULL
) STRICT;

-- Where the trail ends, with a seal by the same key, so that rows taken off its end are missed.
CREATE TABLE audit_head (
    id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL,
    seal BLOB    NOT NULL
) STRICT;

-- Against mistakes; against malice there are the hashes.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is not changed'); END;

CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit trail is not shortened'); END;

CREATE TRIGGER audit_head_moves_on BEFORE UPDATE ON audit_head WHEN NEW.seq <= OLD.seq
BEGIN SELECT RAISE(ABORT, 'the audit trail is not shortened'); END;

CREATE TRIGGER audit_head_stays BEFORE DELETE ON audit_head
BEGIN SELECT RAISE(ABORT, 'the audit trail is not shortened'); END;
