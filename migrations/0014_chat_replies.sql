-- What a chat model answered in an evaluation, for a day, so that one that was interrupted goes on without paying twice.
-- The request itself is not kept, only its hash.
create table chat_replies (
    model text not null,
    request_sha256 text not null,
    answers jsonb not null,
    usage jsonb not null,
    cost numeric,
    made_at timestamptz not null,
    constraint chat_replies_pkey primary key (model, request_sha256),
    constraint chat_replies_request_form check (request_sha256 ~ '^[0-9a-f]{64}$')
);
create index chat_replies_by_time on chat_replies (made_at);

-- The same file may be trained on in another way: with other epochs, another seed or suffix.
drop index finetune_jobs_once;
create unique index finetune_jobs_once on finetune_jobs (base_url, model, file_sha256, method, settings)
    where status not in ('failed', 'cancelled');
