-- Merchants as people see them: statement keys that stand for one merchant, and what people call it. Nothing that was
-- sent or predicted changes: histories, rules and groups are looked up by the merchant that a key stands for.

-- "Rows with this key are visits of that merchant": one row for each standing merge. root_key is where the way over
-- into_key ends; it is kept so that looking up takes one step. A merge that is taken back leaves the table; the trail
-- keeps it.
create table merchant_merges (
    descriptor_key text collate "C" not null,
    into_key text collate "C" not null,
    root_key text collate "C" not null,
    action_id bigint not null,
    constraint merchant_merges_pkey primary key (descriptor_key),
    constraint merchant_merges_action_known foreign key (action_id) references review_actions (id),
    constraint merchant_merges_into_other check (descriptor_key <> into_key and descriptor_key <> root_key),
    constraint merchant_merges_not_empty check (descriptor_key <> '' and into_key <> '')
);
create index merchant_merges_by_root on merchant_merges (root_key);

-- What people call a merchant, beside the key that its statements give.
create table merchant_names (
    merchant_key text collate "C" not null,
    name text not null,
    action_id bigint not null,
    constraint merchant_names_pkey primary key (merchant_key),
    constraint merchant_names_action_known foreign key (action_id) references review_actions (id),
    constraint merchant_names_not_empty check (name <> '')
);

-- What was done to a merchant stands in the same trail, and is taken back in the same way.
alter table review_actions
    add column merchant_key text collate "C",
    add column into_key text collate "C",
    add column direction text,
    add column name text,
    add column name_before text,
    drop constraint review_actions_kind_known,
    add constraint review_actions_kind_known
        check (kind in ('decide', 'undo', 'skip', 'escalate', 'rename', 'categorize', 'merge'));
create index review_actions_by_merchant on review_actions (merchant_key, id) where merchant_key is not null;

-- The merchant that a key stands for.
create function merchant_key(key text) returns text language sql stable as $$
    select coalesce((select root_key from merchant_merges where descriptor_key = $1), $1)
$$;

-- Rows that wait are grouped by merchant; a row without a key stands alone, and so does an audit.
create or replace function review_group_key(reason text, direction text, descriptor_key text, transaction_id text)
returns text language sql stable as $$
    select case
        when reason = 'audit' then 'audit:' || transaction_id
        when descriptor_key = '' then 'alone:' || transaction_id
        else direction || ':' || merchant_key(descriptor_key)
    end
$$;

-- The rule that stands for a row: an account's own before one for all; of a merchant's keys the merchant's own first,
-- then the one said last.
create function rule_for(asked_account text, asked_key text, asked_direction text)
returns table (id bigint, category text, account_id text) language sql stable as $$
    select
        rules.id,
        rules.category,
        rules.account_id
    from (
        select coalesce((select root_key from merchant_merges where descriptor_key = asked_key), asked_key) as merchant
    ) as asked
    cross join lateral (
        select asked.merchant as key
        union all
        select descriptor_key from merchant_merges where root_key = asked.merchant
    ) as names
    cross join lateral (
        select own.*
        from account_rules as own
        where own.account_id = asked_account
        and own.descriptor_key = names.key
        and own.direction = asked_direction
        union all
        select everywhere.*
        from account_rules as everywhere
        where everywhere.account_id is null
        and everywhere.descriptor_key = names.key
        and everywhere.direction = asked_direction
    ) as rules
    where rules.retired_at is null
    order by
        rules.account_id nulls last,
        rules.descriptor_key = asked.merchant desc,
        rules.made_at desc,
        rules.id desc
    limit 1
$$;
