-- What reading usage came upon: sources that do not answer, days that do not look right.
CREATE TABLE usage_findings (
    kind       TEXT NOT NULL CHECK (kind IN ('unanswered', 'silent', 'difference', 'missed', 'shrunk', 'unknown', 'shadow')),
    day        TEXT NOT NULL,                  -- empty where it is about no day
    subject    TEXT NOT NULL,                  -- a source or a subscription; empty where it is about a whole day
    detail     TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (kind, day, subject)
) STRICT;
CREATE INDEX usage_findings_by_time ON usage_findings (last_seen);

-- The calls of everybody, also of those that are not ours; null where it was not kept yet.
ALTER TABLE collected_days ADD COLUMN calls INTEGER;
