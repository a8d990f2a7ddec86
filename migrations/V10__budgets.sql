-- What a consumer wants to spend on a subscription in each of its periods.
CREATE TABLE budgets (
    subscription_id TEXT PRIMARY KEY,
    amount          INTEGER NOT NULL CHECK (amount > 0),
    currency        TEXT NOT NULL,
    stops           INTEGER NOT NULL CHECK (stops IN (0, 1)), -- whether access stops when it is used up
    set_at          INTEGER NOT NULL,
    period_start    INTEGER,                   -- the period that was looked at last,
    reached         INTEGER NOT NULL CHECK (reached IN (0, 50, 80, 100)), -- and the percents reached in it
    stopped_period  INTEGER                    -- the start of the period in which access stops
) STRICT;
