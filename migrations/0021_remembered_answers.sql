-- Work is done once per distinct input: what an engine said is remembered by what its answer rests on.

-- Engines whose answers are remembered, by name and content hash, and when that was last of use: another version of an
-- engine is another row here, so nothing has to be invalidated; what nobody used for long is forgotten whole.
create table remembered_engines (
    id bigint generated always as identity,
    engine text not null,
    used_at timestamptz not null,
    constraint remembered_engines_pkey primary key (id),
    constraint remembered_engines_once unique (engine)
);

-- What an engine said, before calibration, of rows whose input has this hash: SHA-256 of all that the engine looks at,
-- shortened to 128 bits.
create table remembered_answers (
    engine_id bigint not null,
    input bytea not null,
    answer jsonb not null,
    constraint remembered_answers_pkey primary key (engine_id, input),
    constraint remembered_answers_engine_known
        foreign key (engine_id) references remembered_engines (id) on delete cascade,
    constraint remembered_answers_input_length check (octet_length(input) = 16)
);

-- A run walks its scope account by account, so that neighbours share their histories; one that was under way in the order of
-- time begins its preview anew. from_memory, from_store and computed count where its answers came from. chunk_cursor is the
-- last change that was applied or put back, so that no chunk walks over those before it.
delete from recategorization_changes
using recategorizations
where recategorizations.id = recategorization_changes.run_id
and recategorizations.phase = 'predicting';
delete from recategorization_labels
using recategorizations
where recategorizations.id = recategorization_labels.run_id
and recategorizations.phase = 'predicting';
delete from recategorization_categories
using recategorizations
where recategorizations.id = recategorization_categories.run_id
and recategorizations.phase = 'predicting';
delete from recategorization_failures
using recategorizations
where recategorizations.id = recategorization_failures.run_id
and recategorizations.phase = 'predicting';
update recategorizations
set
    cursor_posted_at = null,
    cursor_id = null,
    seen = 0,
    people = 0,
    rules = 0
where phase = 'predicting';
alter table recategorizations
    add column cursor_account_id text collate "C",
    add column from_memory bigint not null default 0,
    add column from_store bigint not null default 0,
    add column computed bigint not null default 0,
    add column chunk_cursor text collate "C";
update recategorizations
set
    cursor_account_id = transactions.account_id
from transactions
where transactions.id = recategorizations.cursor_id;
alter table recategorizations
    drop constraint recategorizations_cursor_whole,
    add constraint recategorizations_cursor_whole check (
        (cursor_posted_at is null) = (cursor_id is null)
        and (cursor_account_id is null) = (cursor_id is null)
    );

-- Chunks go by chunk_cursor along the primary key. Without an index on the state, a change of state touches no index.
drop index recategorization_changes_open;
alter table recategorization_changes set (fillfactor = 60);
