-- +goose Up

-- The control plane's own state, which is not configuration and has no history: assignments
-- of groups, releases.
CREATE TABLE record (
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    version INTEGER NOT NULL,
    body    BLOB    NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
