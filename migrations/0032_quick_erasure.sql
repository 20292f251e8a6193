-- Erasure and retention find what they look for without reading tables, and what rests on labels hears that some have gone.
-- Whoever has many millions of rows can make these indexes beforehand with `create index concurrently`.

-- Labelled rows are examples, which answers cite by their text. Only answers that cite any are in here: those of an adapter are none.
create index if not exists predictions_by_example
    on predictions using gin (jsonb_path_query_array(evidence, '$[*].text'))
    where evidence @> '[{"kind": "example"}]';
create index if not exists recategorization_changes_by_example
    on recategorization_changes using gin (jsonb_path_query_array(decision, '$.prediction.evidence[*].text'))
    where decision @> '{"prediction": {"evidence": [{"kind": "example"}]}}';
-- Whether another row has the same text. Texts are long, and an index of hashes is small.
create index if not exists transactions_by_descriptor
    on transactions (hashtextextended(descriptor, 0))
    where replaced_by is null;
-- What was done to a group as a whole names it by its key alone.
create index if not exists review_actions_by_group on review_actions (group_key) where transaction_id is null;

-- Labels that are taken back, and labels that go with their rows: whoever keeps labels in memory reads them again.
insert into table_versions (table_name, version) values ('corrections_made', 0), ('corrections_withdrawn', 0);
create trigger corrections_made_version after delete on corrections_made
    for each statement execute function raise_table_version();
create trigger corrections_withdrawn_version after insert on corrections_withdrawn
    for each statement execute function raise_table_version();

-- An erasure takes the answers out of idempotent_answers and leaves the keys: what was asked is not done twice. A request that
-- was under way then keeps no answer either. A release that does not know the column gives an empty answer again.
alter table idempotent_answers add column erased boolean not null default false;
