-- How much a key may ask for.

-- Requests a minute, null for the deployment's default; rows sent a day (UTC), null for as many as come.
alter table api_keys
    add column requests_per_minute integer,
    add column rows_per_day bigint,
    add constraint api_keys_limits_positive check (requests_per_minute > 0 and rows_per_day > 0);

-- Rows that keys with such a limit sent, day by day, across all servers. Counted before the rows are looked at, so that nobody
-- passes the limit with two calls at once. By name, so that a rotated key goes on where the one before it stood.
create table key_usage (
    key_name text not null,
    day date not null,
    rows bigint not null,
    constraint key_usage_pkey primary key (key_name, day),
    constraint key_usage_rows_positive check (rows > 0)
);
