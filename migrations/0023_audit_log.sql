-- Who did what that others must be able to hold against them, in an order that nobody can change unseen.

-- One privileged act a row, append-only. record is the canonical record as JSON text: place, time, actor, act, subject, detail.
-- hash is SHA-256 over the row before's hash (32 zero bytes before the first) and the record's bytes, so that whoever keeps one
-- hash elsewhere can tell whether anything up to it was changed, left out or put in. No record names an account, a transaction
-- or a descriptor: an account can be erased, and what was written here stays.
create table audit_log (
    seq bigint not null,
    record text not null,
    hash bytea not null,
    constraint audit_log_pkey primary key (seq),
    constraint audit_log_hash_length check (octet_length(hash) = 32)
);
create trigger audit_log_append_only before update or delete or truncate on audit_log
    for each statement execute function refuse_change();

-- Who acts in this database transaction, where the rows don't tell: `txcat.actor`, local to it. Whoever changes rows by hand
-- is named by the database user.
create function told_actor() returns text language sql stable as $$
    select coalesce(nullif(current_setting('txcat.actor', true), ''), 'database:' || current_user)
$$;

-- The lock is held until the end of the database transaction, so that seq has no gap and every hash follows the one before.
-- Triggers call this as the transaction commits (`initially deferred`): nobody waits for a row while holding it.
create function write_audit(actor text, act text, subject text, detail jsonb) returns void language plpgsql as $$
declare
    before audit_log%rowtype;
    entry text;
begin
    perform pg_advisory_xact_lock(8024);
    select * into before from audit_log order by seq desc limit 1;
    entry := jsonb_build_object(
        'seq', coalesce(before.seq, 0) + 1,
        'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'actor', actor,
        'act', act,
        'subject', subject,
        'detail', jsonb_strip_nulls(coalesce(detail, '{}'))
    )::text;
    insert into audit_log (seq, record, hash)
    values (
        coalesce(before.seq, 0) + 1,
        entry,
        sha256(coalesce(before.hash, decode(repeat('00', 32), 'hex')) || convert_to(entry, 'UTF8'))
    );
end
$$;

-- Keys and people.
create function audit_keys() returns trigger language plpgsql as $$
declare
    kind text := case when new.role is null then 'key' else 'person' end;
    detail jsonb := jsonb_build_object(
        'name', new.name, 'scopes', to_jsonb(new.scopes), 'role', new.role, 'expires_at', new.expires_at
    );
begin
    if tg_op = 'INSERT' then
        perform write_audit(told_actor(), kind || '.made', 'key:' || new.prefix, detail);
    elsif old.revoked_at is null and new.revoked_at is not null then
        perform write_audit(told_actor(), kind || '.revoked', 'key:' || new.prefix, detail);
    else
        perform write_audit(told_actor(), kind || '.changed', 'key:' || new.prefix, detail);
    end if;
    return null;
end
$$;
create constraint trigger api_keys_audited after insert or update on api_keys
    deferrable initially deferred for each row execute function audit_keys();

-- Rules: what decides rows before any engine is asked.
create function audit_rules() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        perform write_audit(told_actor(), 'rule.removed', 'rule:' || old.id, '{}');
    else
        perform write_audit(
            coalesce(nullif(current_setting('txcat.actor', true), ''), new.made_by),
            case
                when tg_op = 'INSERT' then 'rule.made'
                when new.retired_at is not null and old.retired_at is null then 'rule.retired'
                else 'rule.changed'
            end,
            'rule:' || new.id,
            jsonb_build_object(
                'category', new.category,
                'reach', case when new.account_id is null then 'merchant' else 'account_merchant' end
            )
        );
    end if;
    return null;
end
$$;
create constraint trigger account_rules_audited after insert or update or delete on account_rules
    deferrable initially deferred for each row execute function audit_rules();

-- What people did to merchants, which reaches every account.
create function audit_merchant_edits() returns trigger language plpgsql as $$
begin
    perform write_audit(new.made_by, 'merchant.' || new.kind, 'review_action:' || new.id, '{}');
    return null;
end
$$;
create constraint trigger review_actions_audited after insert on review_actions
    deferrable initially deferred for each row when (new.kind in ('rename', 'categorize', 'merge'))
    execute function audit_merchant_edits();

-- Taxonomies, and the end of a change of them.
create function audit_taxonomies() returns trigger language plpgsql as $$
begin
    perform write_audit(
        told_actor(), 'taxonomy.added', 'taxonomy:' || new.version,
        jsonb_build_object('name', new.name, 'categories', jsonb_array_length(new.categories))
    );
    return null;
