-- Stored transactions categorized anew: previewed, applied, undone.

-- One run: what it looks at, who answers, and how far it came. A process that died goes on at the cursor. Only rows whose
-- answer was given by prediction `upto_prediction` are in it, so rows that come later are not. diff is what the preview found.
create table recategorizations (
    id bigint generated always as identity,
    scope jsonb not null,
    adapter text,
    engines text[] not null,
    reason text not null,
    made_by text not null,
    made_at timestamptz not null,
    upto_prediction bigint not null,
    rows bigint not null,
    phase text not null default 'predicting',
    cursor_posted_at timestamptz,
    cursor_id text collate "C",
    seen bigint not null default 0,
    people bigint not null default 0,
    rules bigint not null default 0,
    stopped text,
    diff jsonb,
    applied_by text,
    applied_at timestamptz,
    override_reason text,
    undone_by text,
    undone_at timestamptz,
    cancelled_by text,
    cancelled_at timestamptz,
    constraint recategorizations_pkey primary key (id),
    constraint recategorizations_phase_known
        check (phase in ('predicting', 'previewed', 'applying', 'applied', 'undoing', 'undone', 'cancelled')),
    constraint recategorizations_cursor_whole check ((cursor_posted_at is null) = (cursor_id is null)),
    constraint recategorizations_diff_when_previewed check (diff is not null or phase in ('predicting', 'cancelled'))
);

-- One transaction whose category in force would change. No answer yet: predictions holds only what was applied. `before` and
-- `review_before` are the rows of in_force and review_items as they were, for apply to find out that they still are and for undo
-- to put them back. `why` says who keeps a row from being applied ('skipped') or put back ('kept'): a person who has spoken,
-- or another answer.
create table recategorization_changes (
    run_id bigint not null,
    transaction_id text collate "C" not null,
    posted_at timestamptz not null,
    from_category text not null,
    to_category text not null,
    decision jsonb not null,
    before jsonb not null,
    review_before jsonb,
    state text not null default 'proposed',
    why text,
    constraint recategorization_changes_pkey primary key (run_id, transaction_id),
    constraint recategorization_changes_run_known foreign key (run_id) references recategorizations (id),
    constraint recategorization_changes_transaction_known foreign key (transaction_id) references transactions (id),
    constraint recategorization_changes_state_known
        check (state in ('proposed', 'skipped', 'applied', 'undone', 'kept')),
    constraint recategorization_changes_why_known check (why in ('person', 'changed')),
    constraint recategorization_changes_why_told check ((why is not null) = (state in ('skipped', 'kept')))
);
create index recategorization_changes_by_time on recategorization_changes (run_id, posted_at, transaction_id);
create index recategorization_changes_open on recategorization_changes (run_id, state, transaction_id)
    where state in ('proposed', 'applied');

-- Rows that could not be categorized, until a later try can: a run never drops them silently.
create table recategorization_failures (
    run_id bigint not null,
    transaction_id text collate "C" not null,
    why text not null,
    tries integer not null default 1,
    constraint recategorization_failures_pkey primary key (run_id, transaction_id),
    constraint recategorization_failures_run_known foreign key (run_id) references recategorizations (id),
    constraint recategorization_failures_transaction_known foreign key (transaction_id) references transactions (id)
);

-- What was in force in the scope as it was looked at, counted by category: what a collapse is measured against.
create table recategorization_categories (
    run_id bigint not null,
    category text not null,
    rows bigint not null,
    constraint recategorization_categories_pkey primary key (run_id, category),
    constraint recategorization_categories_run_known foreign key (run_id) references recategorizations (id)
);

-- Rows of the scope that a person has spoken about, with what was and what would now be answered: they never change, they tell
-- whether the change is for the better. at_random: labels that nobody chose for the answer, audits and imported ones.
create table recategorization_labels (
    run_id bigint not null,
    transaction_id text collate "C" not null,
    category text not null,
    before text not null,
    after text not null,
    at_random boolean not null,
    constraint recategorization_labels_pkey primary key (run_id, transaction_id),
    constraint recategorization_labels_run_known foreign key (run_id) references recategorizations (id),
    constraint recategorization_labels_transaction_known foreign key (transaction_id) references transactions (id)
);

-- Answers that a run brought into force. They are of old rows, and only of those that change: figures of live traffic leave
-- them out, what is in force is read as ever.
alter table predictions
    add column recategorization_id bigint,
    add constraint predictions_recategorization_known
        foreign key (recategorization_id) references recategorizations (id);
