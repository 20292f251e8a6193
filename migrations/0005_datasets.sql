-- Labelled sets and what the label gate found: training asks for a set that passed, and a page shows why
-- one did not.

-- One labelled set, as it was when it was checked: the rows' hash tells whether it still is that set. It
-- comes from a folder, or was made here from what people said.
create table datasets (
    id bigint generated always as identity,
    name text not null,
    source text not null,
    taxonomy text not null,
    rows integer not null,
    rows_sha256 bytea not null,
    made_by text not null,
    made_at timestamptz not null,
    constraint datasets_pkey primary key (id),
    constraint datasets_once unique (name, rows_sha256, taxonomy),
    constraint datasets_name_not_empty check (name <> ''),
    constraint datasets_source_known check (source in ('folder', 'store')),
    constraint datasets_rows_not_negative check (rows >= 0),
    constraint datasets_rows_sha256_length check (octet_length(rows_sha256) = 32)
);

-- The rows of a set that was made here, with the labels as they were then: corrections go on, and what was
-- trained on must stay known. kept tells what passed the check that made it.
create table dataset_items (
    dataset_id bigint not null,
    transaction_id text collate "C" not null,
    category text not null,
    labelled_by text not null,
    kept boolean not null,
    constraint dataset_items_pkey primary key (dataset_id, transaction_id),
    constraint dataset_items_dataset_known foreign key (dataset_id) references datasets (id) on delete cascade,
    constraint dataset_items_transaction_known foreign key (transaction_id) references transactions (id)
);

-- What one check of a set came to, append-only: a set that is checked again, against other traffic, gets
-- another report. The manifest is what training reads; the report is what a page shows.
create table label_reports (
    id bigint generated always as identity,
    dataset_id bigint not null,
    passed boolean not null,
    quarantined integer not null,
    manifest_sha256 bytea not null,
    manifest jsonb not null,
    report jsonb not null,
    checked_at timestamptz not null,
    constraint label_reports_pkey primary key (id),
    constraint label_reports_dataset_known foreign key (dataset_id) references datasets (id),
    constraint label_reports_quarantined_not_negative check (quarantined >= 0),
    constraint label_reports_manifest_sha256_length check (octet_length(manifest_sha256) = 32)
);
create index label_reports_by_dataset on label_reports (dataset_id, id);
create trigger label_reports_append_only before update or delete or truncate on label_reports
    for each statement execute function refuse_change();
