-- Which objects were changed last, whoever did it, in the order of the changes: what a reader has missed since the
-- version it knows. The newest row is always there, so a version is never given twice. What the gateway keeps for itself
-- is not told.
CREATE TABLE object_changes (
    version INTEGER NOT NULL PRIMARY KEY,
    kind    TEXT    NOT NULL,
    key     TEXT    NOT NULL
) STRICT;

CREATE TRIGGER object_made AFTER INSERT ON objects
WHEN NEW.kind NOT IN ('meta', 'signing_key', 'acme_account', 'certificate', 'challenge', 'lease')
BEGIN INSERT INTO object_changes (kind, key) VALUES (NEW.kind, NEW.key); END;

CREATE TRIGGER object_changed AFTER UPDATE ON objects
WHEN NEW.kind NOT IN ('meta', 'signing_key', 'acme_account', 'certificate', 'challenge', 'lease')
BEGIN INSERT INTO object_changes (kind, key) VALUES (NEW.kind, NEW.key); END;

CREATE TRIGGER object_renamed AFTER UPDATE OF kind, key ON objects
WHEN (OLD.kind <> NEW.kind OR OLD.key <> NEW.key)
    AND OLD.kind NOT IN ('meta', 'signing_key', 'acme_account', 'certificate', 'challenge', 'lease')
BEGIN INSERT INTO object_changes (kind, key) VALUES (OLD.kind, OLD.key); END;

CREATE TRIGGER object_deleted AFTER DELETE ON objects
WHEN OLD.kind NOT IN ('meta', 'signing_key', 'acme_account', 'certificate', 'challenge', 'lease')
BEGIN INSERT INTO object_changes (kind, key) VALUES (OLD.kind, OLD.key); END;

-- The last 10,000 are kept; a reader who was away for longer reads everything again.
CREATE TRIGGER object_changes_are_bounded AFTER INSERT ON object_changes
BEGIN DELETE FROM object_changes WHERE version <= NEW.version - 10000; END;
