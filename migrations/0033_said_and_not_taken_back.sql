-- What a person said of a transaction last and did not take back. The view was made on a table that has since been renamed, which it
-- followed: it went on counting words that were withdrawn. The words are those that were said, also after a taxonomy was left,
-- because they are held against answers of their time.
create or replace view said as
select
    made.transaction_id,
    made.category
from corrections_made as made
where made.source = 'correction'
and not exists (select from corrections_withdrawn where corrections_withdrawn.correction_id = made.id)
and not exists (
    select
    from corrections_made as later
    where later.transaction_id = made.transaction_id
    and later.source = 'correction'
    and later.id > made.id
    and not exists (select from corrections_withdrawn where corrections_withdrawn.correction_id = later.id)
);
