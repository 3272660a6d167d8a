-- +goose Up

-- One row. Its lock orders the commits of all processes: revision order is commit order.
CREATE TABLE head (
    one   integer PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    epoch text    NOT NULL,
    rev   bigint  NOT NULL,
    floor bigint  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO head (epoch, rev, floor) VALUES (gen_random_uuid()::text, 0, 0);

-- txn is drawn by the writer for each transaction: by it a writer that lost its connection
-- at the commit finds out whether the commit happened.
CREATE TABLE revision (
    rev        bigint  PRIMARY KEY,
    at_us      bigint  NOT NULL,
    actor      text    COLLATE "C" NOT NULL,
    message    text    NOT NULL,
    client     text    NOT NULL,
    request_id bytea   UNIQUE,
    changes    integer NOT NULL,
    txn        bytea   NOT NULL
);
CREATE INDEX revision_actor ON revision (actor, rev);

-- before_rev and before_tags make the object of an older revision whole again.
CREATE TABLE change (
    rev         bigint  NOT NULL,
    seq         integer NOT NULL,
    kind        text    COLLATE "C" NOT NULL,
    id          text    COLLATE "C" NOT NULL,
    before      bytea,
    before_rev  bigint,
    before_tags bytea,
    after       bytea,
    PRIMARY KEY (rev, seq)
);
CREATE INDEX change_object ON change (kind, id, rev);

CREATE TABLE object (
    kind text   COLLATE "C" NOT NULL,
    id   text   COLLATE "C" NOT NULL,
    rev  bigint NOT NULL,
    tags bytea,
    body bytea  NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE TABLE object_key (
    kind text  COLLATE "C" NOT NULL,
    idx  text  COLLATE "C" NOT NULL,
    val  bytea NOT NULL,
    id   text  COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, idx, val),
    FOREIGN KEY (kind, id) REFERENCES object ON DELETE CASCADE
);
CREATE INDEX object_key_owner ON object_key (kind, id);

CREATE TABLE object_ref (
    src_kind text COLLATE "C" NOT NULL,
    src_id   text COLLATE "C" NOT NULL,
    field    text COLLATE "C" NOT NULL,
    dst_kind text COLLATE "C" NOT NULL,
    dst_id   text COLLATE "C" NOT NULL,
    PRIMARY KEY (src_kind, src_id, field, dst_kind, dst_id),
    FOREIGN KEY (src_kind, src_id) REFERENCES object ON DELETE CASCADE,
    FOREIGN KEY (dst_kind, dst_id) REFERENCES object DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX object_ref_target ON object_ref (dst_kind, dst_id, src_kind, src_id, field);

-- full_tag is the tag itself where tag is its shortened form (an index row has a bound).
CREATE TABLE object_tag (
    kind     text  COLLATE "C" NOT NULL,
    id       text  COLLATE "C" NOT NULL,
    tag      bytea NOT NULL,
    full_tag bytea,
    PRIMARY KEY (kind, id, tag),
    FOREIGN KEY (kind, id) REFERENCES object ON DELETE CASCADE
);
CREATE INDEX object_tag_tag ON object_tag (tag, kind, id);

CREATE TABLE secret (
    name  text  COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
