-- What every call to a chat model took and cost. `reserved` is what it could cost, and counts until the call is
-- settled; `cost` is null where the provider's bill is not known. No prompt and no answer is kept.
create table model_calls (
    id bigint generated always as identity,
    model text not null,
    rows integer not null,
    prompt_tokens integer not null default 0,
    cached_tokens integer not null default 0,
    cache_written_tokens integer not null default 0,
    completion_tokens integer not null default 0,
    currency text not null,
    reserved numeric not null,
    cost numeric,
    doubtful_attempts integer not null default 0,
    outcome text not null,
    begun_at timestamptz not null,
    settled_at timestamptz,
    constraint model_calls_pkey primary key (id),
    constraint model_calls_outcome_known check (outcome in ('under_way', 'answered', 'failed', 'given_up')),
    constraint model_calls_tokens_positive check (
        prompt_tokens >= 0 and cached_tokens >= 0 and cache_written_tokens >= 0 and completion_tokens >= 0
    )
);
create index model_calls_by_time on model_calls (begun_at, id);

-- What a stage's answers cost, beside how right they are: of 1,000 transactions; null where nobody bills for them.
alter table eval_runs
    add column cost_per_1000 numeric,
    add column currency text,
    add constraint eval_runs_cost_has_currency check ((cost_per_1000 is null) = (currency is null));

-- What a day's calls cost, with what is reserved for those under way: budgets are held against this, one row
-- a day, so that a call is let through or not by reading a month of rows.
create table model_spend (
    day date not null,
    currency text not null,
    spent numeric not null,
    constraint model_spend_pkey primary key (day, currency)
);
