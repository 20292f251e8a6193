-- The accuracy tracker: what was measured, on which data, by which engine.

-- One scoring of one file by one stage. started_at is shared by all runs of one command, so that
-- "how often was this file looked at" is an honest count.
create table eval_runs (
    id bigint generated always as identity,
    started_at timestamptz not null,
    data_set text not null,
    file text not null,
    file_sha256 bytea not null,
    stage text not null,
    engine text not null,
    taxonomy text not null,
    label_budget integer,
    target double precision not null,
    rows integer not null,
    correct integer not null,
    known_rows integer not null,
    known_correct integer not null,
    macro_f1 double precision not null,
    ece double precision not null,
    coverage_at_target double precision not null,
    rows_per_s double precision not null,
    constraint eval_runs_pkey primary key (id),
    constraint eval_runs_file_sha256_length check (octet_length(file_sha256) = 32),
    constraint eval_runs_counts_add_up
        check (0 <= correct and correct <= rows and known_correct <= known_rows and known_rows <= rows)
);
create index eval_runs_by_file on eval_runs (file_sha256, started_at);
create index eval_runs_by_stage on eval_runs (data_set, file, stage, started_at);

-- One row of a scored file in one run: what paired comparisons of two runs read.
create table eval_items (
    run_id bigint not null,
    item_id text collate "C" not null,
    expected text not null,
    predicted text not null,
    confidence real not null,
    known_key boolean not null,
    constraint eval_items_pkey primary key (run_id, item_id),
    constraint eval_items_run_known foreign key (run_id) references eval_runs (id) on delete cascade
);

-- What was fitted for one engine on the development file: the confidence from which its answers are
-- accepted, and whatever the engine itself needs (a temperature, a curve).
create table calibrations (
    engine text not null,
    taxonomy text not null,
    accept_at real,
    target double precision not null,
    parameters jsonb not null,
    rows integer not null,
    fitted_on text not null,
    fitted_at timestamptz not null,
    constraint calibrations_pkey primary key (engine, taxonomy)
);
