-- How a budget stood at the end of the period before the one that was weighed last. The last calls of a
-- period are known only after its end.
ALTER TABLE budgets ADD COLUMN ended_period INTEGER;  -- its start
ALTER TABLE budgets ADD COLUMN ended_reached INTEGER CHECK (ended_reached IN (0, 50, 80, 100)); -- the percents that were told of it
ALTER TABLE budgets ADD COLUMN ended_used INTEGER;    -- what it came to, in minor units; NULL until its usage has settled
