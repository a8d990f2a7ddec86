-- Users whom a developer portal that keeps them itself has no more, and who have subscriptions here.
CREATE TABLE absences (
    user_id TEXT PRIMARY KEY,
    since   INTEGER NOT NULL,                  -- when it was first seen
    ends_at INTEGER NOT NULL                   -- when what they have ends
) STRICT, WITHOUT ROWID;
