-- An endpoint that is told of events, in the order of the feed. `delivered` is the last event that it took: what comes after
-- is told again until it takes that. failures counts tries in a row; one that fails too often is paused until a person
-- resumes it. The secret signs what is sent, so it is kept as it is; it is shown once.
create table webhooks (
    id bigint generated always as identity,
    url text not null,
    secret text not null,
    created_by text not null,
    created_at timestamptz not null,
    delivered bigint not null,
    delivered_at timestamptz,
    failures integer not null default 0,
    last_error text,
    next_try_at timestamptz,
    paused_at timestamptz,
    constraint webhooks_pkey primary key (id),
    constraint webhooks_error_of_failures check ((failures = 0) = (last_error is null))
);
