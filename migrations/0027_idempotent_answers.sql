-- A request that comes again with its idempotency key is answered as it was the first time.

-- What was answered to requests with such a key, for 24 hours. id is SHA-256 over the caller, the method, the path and the key, so
-- that a caller meets its own answers alone and an index entry has one length. A row without a status is a request under way, of
-- whoever wrote begun_at; where that was too long ago, it died, and the same request may take the row over. Answers tell of
-- transactions: an erasure empties the table.
create table idempotent_answers (
    id bytea not null,
    body_sha256 bytea not null,
    begun_at timestamptz not null,
    status smallint,
    content_type text,
    answer bytea,
    constraint idempotent_answers_pkey primary key (id),
    constraint idempotent_answers_id_length check (octet_length(id) = 32),
    constraint idempotent_answers_body_length check (octet_length(body_sha256) = 32),
    constraint idempotent_answers_whole check ((status is null) = (answer is null) and (status is not null or content_type is null))
);
create index idempotent_answers_by_age on idempotent_answers (begun_at);
