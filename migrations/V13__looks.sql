-- Subscriptions that the worker is asked to look at. Each wish is a row of its own, and ids are never
-- used twice: a wish that comes while the worker looks is not taken for the one that it looks at.
CREATE TABLE looks (
    look_id         INTEGER PRIMARY KEY AUTOINCREMENT,
    subscription_id TEXT NOT NULL,
    due_at          INTEGER NOT NULL
) STRICT;
CREATE INDEX looks_by_subscription ON looks (subscription_id, due_at);
