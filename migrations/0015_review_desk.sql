-- The analyst's desk: what waits is grouped by merchant and ranked, groups are leased, decisions leave a trail and can be
-- taken back.

-- Rows that one decision may cover: those of one descriptor key and direction. A row without a key stands alone, and so
-- does an answer drawn at random, whose judgement must not depend on its neighbours.
create function review_group_key(reason text, direction text, descriptor_key text, transaction_id text)
returns text language sql immutable as $$
    select case
        when reason = 'audit' then 'audit:' || transaction_id
        when descriptor_key = '' then 'alone:' || transaction_id
        else direction || ':' || descriptor_key
    end
$$;

-- What ranks an item stands on it: the doubt (0 to 1) about the answer and the amount it is about.
alter table review_items
    add column group_key text collate "C" not null default '',
    add column doubt real not null default 1,
    add column amount numeric(20, 4) not null default 0,
    add column currency text not null default '';
update review_items
set
    group_key = review_group_key(
        review_items.reason, transactions.direction, transactions.descriptor_key, transactions.id
    ),
    doubt = case when review_items.reason = 'unanswered' then 1 else 1 - coalesce(in_force.confidence, 0) end,
    amount = transactions.amount,
    currency = transactions.currency
from transactions
left join in_force on in_force.transaction_id = transactions.id
where transactions.id = review_items.transaction_id;
alter table review_items
    alter column group_key drop default,
    alter column doubt drop default,
    alter column amount drop default,
    alter column currency drop default,
    add constraint review_items_doubt_range check (doubt between 0 and 1);
create index review_items_by_group on review_items (group_key) where resolved_at is null;

-- What waits, by group, with what a wrong answer there may come to. Made from review_items by whoever asks for work, for
-- the groups that changed since. The lease says who works on it, and until when nobody else does.
create table review_groups (
    group_key text collate "C" not null,
    lane text not null,
    rows integer not null,
    at_risk double precision not null,
    rank double precision not null,
    opened_at timestamptz not null,
    claimed_by text,
    claimed_until timestamptz,
    escalated_by text,
    escalated_at timestamptz,
    escalation_note text,
    constraint review_groups_pkey primary key (group_key),
    constraint review_groups_lane_known check (lane in ('doubtful', 'audit')),
    constraint review_groups_rows_positive check (rows > 0),
    constraint review_groups_claim_has_end check ((claimed_by is null) = (claimed_until is null)),
    constraint review_groups_escalated_by_somebody check ((escalated_by is null) = (escalated_at is null))
);
create index review_groups_by_rank on review_groups (lane, rank desc, group_key);

-- Groups whose items changed since they were last counted. Only ever added to by those who change items, so that they
-- never wait for each other here.
create table review_groups_stale (
    group_key text collate "C" not null
);
insert into review_groups_stale (group_key) select distinct group_key from review_items where resolved_at is null;

create function note_stale_groups() returns trigger language plpgsql as $$
begin
    insert into review_groups_stale (group_key) select distinct group_key from changed;
    return null;
end
$$;
create function note_stale_groups_twice() returns trigger language plpgsql as $$
begin
    insert into review_groups_stale (group_key)
    select group_key from changed union select group_key from changed_from;
    return null;
end
$$;
create trigger review_items_added after insert on review_items referencing new table as changed
    for each statement execute function note_stale_groups();
create trigger review_items_removed after delete on review_items referencing old table as changed
    for each statement execute function note_stale_groups();
create trigger review_items_changed after update on review_items
    referencing new table as changed old table as changed_from
    for each statement execute function note_stale_groups_twice();

-- What an amount is like in each currency: money at risk is counted in typical amounts, so that currencies compare.
create table review_scales (
    currency text not null,
    typical numeric not null,
    measured_at timestamptz not null,
    constraint review_scales_pkey primary key (currency)
);

-- Groups that somebody passed over, and until when that person is not shown them again.
create table review_skips (
    group_key text collate "C" not null,
    skipped_by text not null,
    until timestamptz not null,
    constraint review_skips_pkey primary key (group_key, skipped_by)
);

-- A rule without an account holds for the merchant everywhere; one that was taken back keeps its row, because
-- predictions name it.
alter table account_rules
    alter column account_id drop not null,
    add column retired_at timestamptz;
create unique index account_rules_one_everywhere on account_rules (descriptor_key, direction) where account_id is null;
create index predictions_by_rule on predictions (rule_id) where rule_id is not null;

alter table in_force
    drop constraint in_force_decided_by_known,
    add constraint in_force_decided_by_known
        check (decided_by in ('correction', 'import', 'account_rule', 'merchant_rule', 'stage'));

