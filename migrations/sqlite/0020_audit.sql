-- +goose Up

-- What was done through the Admin API. Rows are only ever added; each hash covers the one
-- before.
CREATE TABLE audit (
    seq   INTEGER PRIMARY KEY,
    at_us INTEGER NOT NULL,
    body  BLOB    NOT NULL,
    hash  BLOB    NOT NULL
) STRICT;
