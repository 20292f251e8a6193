-- Accounts are erased, and rows are kept no longer than a deployment wants to.

-- Append-only holds against everything but an erasure, which says so for its database transaction. The audit log holds against
-- that too.
create or replace function refuse_change() returns trigger language plpgsql as $$
begin
    if tg_op <> 'TRUNCATE' and tg_table_name <> 'audit_log' and current_setting('txcat.erasing', true) = 'yes' then
        return null;
    end if;
    raise exception using
        errcode = 'restrict_violation',
        constraint = tg_table_name || '_append_only',
        message = 'rows of ' || tg_table_name || ' are never changed or removed';
end
$$;

-- One erased account a row. Which it was is not here: digest is SHA-256 over the salt and its identifier, so that who knows the
-- identifier can tell that it was erased, and who doesn't learns nothing without trying identifiers one by one.
create table erasures (
    id bigint generated always as identity,
    salt bytea not null,
    digest bytea not null,
    transactions bigint not null,
    labels bigint not null,
    rules bigint not null,
    datasets bigint[] not null,
    adapters bigint[] not null,
    made_by text not null,
    made_at timestamptz not null,
    constraint erasures_pkey primary key (id),
    constraint erasures_salt_length check (octet_length(salt) = 16),
    constraint erasures_digest_length check (octet_length(digest) = 32)
);

-- Rows behind a set, or behind what an adapter learned from, that were erased since: both still stand, and this marks them.
alter table datasets
    add column erased_rows bigint not null default 0;
alter table adapters
    add column erased_rows bigint not null default 0;

create function audit_erasures() returns trigger language plpgsql as $$
begin
    perform write_audit(
        new.made_by, 'account.erased', 'erasure:' || new.id,
        jsonb_build_object(
            'salt', encode(new.salt, 'hex'), 'digest', encode(new.digest, 'hex'), 'transactions', new.transactions,
            'labels', new.labels, 'rules', new.rules, 'datasets', to_jsonb(new.datasets), 'adapters', to_jsonb(new.adapters)
        )
    );
    return null;
end
$$;
create constraint trigger erasures_audited after insert on erasures
    deferrable initially deferred for each row execute function audit_erasures();

-- Removing a transaction asks every table that may refer to it, one row at a time: without these each question reads a table.
create index transactions_by_replaced_by on transactions (replaced_by) where replaced_by is not null;
create index in_force_by_prediction on in_force (prediction_id);
create index predictions_by_text on predictions (text_hash);
create index corrections_made_by_carried_from on corrections_made (carried_from) where carried_from is not null;
create index dataset_items_by_transaction on dataset_items (transaction_id);
create index second_labels_by_transaction on second_labels (transaction_id);
create index shadow_predictions_by_transaction on shadow_predictions (transaction_id);
create index recategorization_changes_by_transaction on recategorization_changes (transaction_id);
create index recategorization_failures_by_transaction on recategorization_failures (transaction_id);
create index recategorization_labels_by_transaction on recategorization_labels (transaction_id);
create index review_actions_by_rule on review_actions (rule_id) where rule_id is not null;
create index corrections_withdrawn_by_action on corrections_withdrawn (action_id);
