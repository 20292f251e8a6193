-- How much a key may ask for stands in the log with what it may do.
create or replace function audit_keys() returns trigger language plpgsql as $$
declare
    kind text := case when new.role is null then 'key' else 'person' end;
    detail jsonb := jsonb_build_object(
        'name', new.name, 'scopes', to_jsonb(new.scopes), 'role', new.role, 'expires_at', new.expires_at,
        'requests_per_minute', new.requests_per_minute, 'rows_per_day', new.rows_per_day,
        'oidc_issuer', new.oidc_issuer, 'oidc_subject', new.oidc_subject
    );
begin
    if tg_op = 'INSERT' then
        perform write_audit(told_actor(), kind || '.made', 'key:' || new.prefix, detail);
    elsif old.revoked_at is null and new.revoked_at is not null then
        perform write_audit(told_actor(), kind || '.revoked', 'key:' || new.prefix, detail);
    elsif new.oidc_subject is distinct from old.oidc_subject or new.oidc_issuer is distinct from old.oidc_issuer then
        perform write_audit(
            told_actor(), case when new.oidc_subject is null then 'person.unlinked' else 'person.linked' end,
            'key:' || new.prefix, detail
        );
    else
        perform write_audit(told_actor(), kind || '.changed', 'key:' || new.prefix, detail);
    end if;
    return null;
end
$$;