end
$$;
create constraint trigger taxonomies_audited after insert on taxonomies
    deferrable initially deferred for each row execute function audit_taxonomies();

create function audit_taxonomy_migrations() returns trigger language plpgsql as $$
begin
    perform write_audit(
        new.concluded_by, 'taxonomy.concluded', 'recategorization:' || new.run_id,
        jsonb_build_object('from', new.from_taxonomy, 'to', new.to_taxonomy)
    );
    return null;
end
$$;
create constraint trigger taxonomy_migrations_audited after update on taxonomy_migrations
    deferrable initially deferred for each row when (old.concluded_at is null and new.concluded_at is not null)
    execute function audit_taxonomy_migrations();

-- Adapters: what there is, and each move of one. An account group is named without its accounts.
create function audit_adapters() returns trigger language plpgsql as $$
begin
    perform write_audit(
        new.registered_by, 'adapter.registered', 'adapter:' || new.id,
        jsonb_build_object('name', new.name, 'version', new.version, 'engine', new.engine)
    );
    return null;
end
$$;
create constraint trigger adapters_audited after insert on adapters
    deferrable initially deferred for each row execute function audit_adapters();

create function audit_adapter_moves() returns trigger language plpgsql as $$
begin
    perform write_audit(
        new.made_by, 'adapter.moved', 'adapter:' || new.adapter_id,
        jsonb_build_object(
            'from', new.from_state, 'to', new.to_state, 'share', new.share, 'overridden', new.overridden,
            'decision', new.id
        )
    );
    return null;
end
$$;
create constraint trigger adapter_decisions_audited after insert on adapter_decisions
    deferrable initially deferred for each row execute function audit_adapter_moves();

create function audit_account_groups() returns trigger language plpgsql as $$
declare
    moved record;
begin
    for moved in select account_group, count(*) as accounts from moved_accounts group by account_group loop
        perform write_audit(
            told_actor(),
            case when tg_op = 'DELETE' then 'account_group.left' else 'account_group.joined' end,
            'account_group:' || moved.account_group,
            jsonb_build_object('accounts', moved.accounts)
        );
    end loop;
    return null;
end
$$;
create trigger account_groups_added_audited after insert on account_groups
    referencing new table as moved_accounts for each statement execute function audit_account_groups();
create trigger account_groups_changed_audited after update on account_groups
    referencing new table as moved_accounts for each statement execute function audit_account_groups();
create trigger account_groups_removed_audited after delete on account_groups
    referencing old table as moved_accounts for each statement execute function audit_account_groups();

-- Recategorizations: begun, applied, undone, given up.
create function audit_recategorizations() returns trigger language plpgsql as $$
declare
    subject text := 'recategorization:' || new.id;
begin
    if tg_op = 'INSERT' then
        perform write_audit(new.made_by, 'recategorization.begun', subject, jsonb_build_object('rows', new.rows));
    elsif new.applied_at is distinct from old.applied_at then
        perform write_audit(
            new.applied_by, 'recategorization.applied', subject,
            jsonb_build_object('guards_overridden', new.override_reason is not null)
        );
    elsif new.undone_at is distinct from old.undone_at then
        perform write_audit(new.undone_by, 'recategorization.undone', subject, '{}');
    else
        perform write_audit(new.cancelled_by, 'recategorization.cancelled', subject, '{}');
    end if;
    return null;
end
$$;
create constraint trigger recategorizations_begun_audited after insert on recategorizations
    deferrable initially deferred for each row execute function audit_recategorizations();
create constraint trigger recategorizations_moved_audited
    after update of applied_at, undone_at, cancelled_at on recategorizations
    deferrable initially deferred for each row
    when (
        new.applied_at is distinct from old.applied_at
        or new.undone_at is distinct from old.undone_at
        or new.cancelled_at is distinct from old.cancelled_at
    )
    execute function audit_recategorizations();

-- Endpoints that are told of changes. An address may hold a secret, so the number names it.
create function audit_webhooks() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform write_audit(new.created_by, 'webhook.made', 'webhook:' || new.id, '{}');
    elsif tg_op = 'DELETE' then
        perform write_audit(told_actor(), 'webhook.removed', 'webhook:' || old.id, '{}');
    else
        perform write_audit(told_actor(), 'webhook.resumed', 'webhook:' || new.id, '{}');
    end if;
    return null;
end
$$;
create constraint trigger webhooks_audited after insert or delete on webhooks
    deferrable initially deferred for each row execute function audit_webhooks();
create constraint trigger webhooks_resumed_audited after update of paused_at on webhooks
    deferrable initially deferred for each row when (old.paused_at is not null and new.paused_at is null)
    execute function audit_webhooks();
