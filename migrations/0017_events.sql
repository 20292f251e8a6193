-- What changed of transactions, for whoever wants to know of it: a feed, and endpoints that are told.

-- One change of a transaction's category in force, append-only, written by triggers in the database transaction that made
-- the change. seq is the order of writing, in which changes may come to light late; id is the place in the feed, given
-- without a gap once a change is there for everybody, so that whoever has read up to an id has missed nothing. `before`
-- and `after` are null where nothing is in force. The time is the server's.
create table events (
    seq bigint generated always as identity,
    id bigint,
    kind text not null,
    transaction_id text collate "C" not null,
    before text,
    after text,
    cause text not null,
    recategorization_id bigint,
    at timestamptz not null default clock_timestamp(),
    constraint events_pkey primary key (seq),
    constraint events_place unique (id),
    constraint events_kind_known check (kind in ('transaction.category_changed')),
    constraint events_cause_known
        check (cause in ('answer', 'correction', 'import', 'rule', 'decision_undone', 'recategorization',
            'recategorization_undone')),
    constraint events_changed check (before is distinct from after)
);
create index events_without_place on events (seq) where id is null;
create index events_by_transaction on events (transaction_id, seq);
create trigger events_append_only before delete or truncate on events
    for each statement execute function refuse_change();
create trigger events_unchanging
    before update of seq, kind, transaction_id, before, after, cause, recategorization_id, at on events
    for each statement execute function refuse_change();

-- Why the rows of a database transaction change, where the rows don't tell: `cause` or `cause:run`, local to it.
create function told_cause() returns text language sql stable as $$
    select nullif(current_setting('txcat.cause', true), '')
$$;

create function note_category_changes() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        insert into events (kind, transaction_id, before, after, cause, recategorization_id)
        select
            'transaction.category_changed',
            changed.transaction_id,
            changed_from.category,
            changed.category,
            coalesce(
                split_part(told_cause(), ':', 1),
                case changed.decided_by
                    when 'correction' then 'correction'
                    when 'import' then 'import'
                    when 'stage' then case when predictions.recategorization_id is null then 'answer' else 'recategorization' end
                    else 'rule'
                end
            ),
            coalesce(
                nullif(split_part(told_cause(), ':', 2), '')::bigint,
                case when changed.decided_by = 'stage' then predictions.recategorization_id end
            )
        from changed
        join changed_from on changed_from.transaction_id = changed.transaction_id
        left join predictions on predictions.id = changed.prediction_id
        where changed.category <> changed_from.category
        order by changed.transaction_id;
    elsif tg_op = 'INSERT' then
        -- The first answer of a stage or rule goes to whoever asks for it.
        insert into events (kind, transaction_id, after, cause)
        select
            'transaction.category_changed',
            changed.transaction_id,
            changed.category,
            coalesce(told_cause(), changed.decided_by)
        from changed
        where changed.decided_by in ('correction', 'import')
        order by changed.transaction_id;
    else
        -- A row whose place a later one has taken is told of as that one.
        insert into events (kind, transaction_id, before, cause)
        select
            'transaction.category_changed',
            changed_from.transaction_id,
            changed_from.category,
            coalesce(told_cause(), 'decision_undone')
        from changed_from
        join transactions on transactions.id = changed_from.transaction_id
        where transactions.replaced_by is null
        order by changed_from.transaction_id;
    end if;
    if found then
        perform pg_notify('txcat_events', '');
    end if;
    return null;
end
$$;
create trigger in_force_added after insert on in_force referencing new table as changed
    for each statement execute function note_category_changes();
create trigger in_force_changed after update on in_force referencing old table as changed_from new table as changed
    for each statement execute function note_category_changes();
create trigger in_force_removed after delete on in_force referencing old table as changed_from
    for each statement execute function note_category_changes();
