-- What a consumer wants to become of a subscription at Stripe, and how far that has come. A later
-- wish takes the place of an earlier one.
CREATE TABLE cancellations (
    subscription_id TEXT PRIMARY KEY,
    wish            TEXT NOT NULL CHECK (wish IN ('keep', 'at_period_end', 'now')),
    revision        INTEGER NOT NULL,          -- counts the wishes; part of the idempotency keys
    step            TEXT NOT NULL CHECK (step IN ('schedule', 'report', 'end', 'collect', 'done')),
    asked_at        INTEGER NOT NULL,
    due_at          INTEGER,                   -- when to go on; null when done or given up
    attempts        INTEGER NOT NULL DEFAULT 0,
    problem         TEXT,                      -- why the last attempt failed
    updated_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX cancellations_by_due ON cancellations (due_at) WHERE due_at IS NOT NULL;

-- Accounts that have changed, until their APIM users have followed.
CREATE TABLE profile_changes (
    user_id  TEXT PRIMARY KEY REFERENCES accounts (user_id) ON DELETE CASCADE,
    revision INTEGER NOT NULL,                 -- counts the changes
    due_at   INTEGER,                          -- null when given up
    attempts INTEGER NOT NULL DEFAULT 0,
    problem  TEXT
) STRICT;

-- Accounts that close, and have: all that is left of an account in the end.
CREATE TABLE closings (
    user_id  TEXT PRIMARY KEY,
    step     TEXT NOT NULL CHECK (step IN ('purchases', 'subscriptions', 'user', 'deleting', 'done')),
    asked_at INTEGER NOT NULL,
    due_at   INTEGER,                          -- when to go on; null when done
    location TEXT,                             -- where Azure tells how far its deletion is
    attempts INTEGER NOT NULL DEFAULT 0,
    problem  TEXT
) STRICT;
CREATE INDEX closings_by_due ON closings (due_at) WHERE due_at IS NOT NULL;
