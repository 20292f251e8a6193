-- People may sign in by a provider of OpenID Connect: an admin links what the provider calls somebody to that person's key.

-- oidc_subject is the provider's `sub`, which is somebody's only together with the issuer. It goes over to the key that is put in
-- the place of this one.
alter table api_keys
    add column oidc_issuer text,
    add column oidc_subject text,
    add constraint api_keys_oidc_whole check ((oidc_issuer is null) = (oidc_subject is null)),
    add constraint api_keys_oidc_of_people check (oidc_subject is null or role is not null);
create unique index api_keys_oidc_once on api_keys (oidc_issuer, oidc_subject) where successor is null and revoked_at is null;

-- Sign-ins that have begun and not come back, for ten minutes. Coming back takes the row out, so that one is good once. The state
-- itself has only the browser; pkce_verifier goes to the provider, nonce must come back in what it signs.
create table oidc_sign_ins (
    state_hash bytea not null,
    nonce text not null,
    pkce_verifier text not null,
    begun_at timestamptz not null,
    constraint oidc_sign_ins_pkey primary key (state_hash),
    constraint oidc_sign_ins_state_length check (octet_length(state_hash) = 32)
);
create index oidc_sign_ins_by_age on oidc_sign_ins (begun_at);

-- Whom a provider's name lets in stands in the log with the rest.
create or replace function audit_keys() returns trigger language plpgsql as $$
declare
    kind text := case when new.role is null then 'key' else 'person' end;
    detail jsonb := jsonb_build_object(
        'name', new.name, 'scopes', to_jsonb(new.scopes), 'role', new.role, 'expires_at', new.expires_at,
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
