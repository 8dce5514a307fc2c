-- Pairs of opaque tokens are sessions: the id is made of the access token, `refresh` is the hash of the refresh token, and
-- `access_until` says until when the access token is good. Sessions of signed access tokens have none.
ALTER TABLE sessions ADD COLUMN access_until INTEGER;

CREATE INDEX pairs_by_refresh ON sessions (refresh) WHERE access_until IS NOT NULL;

-- The pairs that were taken over from another gateway, by their ids, so that none is taken over twice, whatever became of it
-- here since: until no import can bring it any more.
CREATE TABLE imported_pairs (
    id    BLOB    NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX imported_pairs_by_end ON imported_pairs (until);
