-- What a decision reaches, in one place; and what a person did before a taxonomy was left, which is not taken back after: the words
-- that would come back are of the old one.

-- What people did at the desk up to upto_action, when the first row was led over, was in the old taxonomy.
alter table taxonomy_migrations
    add column upto_action bigint;
update taxonomy_migrations
set
    upto_action = coalesce(
        (
            select review_actions.id
            from review_actions
            where review_actions.made_at <= recategorizations.applied_at
            order by
                review_actions.made_at desc,
                review_actions.id desc
            limit 1
        ),
        0
    )
from recategorizations
where recategorizations.id = taxonomy_migrations.run_id
and (taxonomy_migrations.shadow or taxonomy_migrations.concluded_at is not null);

-- The rows that a decision covers beside the one at hand: those of a merchant's keys and a direction, of one account or of all,
-- that no person has decided and that were not drawn for an audit. A decision for all accounts spares those with a rule of their own.
create function reached_rows(asked_keys text[], asked_direction text, asked_account text, at_hand text)
returns table (transaction_id text, category text, decided_by text, review_status text, waited boolean)
language sql stable as $$
    select
        in_force.transaction_id,
        in_force.category,
        in_force.decided_by,
        in_force.review_status,
        review_items.transaction_id is not null
    from transactions
    join in_force on in_force.transaction_id = transactions.id
    left join review_items
        on review_items.transaction_id = transactions.id
        and review_items.resolved_at is null
    where transactions.descriptor_key = any(asked_keys)
    and transactions.direction = asked_direction
    and (asked_account is null or transactions.account_id = asked_account)
    and transactions.replaced_by is null
    and transactions.id <> at_hand
    and (asked_account is not null or not exists (
        select
        from account_rules
        where account_rules.account_id = transactions.account_id
        and account_rules.descriptor_key = any(asked_keys)
        and account_rules.direction = asked_direction
        and account_rules.retired_at is null
    ))
    and in_force.review_status <> 'reviewed'
    and in_force.decided_by not in ('correction', 'import')
    and (review_items.reason is null or review_items.reason <> 'audit')
$$;
