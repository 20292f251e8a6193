-- What a person said of a transaction last: its latest correction. Labels that came with data are none. A plain join, not
-- `distinct on`, so that asking about a few transactions reads their corrections and no others.
create view said as
select
    corrections.transaction_id,
    corrections.category
from corrections
where corrections.source = 'correction'
and not exists (
    select
    from corrections as later
    where later.transaction_id = corrections.transaction_id
    and later.source = 'correction'
    and later.id > corrections.id
);

-- Servers hear at once what was fitted for the engines that answer there.
create trigger calibrations_told after insert or update or delete on calibrations
    for each statement execute function tell_adapters();
