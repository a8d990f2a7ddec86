-- One more kind of finding: a report that Stripe refused. A check cannot be altered, so the table is
-- made anew.
CREATE TABLE usage_findings_anew (
    kind       TEXT NOT NULL CHECK (kind IN ('unanswered', 'silent', 'difference', 'missed', 'shrunk', 'unknown', 'shadow',
                                             'refused')),
    day        TEXT NOT NULL,                  -- empty where it is about no day
    subject    TEXT NOT NULL,                  -- a source, a subscription or a meter; empty where it is about a whole day
    detail     TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (kind, day, subject)
) STRICT;
INSERT INTO usage_findings_anew SELECT kind, day, subject, detail, first_seen, last_seen FROM usage_findings;
DROP TABLE usage_findings;
ALTER TABLE usage_findings_anew RENAME TO usage_findings;
CREATE INDEX usage_findings_by_time ON usage_findings (last_seen);

-- Whether something has to be done about a difference; all did until now.
ALTER TABLE disagreements ADD COLUMN counts INTEGER NOT NULL DEFAULT 1 CHECK (counts IN (0, 1));
