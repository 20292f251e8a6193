-- Everything that figures and slices are made of stands beside an answer, so that every aggregate is a query.

-- What makes a run repeatable, and whose answers they are. A peer is another program whose answers were imported: it has
-- no target, and its confidences, where it tells any, mean nothing here.
alter table eval_runs
    add column peer boolean not null default false,
    add column seed bigint,
    add column code_version text,
    add column labels_sha256 bytea,
    alter column target drop not null,
    alter column ece drop not null,
    alter column coverage_at_target drop not null,
    alter column rows_per_s drop not null,
    add constraint eval_runs_labels_sha256_length check (octet_length(labels_sha256) = 32),
    add constraint eval_runs_stage_has_figures check (
        peer or (target is not null and ece is not null and coverage_at_target is not null and rows_per_s is not null)
    );

-- What the row is (for slices) and what else the engine said. Runs from before know none of it: null.
-- gold_rank is 1 where the answer is right, 2 and more where the truth is among the alternatives; gold_probability is what
-- the engine gave the truth, 0 where it did not name it, null where it tells no probabilities. latency_ms, tokens and cost
-- are the row's share of what its batch and its run took. error says why there is no answer.
alter table eval_items
    add column descriptor_key text collate "C",
    add column direction text,
    add column amount numeric,
    add column country text,
    add column posted_at timestamptz,
    add column account_age_days integer,
    add column head_merchant boolean,
    add column alternatives jsonb,
    add column gold_rank integer,
    add column gold_probability real,
    add column decided_by text,
    add column latency_ms real,
    add column tokens integer,
    add column cost numeric,
    add column error text,
    add constraint eval_items_direction_known check (direction in ('debit', 'credit')),
    add constraint eval_items_gold_probability_range check (gold_probability between 0 and 1);
update eval_items set gold_rank = 1 where predicted = expected;
update eval_items set error = 'no answer' where predicted = 'uncategorized';
