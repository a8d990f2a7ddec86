-- Events can be dismissed, and come from webhooks as well as from Stripe's list. The state's
-- CHECK and the reference from the payloads make both tables anew.
DROP INDEX inbox_by_state;
DROP INDEX inbox_by_end;
ALTER TABLE inbox RENAME TO old_inbox;
ALTER TABLE inbox_payloads RENAME TO old_inbox_payloads;

CREATE TABLE inbox (
    sequence        INTEGER PRIMARY KEY,       -- in the order of arrival
    event_id        TEXT NOT NULL UNIQUE,
    event_type      TEXT NOT NULL,
    object_id       TEXT NOT NULL,
    api_version     TEXT,                      -- null for a thin event, which has none
    source          TEXT NOT NULL CHECK (source IN ('webhook', 'list')),
    received_at     INTEGER NOT NULL,
    state           TEXT NOT NULL
                    CHECK (state IN ('waiting', 'applied', 'ignored', 'failed', 'dismissed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    outcome         TEXT,
    settled_at      INTEGER,
    dismissed_by    TEXT                       -- who said that nothing has to be done
) STRICT;
INSERT INTO inbox (sequence, event_id, event_type, object_id, source, received_at, state, attempts,
                   next_attempt_at, outcome, settled_at)
    SELECT sequence, event_id, event_type, object_id, 'webhook', received_at, state, attempts,
           next_attempt_at, outcome, settled_at
    FROM old_inbox;
CREATE INDEX inbox_by_state ON inbox (state, next_attempt_at);
CREATE INDEX inbox_by_end ON inbox (settled_at) WHERE settled_at IS NOT NULL;

CREATE TABLE inbox_payloads (
    sequence INTEGER PRIMARY KEY REFERENCES inbox (sequence) ON DELETE CASCADE,
    payload  BLOB NOT NULL
) STRICT;
INSERT INTO inbox_payloads SELECT sequence, payload FROM old_inbox_payloads;
DROP TABLE old_inbox_payloads;
DROP TABLE old_inbox;

-- How far Stripe's list of events is in the inbox, in one row.
CREATE TABLE event_watermark (
    only_row        INTEGER PRIMARY KEY CHECK (only_row = 1),
    complete_until  INTEGER,                   -- every event made before this is in the inbox
    read_started_at INTEGER,                   -- a reading under way: when it began,
    read_after      TEXT,                      -- and the event after which it goes on
    problem         TEXT                       -- why the last reading failed
) STRICT;
INSERT INTO event_watermark (only_row) VALUES (1);

-- Subscriptions that this store came to know long after they began: something may have been
-- reported for them of which it knows nothing.
CREATE TABLE found_late (
    subscription_id TEXT PRIMARY KEY,
    found_at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
