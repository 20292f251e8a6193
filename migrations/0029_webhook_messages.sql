-- The last event of the message that an endpoint is being told, from before it is sent until it is taken: a message that is sent again
-- is the same one, under the same id, whatever else has happened meanwhile. A release that does not know the column sends what
-- has come in between along.
alter table webhooks add column telling_upto bigint;
