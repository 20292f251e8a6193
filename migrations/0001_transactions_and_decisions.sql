-- The way of a transaction: what came in, what was said about it, and what is in force.
-- Identifiers compare byte by byte (collate "C"), as they do in the code that folds histories.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception using
        errcode = 'restrict_violation',
        constraint = tg_table_name || '_append_only',
        message = 'rows of ' || tg_table_name || ' are never changed or removed';
end
$$;

-- One row for each statement line an institution sent, exactly as it told it. The caller's id makes
-- a repeated call harmless; content_hash tells a repetition from a contradiction. A posted row may
-- succeed a pending one: the pending row stays for the record and leaves lists and histories.
create table transactions (
    id text collate "C" not null,
    account_id text collate "C" not null,
    posted_at timestamptz not null,
    amount numeric(20, 4) not null,
    currency text not null,
    direction text not null,
    descriptor text not null,
    descriptor_key text collate "C" not null,
    mcc text,
    country text,
    channel text,
    counterparty text,
    status text not null,
    replaces text collate "C",
    replaced_by text collate "C",
    content_hash bytea not null,
    received_at timestamptz not null,
    constraint transactions_pkey primary key (id),
    constraint transactions_amount_not_negative check (amount >= 0),
    constraint transactions_currency_form check (currency ~ '^[A-Z]{3}$'),
    constraint transactions_direction_known check (direction in ('debit', 'credit')),
    constraint transactions_mcc_form check (mcc ~ '^[0-9]{4}$'),
    constraint transactions_country_form check (country ~ '^[A-Z]{2}$'),
    constraint transactions_status_known check (status in ('pending', 'posted')),
    constraint transactions_content_hash_length check (octet_length(content_hash) = 32),
    constraint transactions_replaces_other check (replaces <> id),
    constraint transactions_replaces_known foreign key (replaces) references transactions (id),
    constraint transactions_replaced_by_known foreign key (replaced_by) references transactions (id)
);
create unique index transactions_replaced_once on transactions (replaces) where replaces is not null;
-- Lists, newest first.
create index transactions_by_time on transactions (posted_at, id) where replaced_by is null;
-- An account's history, and its lists.
create index transactions_by_account on transactions (account_id, posted_at, id) where replaced_by is null;
-- Every visit of one merchant.
create index transactions_by_key on transactions (descriptor_key, posted_at, id) where replaced_by is null;

-- Each text that an engine saw, once, under its hash: what makes a prediction reproducible.
create table rendered_texts (
    hash bytea not null,
    text text not null,
    constraint rendered_texts_pkey primary key (hash),
    constraint rendered_texts_hash_length check (octet_length(hash) = 16)
);
create trigger rendered_texts_append_only before update or delete or truncate on rendered_texts
    for each statement execute function refuse_change();

-- "This account's rows with this key are that": the memory a correction leaves, obeyed from the next
-- transaction on. The latest correction wins; the corrections themselves keep the past.
create table account_rules (
    id bigint generated always as identity,
    account_id text collate "C" not null,
    descriptor_key text collate "C" not null,
    direction text not null,
    category text not null,
    made_by text not null,
    made_at timestamptz not null,
    constraint account_rules_pkey primary key (id),
    constraint account_rules_one_each unique (account_id, descriptor_key, direction),
    constraint account_rules_key_not_empty check (descriptor_key <> ''),
    constraint account_rules_direction_known check (direction in ('debit', 'credit'))
);

-- What engines said, append-only: corrections stand beside predictions, so accuracy is a query over
-- the pair and no history is rewritten. Names the engine and the text it saw.
create table predictions (
    id bigint generated always as identity,
    transaction_id text collate "C" not null,
    category text not null,
    confidence real not null,
    alternatives jsonb not null,
    evidence jsonb not null,
    stage text not null,
    engine text not null,
    taxonomy text not null,
    text_hash bytea not null,
    merchant_id text,
    rule_id bigint,
    made_at timestamptz not null,
    constraint predictions_pkey primary key (id),
    constraint predictions_transaction_known foreign key (transaction_id) references transactions (id),
    constraint predictions_text_known foreign key (text_hash) references rendered_texts (hash),
    constraint predictions_rule_known foreign key (rule_id) references account_rules (id),
    constraint predictions_confidence_range check (confidence between 0 and 1)
);
create index predictions_by_transaction on predictions (transaction_id, id);
create trigger predictions_append_only before update or delete or truncate on predictions
    for each statement execute function refuse_change();

