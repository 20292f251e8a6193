-- What `in_force.decided_by` says of rows that stand by a rule.
alter table account_rules
    add column decided_by text collate "C" not null
        generated always as (case when account_id is null then 'merchant_rule' else 'account_rule' end) stored;

-- All keys of the merchant that a key stands for: its own first, then those that were merged into it.
create function merchant_keys(key text) returns text[] language sql stable as $$
    select
        root.merchant || array(
            select merchant_merges.descriptor_key
            from merchant_merges
            where merchant_merges.root_key = root.merchant
            order by merchant_merges.descriptor_key
        )
    from (select merchant_key($1) as merchant) as root
$$;

-- As before, and with the word for it.
drop function rule_for(text, text, text);
create function rule_for(asked_account text, asked_key text, asked_direction text)
returns table (id bigint, category text, account_id text, decided_by text) language sql stable as $$
    select
        rules.id,
        rules.category,
        rules.account_id,
        rules.decided_by
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

-- The groups of merchants that people gave a name with these words, which are escaped for `like`.
create function groups_named(words text) returns setof text language sql stable as $$
    select directions.direction || ':' || merchant_names.merchant_key
    from merchant_names
    cross join (values ('debit'), ('credit')) as directions(direction)
    where merchant_names.name ilike '%' || words || '%'
$$;
