-- When the consumer has shown that the address is theirs; null until then.
ALTER TABLE accounts ADD COLUMN email_confirmed_at INTEGER;

-- Messages to consumers: written together with what causes them, sent later. No row holds a token
-- that works: links get theirs when the message is sent.
CREATE TABLE mails (
    mail_id         INTEGER PRIMARY KEY,
    occasion        TEXT NOT NULL UNIQUE,      -- what causes it: nothing causes the same message twice
    kind            TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    recipient       TEXT NOT NULL,             -- an e-mail address
    message         TEXT,                      -- JSON; null once it is sent
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'failed', 'dismissed')),
    queued_at       INTEGER NOT NULL,
    give_up_at      INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    problem         TEXT,
    settled_at      INTEGER
) STRICT;
CREATE INDEX mails_waiting ON mails (next_attempt_at) WHERE state = 'waiting';
CREATE INDEX mails_by_state ON mails (state) WHERE state IN ('waiting', 'failed');
CREATE INDEX mails_by_recipient ON mails (recipient, queued_at);
CREATE INDEX mails_by_end ON mails (settled_at) WHERE settled_at IS NOT NULL;

-- What a link in a message may do, once, until it expires.
CREATE TABLE links (
    token_hash BLOB PRIMARY KEY,               -- SHA-256
    purpose    TEXT NOT NULL,
    user_id    TEXT NOT NULL REFERENCES accounts (user_id) ON DELETE CASCADE,
    email      TEXT NOT NULL,                  -- the address that it was sent to
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX links_by_user ON links (user_id);
CREATE INDEX links_by_expiry ON links (expires_at);
