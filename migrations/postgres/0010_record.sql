-- +goose Up

-- The control plane's own state, which is not configuration and has no history: assignments
-- of groups, releases.
CREATE TABLE record (
    kind    text   COLLATE "C" NOT NULL,
    id      text   COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    body    bytea  NOT NULL,
    PRIMARY KEY (kind, id)
);
