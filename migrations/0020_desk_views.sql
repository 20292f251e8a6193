-- The queue as somebody likes to see it: a name for a filter, for its owner alone or for everybody at the desk.
create table review_views (
    id bigint generated always as identity,
    name text not null,
    shared boolean not null,
    filter jsonb not null,
    made_by text not null,
    made_at timestamptz not null,
    constraint review_views_pkey primary key (id),
    constraint review_views_once unique (made_by, name),
    constraint review_views_name_not_empty check (name <> '')
);
