-- Adapters as products: what there is, where each stands, on what evidence, and what was decided.

-- One trained adapter. Its engine names it in every prediction it makes. Which share of the accounts a
-- shadow or canary sees stands here; a champion sees all that nobody else takes. last_label is the newest
-- correction of then: later ones are labels that came since, whatever day they are about.
create table adapters (
    id bigint generated always as identity,
    name text not null,
    version integer not null,
    engine text not null,
    taxonomy text not null,
    account_group text not null,
    base text not null,
    base_sha256 text not null,
    label_manifest text,
    last_label bigint not null,
    facts jsonb not null,
    state text not null,
    share real not null,
    state_since timestamptz not null,
    registered_by text not null,
    registered_at timestamptz not null,
    constraint adapters_pkey primary key (id),
    constraint adapters_version_once unique (name, version),
    constraint adapters_engine_once unique (engine),
    constraint adapters_name_form check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint adapters_account_group_form check (account_group ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    constraint adapters_state_known check (state in ('candidate', 'shadow', 'canary', 'champion', 'retired')),
    constraint adapters_share_range check (share between 0 and 1)
);
-- Two servers never disagree about who answers.
create unique index adapters_one_champion on adapters (taxonomy, account_group) where state = 'champion';
create unique index adapters_one_canary on adapters (taxonomy, account_group) where state = 'canary';

-- The files of an adapter's folder: every server of a database gets the same ones, whatever disk the
-- adapter was trained on.
create table adapter_files (
    adapter_id bigint not null,
    path text not null,
    content bytea not null,
    constraint adapter_files_pkey primary key (adapter_id, path),
    constraint adapter_files_adapter_known foreign key (adapter_id) references adapters (id)
);

-- What the promotion gate measured, append-only: an adapter and, where there is one, the champion of then
-- on the same rows.
create table adapter_gates (
    id bigint generated always as identity,
    adapter_id bigint not null,
    champion_id bigint,
    data_set text not null,
    rows integer not null,
    passed boolean not null,
    report jsonb not null,
    made_by text not null,
    made_at timestamptz not null,
    constraint adapter_gates_pkey primary key (id),
    constraint adapter_gates_adapter_known foreign key (adapter_id) references adapters (id),
    constraint adapter_gates_champion_known foreign key (champion_id) references adapters (id),
    constraint adapter_gates_rows_positive check (rows > 0)
);
create index adapter_gates_by_adapter on adapter_gates (adapter_id, id);
create trigger adapter_gates_append_only before update or delete or truncate on adapter_gates
    for each statement execute function refuse_change();

-- Every change of an adapter's state, append-only, with the numbers it rests on. gate_id names the gate it
-- passed; where a person overrode the gate, reason says why.
create table adapter_decisions (
    id bigint generated always as identity,
    adapter_id bigint not null,
    from_state text,
    to_state text not null,
    share real not null,
    gate_id bigint,
    overridden boolean not null,
    reason text not null,
    numbers jsonb not null,
    made_by text not null,
    made_at timestamptz not null,
    constraint adapter_decisions_pkey primary key (id),
    constraint adapter_decisions_adapter_known foreign key (adapter_id) references adapters (id),
    constraint adapter_decisions_gate_known foreign key (gate_id) references adapter_gates (id),
    constraint adapter_decisions_reason_given check (reason <> '')
);
create index adapter_decisions_by_adapter on adapter_decisions (adapter_id, id);
create trigger adapter_decisions_append_only before update or delete or truncate on adapter_decisions
    for each statement execute function refuse_change();

-- Accounts that get another champion than everybody else: a product, a country, a segment.
create table account_groups (
    account_id text collate "C" not null,
    account_group text not null,
    constraint account_groups_pkey primary key (account_id),
    constraint account_groups_form check (account_group ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$')
);

-- What a shadow would have said: compared with the champion and with people, never in force.
create table shadow_predictions (
    adapter_id bigint not null,
    transaction_id text collate "C" not null,
    category text not null,
    confidence real not null,
    made_at timestamptz not null,
    constraint shadow_predictions_pkey primary key (adapter_id, transaction_id),
    constraint shadow_predictions_adapter_known foreign key (adapter_id) references adapters (id),
    constraint shadow_predictions_transaction_known foreign key (transaction_id) references transactions (id),
    constraint shadow_predictions_confidence_range check (confidence between 0 and 1)
);

-- How an engine does on live traffic.
create index predictions_by_engine on predictions (engine, made_at);

-- Training again is due: why, with what, and what came of it. One open plan an adapter.
create table retraining_plans (
    id bigint generated always as identity,
    adapter_id bigint not null,
    reasons jsonb not null,
    opened_at timestamptz not null,
    closed_at timestamptz,
    closed_by bigint,
    constraint retraining_plans_pkey primary key (id),
    constraint retraining_plans_adapter_known foreign key (adapter_id) references adapters (id),
    constraint retraining_plans_closed_by_known foreign key (closed_by) references adapters (id)
);
create unique index retraining_plans_one_open on retraining_plans (adapter_id) where closed_at is null;

-- Servers hear at once that another adapter answers.
create function tell_adapters() returns trigger language plpgsql as $$
begin
    perform pg_notify('adapters', '');
    return null;
end
$$;
create trigger adapters_told after insert or update on adapters
    for each statement execute function tell_adapters();
create trigger account_groups_told after insert or update or delete or truncate on account_groups
    for each statement execute function tell_adapters();
