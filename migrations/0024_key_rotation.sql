-- Keys are rotated with an overlap, and signing in is locked for a while after failures.

-- A key that is rotated names its successor, which has its name, and ends after the overlap. So names are taken by the last of
-- them alone.
alter table api_keys
    add column successor text,
    add constraint api_keys_successor_known
        foreign key (successor) references api_keys (prefix) deferrable initially deferred,
    drop constraint api_keys_name_once;
create unique index api_keys_name_once on api_keys (name) where successor is null;

-- Wrong secrets for a person's key, in a row: five of them lock it for a quarter of an hour. Only keys that exist have a row.
create table sign_in_failures (
    key_prefix text not null,
    failures integer not null,
    last_at timestamptz not null,
    constraint sign_in_failures_pkey primary key (key_prefix),
    constraint sign_in_failures_key_known foreign key (key_prefix) references api_keys (prefix),
    constraint sign_in_failures_positive check (failures > 0)
);

create function audit_sign_in_locks() returns trigger language plpgsql as $$
begin
    perform write_audit(told_actor(), 'sign_in.locked', 'key:' || new.key_prefix, '{}');
    return null;
end
$$;
create constraint trigger sign_in_failures_audited after insert or update on sign_in_failures
    deferrable initially deferred for each row when (new.failures = 5)
    execute function audit_sign_in_locks();
