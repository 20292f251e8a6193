-- Fine-tuning jobs that were created at a provider, and how far creating one came: a process that died
-- between the upload and the job goes on where it stood, and polling survives a restart. status is the
-- provider's own word, whatever it is, or 'creating'. reserved_call is what the job may cost, booked; it is
-- settled once, when the job is done. stale is set by a webhook: the job is to be looked at again.
create table finetune_jobs (
    id bigint generated always as identity,
    entry text not null,
    base_url text not null,
    model text not null,
    file_sha256 text not null,
    method text not null,
    settings jsonb not null,
    rows integer not null,
    training_file text,
    job text,
    status text not null,
    fine_tuned_model text,
    trained_tokens bigint,
    error_code text,
    reserved_call bigint,
    reserved_day date,
    stale boolean not null default false,
    claimed_until timestamptz,
    created_at timestamptz not null,
    polled_at timestamptz,
    finished_at timestamptz,
    constraint finetune_jobs_pkey primary key (id),
    constraint finetune_jobs_file_form check (file_sha256 ~ '^[0-9a-f]{64}$'),
    constraint finetune_jobs_method_known check (method in ('supervised', 'dpo')),
    constraint finetune_jobs_call_known foreign key (reserved_call) references model_calls (id)
);
-- The same file is not trained on twice by the same model, unless nothing came of it the first time.
create unique index finetune_jobs_once on finetune_jobs (base_url, model, file_sha256)
    where status not in ('failed', 'cancelled');
create index finetune_jobs_by_job on finetune_jobs (job);
