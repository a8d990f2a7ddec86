-- Metered subscriptions whose period is over and of whose invoice nobody told us are looked for each minute.
CREATE INDEX subscriptions_by_period_end ON subscriptions (period_end)
    WHERE meter_id IS NOT NULL AND ended_at IS NULL;
