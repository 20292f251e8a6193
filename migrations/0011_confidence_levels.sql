-- What an answer's confidence promised when it was given; null where nothing was fitted for the engine then. People's
-- word on answers of a level is held against its promise.
alter table predictions
    add column confidence_level text,
    add constraint predictions_confidence_level_known
        check (confidence_level in ('low', 'medium', 'high', 'very_high'));
