-- +goose Up

-- What was done through the Admin API. Rows are only ever added; each hash covers the one
-- before.
CREATE TABLE audit (
    seq   bigint PRIMARY KEY,
    at_us bigint NOT NULL,
    body  bytea  NOT NULL,
    hash  bytea  NOT NULL
);
