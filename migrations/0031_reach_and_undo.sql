-- What a person did before a taxonomy was left is not taken back after: the words that would come back are of the old one.

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