-- What people said, append-only. source tells a correction made here from a label that came with
-- imported data. When a posted row succeeds a pending one, the pending row's labels are copied and
-- carried_from names where they were made.
create table corrections (
    id bigint generated always as identity,
    transaction_id text collate "C" not null,
    category text not null,
    source text not null,
    scope text not null,
    note text,
    made_by text not null,
    made_at timestamptz not null,
    carried_from text collate "C",
    constraint corrections_pkey primary key (id),
    constraint corrections_transaction_known foreign key (transaction_id) references transactions (id),
    constraint corrections_carried_from_known foreign key (carried_from) references transactions (id),
    constraint corrections_source_known check (source in ('correction', 'import')),
    constraint corrections_scope_known check (scope in ('transaction', 'account_merchant'))
);
create index corrections_by_transaction on corrections (transaction_id, id);
create trigger corrections_append_only before update or delete or truncate on corrections
    for each statement execute function refuse_change();

-- The category that holds now, one row for each decided transaction, so that lists, filters and the
-- review queue read an index and not the whole past. A correction beats a label that came with the
-- data, that beats an account rule, that beats the stage. posted_at is the transaction's (it never
-- changes) for the keyset.
create table in_force (
    transaction_id text collate "C" not null,
    posted_at timestamptz not null,
    category text not null,
    decided_by text not null,
    prediction_id bigint,
    confidence real,
    review_status text not null,
    constraint in_force_pkey primary key (transaction_id),
    constraint in_force_transaction_known foreign key (transaction_id) references transactions (id),
    constraint in_force_prediction_known foreign key (prediction_id) references predictions (id),
    constraint in_force_decided_by_known check (decided_by in ('correction', 'import', 'account_rule', 'stage')),
    constraint in_force_review_status_known check (review_status in ('accepted', 'pending', 'reviewed'))
);
create index in_force_by_category on in_force (category, posted_at, transaction_id);
create index in_force_awaiting_review on in_force (posted_at, transaction_id) where review_status = 'pending';

-- Why a transaction waits for a person's eye, since when, and what ended the wait.
create table review_items (
    transaction_id text collate "C" not null,
    reason text not null,
    opened_at timestamptz not null,
    resolved_at timestamptz,
    resolved_by text,
    constraint review_items_pkey primary key (transaction_id),
    constraint review_items_transaction_known foreign key (transaction_id) references transactions (id)
);

-- The merchant directory, compiled from public sources and widened by hand. Read whole into memory;
-- table_versions tells the readers when to read again.
create table merchants (
    id text collate "C" not null,
    name text not null,
    aliases text[] not null,
    kind text not null,
    category text,
    countries text[] not null,
    wikidata text,
    source text not null,
    constraint merchants_pkey primary key (id),
    constraint merchants_name_not_empty check (name <> '')
);

-- A number for each table that is kept in memory somewhere, raised by every statement that changes it.
create table table_versions (
    table_name text not null,
    version bigint not null,
    constraint table_versions_pkey primary key (table_name)
);
insert into table_versions (table_name, version) values ('merchants', 0);

create function raise_table_version() returns trigger language plpgsql as $$
begin
    update table_versions set version = version + 1 where table_name = tg_table_name;
    return null;
end
$$;
create trigger merchants_version after insert or update or delete or truncate on merchants
    for each statement execute function raise_table_version();

-- Every version of the closed set of categories that answers came from: old predictions stay readable.
create table taxonomies (
    version text not null,
    name text not null,
    categories jsonb not null,
    synced_at timestamptz not null,
    constraint taxonomies_pkey primary key (version)
);

-- API keys. The secret is shown once, when it is made; here is only its SHA-256. A revoked key keeps
-- its row, so that what it did stays attributable.
create table api_keys (
    prefix text not null,
    name text not null,
    secret_hash bytea not null,
    scopes text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    constraint api_keys_pkey primary key (prefix),
    constraint api_keys_name_once unique (name),
    constraint api_keys_secret_hash_length check (octet_length(secret_hash) = 32),
    constraint api_keys_scopes_known
        check (scopes <@ array['ingest', 'read', 'review', 'batch', 'admin'] and cardinality(scopes) > 0)
);
