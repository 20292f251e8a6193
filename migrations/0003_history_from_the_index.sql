-- Histories are answered from the index alone: an account's latest rows lie side by side there, where
-- the table has each on another page.
drop index transactions_by_account;
create index transactions_by_account on transactions (account_id, posted_at, id)
    include (descriptor_key, amount, currency, direction)
    where replaced_by is null;
