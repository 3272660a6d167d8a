-- +goose Up

-- One row: where the configuration stands.
CREATE TABLE head (
    one   INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    epoch TEXT    NOT NULL,
    rev   INTEGER NOT NULL,
    floor INTEGER NOT NULL
) STRICT;
-- A random UUID, version 4, from SQLite's own generator.
INSERT INTO head (epoch, rev, floor) VALUES (
    lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' ||
          substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))),
    0, 0);

CREATE TABLE revision (
    rev        INTEGER PRIMARY KEY,
    at_us      INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    message    TEXT    NOT NULL,
    client     TEXT    NOT NULL,
    request_id BLOB    UNIQUE,
    changes    INTEGER NOT NULL
) STRICT;
CREATE INDEX revision_actor ON revision (actor, rev);

-- before_rev and before_tags make the object of an older revision whole again.
CREATE TABLE change (
    rev         INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    before      BLOB,
    before_rev  INTEGER,
    before_tags BLOB,
    after       BLOB,
    PRIMARY KEY (rev, seq)
) STRICT;
CREATE INDEX change_object ON change (kind, id, rev);

CREATE TABLE object (
    kind TEXT    NOT NULL,
    id   TEXT    NOT NULL,
    rev  INTEGER NOT NULL,
    tags BLOB,
    body BLOB    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

CREATE TABLE object_key (
    kind TEXT NOT NULL,
    idx  TEXT NOT NULL,
    val  BLOB NOT NULL,
    id   TEXT NOT NULL,
    PRIMARY KEY (kind, idx, val),
    FOREIGN KEY (kind, id) REFERENCES object ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX object_key_owner ON object_key (kind, id);

CREATE TABLE object_ref (
    src_kind TEXT NOT NULL,
    src_id   TEXT NOT NULL,
    field    TEXT NOT NULL,
    dst_kind TEXT NOT NULL,
    dst_id   TEXT NOT NULL,
    PRIMARY KEY (src_kind, src_id, field, dst_kind, dst_id),
    FOREIGN KEY (src_kind, src_id) REFERENCES object ON DELETE CASCADE,
    FOREIGN KEY (dst_kind, dst_id) REFERENCES object DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
CREATE INDEX object_ref_target ON object_ref (dst_kind, dst_id, src_kind, src_id, field);

-- full_tag is the tag itself where tag is its shortened form (as in PostgreSQL).
CREATE TABLE object_tag (
    kind     TEXT NOT NULL,
    id       TEXT NOT NULL,
    tag      BLOB NOT NULL,
    full_tag BLOB,
    PRIMARY KEY (kind, id, tag),
    FOREIGN KEY (kind, id) REFERENCES object ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX object_tag_tag ON object_tag (tag, kind, id);

CREATE TABLE secret (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
