-- Erasure and retention find what they look for without reading tables.
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
