-- A change of the taxonomy is a recategorization: categories of the one are mapped to categories of the other, and what a
-- mapping splits is asked about.

-- Which taxonomies a run leads from and to. What people said up to upto_correction is in the old one. While shadow is set, answers
-- tell the category in both: from the first row that is applied until the migration is concluded, after which nothing is taken
-- back, or undone.
create table taxonomy_migrations (
    run_id bigint not null,
    from_taxonomy text not null,
    to_taxonomy text not null,
    upto_correction bigint not null,
    shadow boolean not null default false,
    concluded_by text,
    concluded_at timestamptz,
    constraint taxonomy_migrations_pkey primary key (run_id),
    constraint taxonomy_migrations_run_known foreign key (run_id) references recategorizations (id),
    constraint taxonomy_migrations_from_known foreign key (from_taxonomy) references taxonomies (version),
    constraint taxonomy_migrations_to_known foreign key (to_taxonomy) references taxonomies (version),
    constraint taxonomy_migrations_concluded_whole check ((concluded_by is null) = (concluded_at is null)),
    constraint taxonomy_migrations_concluded_ends_shadow check (concluded_at is null or not shadow)
);

-- What becomes of each category; one that is split stands once for every target. back says that the target comes from this
-- category alone, so that a later row's category can be told in the old taxonomy too.
create table taxonomy_mappings (
    run_id bigint not null,
    from_category text not null,
    to_category text not null,
    split boolean not null,
    back boolean not null,
    constraint taxonomy_mappings_pkey primary key (run_id, from_category, to_category),
    constraint taxonomy_mappings_run_known foreign key (run_id) references taxonomy_migrations (run_id)
);

-- What people said, in the words of a later taxonomy. Null where their category was split: then they are asked again, and
-- nobody learns from the old word meanwhile. The word itself stays in corrections_made, and an undo removes the row here.
create table corrections_mapped (
    run_id bigint not null,
    correction_id bigint not null,
    category text,
    constraint corrections_mapped_pkey primary key (correction_id, run_id),
    constraint corrections_mapped_run_known foreign key (run_id) references taxonomy_migrations (run_id),
    constraint corrections_mapped_correction_known foreign key (correction_id) references corrections_made (id)
);
create index corrections_mapped_by_run on corrections_mapped (run_id);

-- Rules as they were before a migration, and as it left them; without a category it retired the rule, whose category was split.
create table rules_mapped (
    run_id bigint not null,
    rule_id bigint not null,
    category_before text not null,
    category text,
    constraint rules_mapped_pkey primary key (run_id, rule_id),
    constraint rules_mapped_run_known foreign key (run_id) references taxonomy_migrations (run_id),
    constraint rules_mapped_rule_known foreign key (rule_id) references account_rules (id)
);

-- What people said and did not take back, in the words of the taxonomy in force.
create or replace view corrections as
select
    corrections_made.id,
    corrections_made.transaction_id,
    case when mapped.run_id is null then corrections_made.category else mapped.category end as category,
    corrections_made.source,
    corrections_made.scope,
    corrections_made.note,
    corrections_made.made_by,
    corrections_made.made_at,
    corrections_made.carried_from
from corrections_made
left join lateral (
    select
        corrections_mapped.run_id,
        corrections_mapped.category
    from corrections_mapped
    where corrections_mapped.correction_id = corrections_made.id
    order by corrections_mapped.run_id desc
    limit 1
) as mapped on true
where (mapped.run_id is null or mapped.category is not null)
and not exists (select from corrections_withdrawn where corrections_withdrawn.correction_id = corrections_made.id);