-- The trail, append-only: who did what at the desk, when and why. A decision that is taken back is named by the row that
-- took it back. rule_before is what the rule said before, null where it was new.
create table review_actions (
    id bigint generated always as identity,
    kind text not null,
    transaction_id text collate "C",
    group_key text collate "C",
    category text,
    scope text,
    note text,
    correction_id bigint,
    rule_id bigint,
    rule_before text,
    undoes bigint,
    made_by text not null,
    made_at timestamptz not null,
    constraint review_actions_pkey primary key (id),
    constraint review_actions_kind_known check (kind in ('decide', 'undo', 'skip', 'escalate')),
    constraint review_actions_transaction_known foreign key (transaction_id) references transactions (id),
    constraint review_actions_rule_known foreign key (rule_id) references account_rules (id),
    constraint review_actions_undoes_known foreign key (undoes) references review_actions (id),
    constraint review_actions_undoes_by_undo check ((undoes is not null) = (kind = 'undo')),
    constraint review_actions_undone_once unique (undoes)
);
create index review_actions_by_time on review_actions (made_at, id);
create index review_actions_by_transaction on review_actions (transaction_id, id);
create trigger review_actions_append_only before update or delete or truncate on review_actions
    for each statement execute function refuse_change();

-- Each row that an action changed, as it was before and as it was left, append-only.
create table review_changes (
    action_id bigint not null,
    transaction_id text collate "C" not null,
    category_before text,
    decided_by_before text,
    review_status_before text,
    waited boolean not null,
    category_after text not null,
    decided_by_after text not null,
    review_status_after text not null,
    constraint review_changes_pkey primary key (action_id, transaction_id),
    constraint review_changes_action_known foreign key (action_id) references review_actions (id),
    constraint review_changes_transaction_known foreign key (transaction_id) references transactions (id)
);
create index review_changes_by_transaction on review_changes (transaction_id, action_id);
create trigger review_changes_append_only before update or delete or truncate on review_changes
    for each statement execute function refuse_change();

-- Decisions drawn at random for another person, who does not see the first: how far two people agree.
create table second_labels (
    action_id bigint not null,
    transaction_id text collate "C" not null,
    first_category text not null,
    first_by text not null,
    claimed_by text,
    claimed_until timestamptz,
    category text,
    made_by text,
    made_at timestamptz,
    constraint second_labels_pkey primary key (action_id),
    constraint second_labels_action_known foreign key (action_id) references review_actions (id),
    constraint second_labels_transaction_known foreign key (transaction_id) references transactions (id),
    constraint second_labels_by_another check (made_by <> first_by),
    constraint second_labels_made_whole check ((category is null) = (made_by is null) and (made_by is null) = (made_at is null))
);
create index second_labels_waiting on second_labels (action_id) where made_at is null;

-- What people said and took back: the row stays, and nobody reads it any more but the trail.
alter table corrections rename to corrections_made;
alter table corrections_made
    drop constraint corrections_scope_known,
    add constraint corrections_scope_known check (scope in ('transaction', 'account_merchant', 'merchant'));
create table corrections_withdrawn (
    correction_id bigint not null,
    action_id bigint not null,
    constraint corrections_withdrawn_pkey primary key (correction_id),
    constraint corrections_withdrawn_correction_known foreign key (correction_id) references corrections_made (id),
    constraint corrections_withdrawn_action_known foreign key (action_id) references review_actions (id)
);
create trigger corrections_withdrawn_append_only before update or delete or truncate on corrections_withdrawn
    for each statement execute function refuse_change();

-- What people said and did not take back.
create view corrections as
select
    corrections_made.id,
    corrections_made.transaction_id,
    corrections_made.category,
    corrections_made.source,
    corrections_made.scope,
    corrections_made.note,
    corrections_made.made_by,
    corrections_made.made_at,
    corrections_made.carried_from
from corrections_made
where not exists (select from corrections_withdrawn where corrections_withdrawn.correction_id = corrections_made.id);

-- People sign in with a key of their own; what they may do follows from the role. A key without one belongs to a program.
alter table api_keys
    add column role text,
    add constraint api_keys_role_known check (role in ('reader', 'analyst', 'admin'));

-- Who is signed in. Only the hash of the cookie is here; the key behind it can be revoked at any time.
create table sessions (
    token_hash bytea not null,
    key_prefix text not null,
    csrf text not null,
    begun_at timestamptz not null,
    expires_at timestamptz not null,
    constraint sessions_pkey primary key (token_hash),
    constraint sessions_key_known foreign key (key_prefix) references api_keys (prefix),
    constraint sessions_token_hash_length check (octet_length(token_hash) = 32)
);
