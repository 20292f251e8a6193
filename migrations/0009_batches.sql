-- A batch is one call: `requests_sha256` says which requests it holds, so that a command that is run again goes on
-- with what was booked for them, and `batch` is the provider's name of it, which is paid once.
alter table model_calls
    add column requests_sha256 text,
    add column batch text;
create unique index model_calls_requests_under_way on model_calls (model, requests_sha256)
    where outcome = 'under_way';
create unique index model_calls_batch_once on model_calls (model, batch);
