-- seen: the engine that answered has the row's own label at hand, as an example, by its key or because it was there to be trained on.
-- What it says of the row proves nothing then, and no figure counts it.
alter table recategorization_labels add column seen boolean not null default false;
